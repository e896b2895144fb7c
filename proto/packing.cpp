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

/// What is known of packing follows the content at hand, a packet being so much of it.
constexpr double kNews = 1.0 / 8;

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
  if (measured && !packing_) {
    unsampled_ += bytes.size();
    if (unsampled_ < kSampleEach) return std::nullopt;
    unsampled_ = 0;
  }
  if (!shrinks(bytes)) return std::nullopt;
  const Time began = clock_ != nullptr ? clock_->now() : Time{};
  auto body = pack_now(offset, bytes);
  const Duration took = clock_ != nullptr ? clock_->now() - began : Duration::zero();
  const auto size = static_cast<double>(bytes.size());
  const double saved = body ? 1 - static_cast<double>(body->size()) / size : 0;
  const double cost = std::chrono::duration<double>(took).count() / size;
  const double news = saved_ == 0 ? 1 : kNews;
  saved_ += (saved - saved_) * news;
  cost_ += (cost - cost_) * news;
  return body;
}

std::optional<Bytes> Packer::pack_now(std::uint64_t offset, ByteView bytes) {
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
  if (packing_) {
    trust_ -= std::min(trust_, last_.packed);
    packing_ = trust_ != 0;
  } else if (last_.plain != 0 && last_.packed == 0) {
    window_ += last_.plain;
    took_ += now - last_at_;
  }
  last_ = left;
  last_at_ = now;
  if (window_ >= kWindow || (window_ != 0 && took_ >= kWindowTime)) end_window();
}

void Packer::end_window() {
  const auto content = static_cast<double>(std::exchange(window_, 0));
  const auto seconds = std::chrono::duration<double>(std::exchange(took_, {})).count();
  // A byte that is packed costs the packing, and saves the link its part of a byte.
  const bool pays = cost_ * content < saved_ * seconds;
  windows_ = pays ? windows_ + 1 : 0;
  if (windows_ < kWindows) return;
  windows_ = 0;
  packing_ = true;
  trust_ = kTrust;
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
