// The hash that FileSyncCheckHash carries: what one session sent, in order.  ebb-protocol(7),
// "Session hash".
#pragma once

#include <cstdint>
#include <vector>

#include "base/hash.h"
#include "base/ranges.h"

namespace ebb::proto {

/// XXH3-64.  Where the session sends the whole content (one range from 0 to `size`, or none and
/// size 0) it is the hash of the content; else each range is preceded by its begin and end as u64.
/// Not thread-safe.
class SessionHash {
 public:
  SessionHash(std::uint64_t size, const std::vector<Range>& ranges);

  /// The next bytes of the session, which must be at offset() (else false, and nothing is taken).
  bool update(std::uint64_t offset, ByteView bytes);
  /// Where the next bytes belong; the size when done.
  std::uint64_t offset() const;
  /// How many bytes may come at offset() before the next range begins.
  std::uint64_t left() const;
  bool complete() const;
  bool whole() const { return whole_; }
  std::uint64_t digest() const { return hash_.digest(); }

 private:
  void enter_range();

  std::uint64_t size_;
  std::vector<Range> ranges_;
  bool whole_;
  std::size_t current_ = 0;
  std::uint64_t done_ = 0;  // bytes of the current range
  Xxh3Stream hash_;
};

}  // namespace ebb::proto
