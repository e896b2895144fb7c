// FileSyncData in fewer bytes: FileSyncPacked, which has the same bytes as one frame of zstd.
// Whether that pays is found out by doing both: what counts is how much content leaves in a second.
#pragma once

#include <cstdint>
#include <optional>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/result.h"
#include "proto/messages.h"

namespace ebb::proto {

enum class Packing : std::uint8_t {
  measured,  // while more content leaves so in a second
  always,    // whenever it shrinks: for tests
};

/// Content that has left a connection, in bytes before packing.
struct ContentLeft {
  std::uint64_t plain = 0;
  std::uint64_t packed = 0;
};

/// Of one connection, in one direction.  Not thread-safe.
class Packer {
 public:
  explicit Packer(Packing policy) : policy_(policy) {}

  /// The message's bytes behind the packet header; none: it goes plain, because it does not shrink,
  /// because it is short, or because the link is faster than the packing.
  std::optional<Bytes> pack(std::uint64_t offset, ByteView bytes);
  /// Whenever the link asks for bytes, with what is in those it gets: it has taken the ones before
  /// by then.
  void output(const ContentLeft& left, Time now);

  /// A way is measured over this much content before it is compared with the other ...
  static constexpr std::uint64_t kWindow = 4u << 20;
  /// ... and the one not taken is tried again after so many windows.
  static constexpr int kWindowsBetween = 32;

 private:
  enum Way : std::uint8_t { kPlain, kPacked };
  void end_window();

  const Packing policy_;
  Way way_ = kPacked;
  double rate_[2] = {0, 0};  // content bytes in a second, as last measured; 0 = not yet
  int windows_ = 0;          // since the other way was tried
  ContentLeft last_;         // of the output before this one
  Time last_at_{};
  ContentLeft window_;
  Duration took_{};
};

/// Of FileSyncPacked's bytes.  Bounded by the size that it claims, which is at most kDataPacketMax;
/// bad_packet where the frame is damaged or its content has another size.
Result<FileSyncData> unpack(ByteView body);
/// How much content a FileSyncPacked or FileSyncData of this body has, without looking into it.
std::uint64_t content_in(Type type, ByteView body);

}  // namespace ebb::proto
