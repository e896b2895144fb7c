#include "proto/chunker.h"

#include <algorithm>
#include <array>

namespace ebb::proto {

namespace {

/// Up to so many bytes a cut is four times as rare as behind them, which draws the sizes together.
constexpr std::size_t kUsual = 64u << 10;
constexpr int kRareBits = 18;
constexpr int kOftenBits = 14;

constexpr std::uint64_t mixed(std::uint64_t value) {
  value += 0x9e3779b97f4a7c15;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
  value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
  return value ^ (value >> 31);
}

/// A random number for every byte: SplitMix64 of its value.
constexpr std::array<std::uint64_t, 256> gears() {
  std::array<std::uint64_t, 256> out{};
  for (std::uint64_t i = 0; i < out.size(); ++i) out[i] = mixed(i * 0x9e3779b97f4a7c15);
  return out;
}
constexpr auto kGears = gears();

/// The first place from `at` on, before `end`, behind whose byte the upper bits of the rolling sum
/// are zero; else end.
std::size_t find_cut(ByteView bytes, std::size_t at, std::size_t end, int bits,
                     std::uint64_t& sum) {
  for (; at < end; ++at) {
    sum = (sum << 1) + kGears[std::to_integer<std::size_t>(bytes[at])];
    if (sum >> (64 - bits) == 0) return at + 1;
  }
  return end + 1;
}

}  // namespace

std::size_t first_chunk(ByteView bytes) {
  const std::size_t most = std::min<std::size_t>(bytes.size(), kChunkMost);
  if (most <= kChunkLeastBytes) return most;
  std::uint64_t sum = 0;
  const std::size_t usual = std::min(most, kUsual);
  std::size_t cut = find_cut(bytes, kChunkLeastBytes, usual, kRareBits, sum);
  if (cut > usual) cut = find_cut(bytes, usual, most, kOftenBits, sum);
  return std::min(cut, most);
}

std::span<std::byte> Chunker::room() {
  if (window_.empty()) window_.resize(std::min<std::uint64_t>(kWindow, size_));
  std::copy(window_.begin() + static_cast<std::ptrdiff_t>(taken_),
            window_.begin() + static_cast<std::ptrdiff_t>(kept_), window_.begin());
  begin_ += taken_;
  kept_ -= taken_;
  taken_ = 0;
  const auto left = std::min<std::uint64_t>(window_.size() - kept_, size_ - read_at());
  return std::span(window_).subspan(kept_, left);
}

std::optional<Chunker::Part> Chunker::next() {
  const ByteView rest = ByteView(window_).subspan(taken_, kept_ - taken_);
  const bool all = read_at() == size_;
  if (rest.empty() || (!all && rest.size() < kChunkMost)) return std::nullopt;
  const Part part{begin_ + taken_, rest.first(first_chunk(rest))};
  taken_ += part.bytes.size();
  return part;
}

}  // namespace ebb::proto
