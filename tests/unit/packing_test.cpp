// What saves bytes on the wire promises: the same content on the other side, no effort where it
// does not pay, and no harm from a peer that lies; contents are cut where the content says, the
// same on every machine.
#include "proto/packing.h"

#include <random>

#include <gtest/gtest.h>

#include "base/hash.h"
#include "proto/chunker.h"
#include "proto/connection.h"

namespace ebb::proto {
namespace {

constexpr std::size_t kBlock = 240u << 10;

Bytes text_of(std::size_t size) {
  std::string text;
  std::mt19937 random(1);
  static const char* const kWords[] = {"of ", "the ", "sea ", "and ", "its ", "long ", "waves\n"};
  while (text.size() < size) text += kWords[random() % 7];
  const ByteView bytes = as_bytes(std::string_view(text).substr(0, size));
  return {bytes.begin(), bytes.end()};
}

Bytes noise_of(std::size_t size, std::uint64_t seed = 1) {
  std::mt19937_64 random(seed);
  Bytes out(size);
  for (auto& b : out) b = static_cast<std::byte>(random());
  return out;
}

/// Two ends that can do this much.
struct Pair {
  explicit Pair(std::uint64_t capabilities, Limits limits = {})
      : from(Role::server, limits, Time{}), to(Role::client, limits, Time{}) {
    from.agree(kPacketMaxEver, capabilities);
    to.agree(kPacketMaxEver, capabilities);
  }

  /// What arrives of one block, and how many bytes it was on the wire.
  std::pair<FileSyncData, std::size_t> pass(ByteView content, std::uint64_t offset = 7) {
    EXPECT_TRUE(from.send_data(5, offset, content));
    const Bytes wire = from.next_output();
    EXPECT_TRUE(to.receive(wire, Time{}));
    const auto message = to.next_message();
    const auto* data = message ? std::get_if<FileSyncData>(&message->body) : nullptr;
    EXPECT_NE(nullptr, data);
    return {data != nullptr ? *data : FileSyncData{}, wire.size()};
  }

  Connection from, to;
};

TEST(Packing, TextTravelsAtAThirdOfItsSizeAndArrivesWhole) {
  Pair pair(kPacking);
  const Bytes text = text_of(kBlock);
  const auto [data, size] = pair.pass(text);
  EXPECT_EQ(text, data.bytes);
  EXPECT_EQ(7u, data.offset);
  EXPECT_LT(size, text.size() / 3);
}

TEST(Packing, WhatDoesNotShrinkGoesAsItIs) {
  Pair pair(kPacking);
  for (const std::size_t size : {std::size_t{1}, std::size_t{4000}, kBlock}) {
    const Bytes noise = noise_of(size);
    const auto [data, wire] = pair.pass(noise);
    EXPECT_EQ(noise, data.bytes);
    EXPECT_EQ(size + sizeof(PacketHeader) + 12, wire);
  }
}

TEST(Packing, NothingIsPackedForAPeerThatCannot) {
  Pair pair(kDelta);
  const Bytes text = text_of(kBlock);
  const auto [data, wire] = pair.pass(text);
  EXPECT_EQ(text, data.bytes);
  EXPECT_GT(wire, text.size());
}

TEST(Packing, PackedDataThatWasNotAgreedOnIsRefused) {
  Pair pair(kPacking);
  ASSERT_TRUE(pair.from.send_data(5, 0, text_of(kBlock)));
  Connection old(Role::client, {}, Time{});
  old.agree(kPacketMaxEver);
  const auto refused = old.receive(pair.from.next_output(), Time{});
  ASSERT_FALSE(refused);
  EXPECT_EQ(make_error_code(Errc::bad_packet), refused.error().code);
}

Bytes packed(std::uint64_t offset, ByteView content) {
  return Packer(Packing::always).pack(offset, content).value();
}

void claim(Bytes& body, std::uint32_t size) {
  std::memcpy(body.data() + 8, &size, sizeof size);
}

void expect_refused(ByteView body, const std::string& why) {
  const auto refused = unpack(body);
  ASSERT_FALSE(refused) << why;
  EXPECT_EQ(make_error_code(Errc::bad_packet), refused.error().code);
  EXPECT_EQ(why, refused.error().detail);
}

TEST(Packing, ABombIsRefusedByNameBeforeItsBytesAreThere) {
  // A thousand bytes of frame for a megabyte of zeros, whatever it claims to be.
  Bytes body = packed(0, Bytes(kBlock));
  EXPECT_LT(body.size(), 1000u);
  claim(body, 1u << 30);
  expect_refused(body, "packed data of more than a packet");
  claim(body, kBlock - 1);
  expect_refused(body, "packed data that is damaged");
  claim(body, kBlock + 1);
  expect_refused(body, "packed data of another size than it says");
}

TEST(Packing, DamagedFramesAreRefusedAndHarmNobody) {
  const Bytes body = packed(3, text_of(20000));
  for (std::size_t cut = 0; cut < 16; ++cut) {
    expect_refused(ByteView(body).first(cut), "packed data cut short");
  }
  Bytes far = body;
  const std::uint64_t offset = kSizeMax;
  std::memcpy(far.data(), &offset, sizeof offset);
  expect_refused(far, "data past the largest size");
  std::mt19937 random(1);
  for (int round = 0; round < 2000; ++round) {
    Bytes damaged = body;
    for (int n = 0; n < 3; ++n) damaged[16 + random() % (damaged.size() - 16)] ^= std::byte{0x41};
    const auto out = unpack(damaged);
    EXPECT_EQ(20000u, out ? out->bytes.size() : 20000u);
  }
}

/// Each look at it comes so much later: two are what a packing takes.
class PackingClock final : public Clock {
 public:
  explicit PackingClock(Duration step) : step_(step) {}
  Time now() const override { return now_ += step_; }
  WallNs wall() const override { return 0; }

