// Where a content is cut into chunks: at places that the bytes themselves name, so that what was
// moved is found again. ebb-protocol(7), "Chunks"; both sides must find the same places.
#pragma once

#include <cstdint>
#include <optional>

#include "base/bytes.h"
#include "proto/messages.h"

namespace ebb::proto {

/// No chunk is shorter but a content's last.  kChunkMost is the longest; 64 KiB or somewhat more is
/// usual.
inline constexpr std::uint32_t kChunkLeastBytes = 16u << 10;

/// How many of the bytes the first chunk of them has: of at least kChunkMost, or of all that is
/// left of the content.
std::size_t first_chunk(ByteView bytes);

/// Cuts a content that is read from its first byte on.  Not thread-safe.  Keeps kWindow bytes.
class Chunker {
 public:
  static constexpr std::size_t kWindow = 1u << 20;
  struct Part {
    std::uint64_t offset = 0;
    ByteView bytes;  // until the next call of anything here
  };

  explicit Chunker(std::uint64_t size) : size_(size) {}

  /// Where the next bytes of the content go, which begin at read_at(); empty at its end.  Then
  /// filled().
  std::span<std::byte> room();
  std::uint64_t read_at() const { return begin_ + kept_; }
  void filled(std::size_t n) { kept_ += n; }
  /// The next chunk; none: more bytes are needed, or there are no more.
  std::optional<Part> next();
  bool done() const { return begin_ + taken_ == size_; }
  std::uint64_t taken() const { return begin_ + taken_; }

 private:
  std::uint64_t size_;
  Bytes window_;  // the content from begin_ on
  std::uint64_t begin_ = 0;
  std::size_t kept_ = 0;   // bytes in it
  std::size_t taken_ = 0;  // of them handed out
};

}  // namespace ebb::proto
