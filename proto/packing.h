// FileSyncData in fewer bytes: FileSyncPacked, which has the same bytes as one frame of zstd.
// Whether that pays depends on the link: packing costs time, what need not be sent saves some.
#pragma once

#include <cstdint>
#include <optional>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/result.h"
#include "proto/messages.h"

namespace ebb::proto {

enum class Packing : std::uint8_t {
  measured,  // while it saves the link more time than it takes
  always,    // whenever it shrinks: for tests
};

/// Content that has left a connection, in bytes before packing.
struct ContentLeft {
  std::uint64_t plain = 0;
  std::uint64_t packed = 0;
};

/// Of one connection, in one direction.  Not thread-safe.
///
/// The beginning is packed, and what that costs and saves is noted.  Then content goes plain, and
/// how fast the link takes it is watched for as long as it goes so.  A link on which packing would
/// pay is packed for, until so much has gone that the link is looked at again.  The buffers on the
/// way take the first megabytes at once: they look like a fast link, and the windows behind them
/// tell.
class Packer {
 public:
  /// Without a clock packing is free.
  explicit Packer(Packing policy, const Clock* clock = nullptr) : policy_(policy), clock_(clock) {}

  /// The message's bytes behind the packet header; none: it goes plain, because it does not shrink,
  /// because it is short, or because the link is faster than the packing.
  std::optional<Bytes> pack(std::uint64_t offset, ByteView bytes);
  /// Whenever the link asks for bytes, with what is in those it gets: it has taken the ones before
  /// by then.
  void output(const ContentLeft& left, Time now);

  /// Packed before the link is looked at for the first time.
  static constexpr std::uint64_t kFirst = 1u << 20;
  /// The rate of plain content is taken over this much of it, or over so long; as many windows in a
  /// row must speak for packing.
  static constexpr std::uint64_t kWindow = 4u << 20;
  static constexpr Duration kWindowTime = std::chrono::milliseconds(50);
  static constexpr int kWindows = 2;
  /// Packed until the link is looked at again.
  static constexpr std::uint64_t kTrust = 512u << 20;
  /// Of so much plain content one packet is packed all the same, to know what that costs and saves.
  static constexpr std::uint64_t kSampleEach = 32u << 20;

 private:
  std::optional<Bytes> pack_now(std::uint64_t offset, ByteView bytes);
  void end_window();

  const Packing policy_;
  const Clock* const clock_;
  bool packing_ = true;
  std::uint64_t trust_ = kFirst;  // content until the link is looked at again
  double cost_ = 0;               // seconds that packing a byte of content takes
  double saved_ = 0;              // bytes that it saves
  std::uint64_t unsampled_ = 0;
  ContentLeft last_;  // of the output before this one
  Time last_at_{};
  std::uint64_t window_ = 0;
  Duration took_{};
  int windows_ = 0;  // in a row that spoke for packing
};

/// Of FileSyncPacked's bytes.  Bounded by the size that it claims, which is at most kDataPacketMax;
/// bad_packet where the frame is damaged or its content has another size.
Result<FileSyncData> unpack(ByteView body);
/// How much content a FileSyncPacked or FileSyncData of this body has, without looking into it.
std::uint64_t content_in(Type type, ByteView body);

}  // namespace ebb::proto