 private:
  mutable Time now_{};
  const Duration step_;
};

/// Sends `size` bytes of text over a link that takes so many bytes a second, behind buffers that
/// take some megabytes at once, where packing a byte takes so long.  Bytes on the wire for each of
/// content.
double wire_part(double link, double packing, std::size_t size) {
  constexpr double kBuffers = 8e6, kHandling = 1 / 1.5e9;  // of a byte that is sent
  const auto seconds = [](double s) {
    return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(s));
  };
  const PackingClock clock(seconds(packing * kBlock));
  Packer packer(Packing::measured, &clock);
  const Bytes text = text_of(kBlock);
  double now = 1, drained = 1, wire = 0;
  for (std::size_t sent = 0; sent < size; sent += kBlock) {
    const auto body = packer.pack(0, text);
    ContentLeft left;
    (body ? left.packed : left.plain) = kBlock;
    packer.output(left, Time{} + seconds(now));
    const auto bytes = static_cast<double>(body ? body->size() : kBlock);
    wire += bytes;
    now += bytes * kHandling + (body ? kBlock * packing : 0);
    drained = std::max(drained, now) + bytes / link;
    now = std::max(now, drained - kBuffers / link);
    packer.output({}, Time{} + seconds(now));
  }
  return wire / static_cast<double>(size);
}

TEST(Packing, AFastLinkIsNotHeldUpAndASlowOneIsSpared) {
  const double packing = 1 / 300e6;
  EXPECT_GT(wire_part(1.2e9, packing, 256u << 20), 0.95);
  EXPECT_LT(wire_part(119e6, packing, 256u << 20), 1.0 / 3);
  EXPECT_LT(wire_part(1e6, packing, 64u << 20), 1.0 / 3);
}

TEST(Packing, ALinkThatBecomesFastIsNoticed) {
  const PackingClock clock(std::chrono::milliseconds(1));
  Packer packer(Packing::measured, &clock);
  const Bytes text = text_of(kBlock);
  Time now{};
  const auto packed_at = [&](double link) {
    const auto body = packer.pack(0, text);
    ContentLeft left;
    (body ? left.packed : left.plain) = kBlock;
    packer.output(left, now);
    const double bytes = static_cast<double>(body ? body->size() : kBlock);
    now += std::chrono::duration_cast<Duration>(std::chrono::duration<double>(bytes / link));
    packer.output({}, now);
    return body.has_value();
  };
  for (std::uint64_t sent = 0; sent < (64u << 20); sent += kBlock) packed_at(20e6);
  EXPECT_TRUE(packed_at(20e6));
  std::uint64_t packed = 0;
  for (std::uint64_t sent = 0; sent < 4 * Packer::kTrust; sent += kBlock) {
    packed += packed_at(2e9) ? kBlock : 0;
  }
  EXPECT_LE(packed, Packer::kTrust + Packer::kTrust / 4);
}

// ---- where contents are cut

struct Cut {
  std::vector<Chunk> chunks;
  std::uint64_t size = 0;
};

/// As a reader does that gets the content in pieces.
Cut cut_of(ByteView content, std::size_t piece) {
  Cut cut;
  Chunker chunker(content.size());
  while (!chunker.done()) {
    const auto room = chunker.room();
    const auto n = std::min(room.size(), piece);
    const ByteView part = content.subspan(chunker.read_at(), n);
    std::copy(part.begin(), part.end(), room.begin());
    chunker.filled(part.size());
    while (const auto next = chunker.next()) {
      EXPECT_EQ(cut.size, next->offset);
      cut.chunks.push_back({static_cast<std::uint32_t>(next->bytes.size()), sha256(next->bytes)});
      cut.size += next->bytes.size();
    }
  }
  return cut;
}

TEST(Chunker, CutsAtTheSamePlacesHoweverItIsFed) {
  const Bytes content = noise_of(3u << 20);
  const Cut whole = cut_of(content, content.size());
  EXPECT_EQ(content.size(), whole.size);
  EXPECT_EQ(whole.chunks, cut_of(content, 70001).chunks);
  for (std::size_t i = 0; i + 1 < whole.chunks.size(); ++i) {
    EXPECT_GE(whole.chunks[i].size, kChunkLeastBytes);
    EXPECT_LE(whole.chunks[i].size, kChunkMost);
  }
}

/// The places are a part of the protocol: another machine, another version of this code, must find
/// the same.
TEST(Chunker, CutsWhereItAlwaysDid) {
  const Cut cut = cut_of(noise_of(1u << 20), 1u << 20);
  std::vector<std::uint32_t> sizes;
  for (const auto& chunk : cut.chunks) sizes.push_back(chunk.size);
  EXPECT_EQ(sizes,
            (std::vector<std::uint32_t>{68941, 84179, 76240, 127610, 68055, 87925, 69003, 38173,
                                        36744, 17998, 67021, 74811, 74144, 68312, 67029, 22391}));
}

TEST(Chunker, AByteInFrontMovesOnlyTheFirstCuts) {
  const Bytes before = noise_of(8u << 20);
  Bytes after = before;
  after.insert(after.begin(), std::byte{1});
  const Cut a = cut_of(before, before.size()), b = cut_of(after, after.size());
  std::size_t same = 0;
  for (std::size_t i = 1; i <= std::min(a.chunks.size(), b.chunks.size()); ++i) {
    if (!(a.chunks[a.chunks.size() - i] == b.chunks[b.chunks.size() - i])) break;
    ++same;
  }
  EXPECT_GE(same + 2, a.chunks.size());
}

TEST(Chunker, NothingHasNoChunksAndZerosHaveTheLargest) {
  EXPECT_TRUE(cut_of({}, 1).chunks.empty());
  const Cut zeros = cut_of(Bytes(1u << 20), 1u << 20);
  EXPECT_EQ(4u, zeros.chunks.size());
  EXPECT_EQ(1u, cut_of(Bytes(10), 10).chunks.size());
}

}  // namespace
}  // namespace ebb::proto
