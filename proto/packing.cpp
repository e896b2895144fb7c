#include "proto/packing.h"

#include <algorithm>
#include <memory>
#include <utility>

#include <zstd.h>

#include "proto/connection.h"

namespace ebb::proto {

namespace {

/// Of the levels that keep up with a link of 1 Gbit/s the one that packs best.
constexpr int kLevel = 3;
/// Shorter data is not worth a frame.
constexpr std::size_t kLeast = 1024;
/// Whether it shrinks is guessed from this much of the middle: noise costs no more effort.
constexpr std::size_t kSample = 4096;

/// offset, size, length of the frame
constexpr std::size_t kAround = 8 + 4 + 4;
/// offset, length
constexpr std::size_t kAroundPlain = 8 + 4;

struct Contexts {
  std::unique_ptr<ZSTD_CCtx, decltype(&ZSTD_freeCCtx)> packing{ZSTD_createCCtx(), &ZSTD_freeCCtx};
  std::unique_ptr<ZSTD_DCtx, decltype(&ZSTD_freeDCtx)> unpacking{ZSTD_createDCtx(), &ZSTD_freeDCtx};
};

/// A megabyte or two that every connection of a thread shares: nothing in them outlives a frame.
Contexts& contexts() {
  thread_local Contexts own;
  return own;
}

/// At least an eighth must be saved.
bool worth(std::size_t packed, std::size_t size) {
  return packed <= size - size / 8;
}

std::size_t compress(std::span<std::byte> out, ByteView in, int level) {
  auto* context = contexts().packing.get();
  if (context == nullptr) return out.size() + 1;
  const auto n = ZSTD_compressCCtx(context, out.data(), out.size(), in.data(), in.size(), level);
  return ZSTD_isError(n) != 0 ? out.size() + 1 : n;
}

bool shrinks(ByteView bytes) {
  if (bytes.size() <= 4 * kSample) return true;
  std::byte out[kSample];
  return worth(compress(out, bytes.subspan(bytes.size() / 2, kSample), 1), kSample);
}

}  // namespace

std::optional<Bytes> Packer::pack(std::uint64_t offset, ByteView bytes) {
  const bool measured = policy_ == Packing::measured;
  if (bytes.size() < (measured ? kLeast : 1) || bytes.size() > kDataPacketMax) return std::nullopt;
  if ((measured && way_ == kPlain) || !shrinks(bytes)) return std::nullopt;
  Bytes body(kAround + bytes.size() - bytes.size() / 8);
  const std::size_t n = compress(std::span(body).subspan(kAround), bytes, kLevel);
  if (n > body.size() - kAround) return std::nullopt;
  body.resize(kAround + n);
  Bytes head;
  Writer(head)
      .number(offset)
      .number(static_cast<std::uint32_t>(bytes.size()))
      .number(static_cast<std::uint32_t>(n));
  std::copy(head.begin(), head.end(), body.begin());
  return body;
}

void Packer::output(const ContentLeft& left, Time now) {
  if (policy_ != Packing::measured) return;
  // Plain data under way while packing is on does not shrink; packed data while it is off was
  // queued before.
  if (last_.packed + last_.plain != 0 && (way_ == kPacked || last_.packed == 0)) {
    window_.plain += last_.plain;
    window_.packed += last_.packed;
    took_ += now - last_at_;
  }
  last_ = left;
  last_at_ = now;
  if (window_.plain + window_.packed >= kWindow && took_ > Duration::zero()) end_window();
}

void Packer::end_window() {
  const ContentLeft content = std::exchange(window_, {});
  const auto seconds = std::chrono::duration<double>(std::exchange(took_, {})).count();
  // Noise tells nothing about packing, and costs next to nothing.
  if (way_ == kPacked && content.packed < content.plain) return;
  rate_[way_] = static_cast<double>(content.plain + content.packed) / seconds;
  const Way other = way_ == kPacked ? kPlain : kPacked;
  const bool try_other = rate_[other] == 0 || ++windows_ >= kWindowsBetween;
  if (try_other) windows_ = 0;
  if (try_other || rate_[other] > rate_[way_]) way_ = other;
}

Result<FileSyncData> unpack(ByteView body) {
  Reader in(body);
  FileSyncData data;
  data.offset = in.number<std::uint64_t>();
  const auto size = in.number<std::uint32_t>();
  const ByteView frame = in.long_bytes();
  if (!in.ok()) return fail(Errc::bad_packet, "packed data cut short");
  if (size > kDataPacketMax) return fail(Errc::bad_packet, "packed data of more than a packet");
  if (data.offset > kSizeMax - size) return fail(Errc::bad_packet, "data past the largest size");
  auto* context = contexts().unpacking.get();
  if (context == nullptr) return fail(Errc::io, "no memory to unpack data");
  data.bytes.resize(size);
  const auto n = ZSTD_decompressDCtx(context, data.bytes.data(), data.bytes.size(), frame.data(),
                                     frame.size());
  if (ZSTD_isError(n) != 0) return fail(Errc::bad_packet, "packed data that is damaged");
  if (n != size) return fail(Errc::bad_packet, "packed data of another size than it says");
  return data;
}

std::uint64_t content_in(Type type, ByteView body) {
  if (type == Type::file_sync_data) return body.size() - std::min(body.size(), kAroundPlain);
  if (type != Type::file_sync_packed) return 0;
  Reader in(body);
  in.number<std::uint64_t>();
  return in.number<std::uint32_t>();
}

}  // namespace ebb::proto
