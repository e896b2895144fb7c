// Ranges, bytes, hashes, xattrs: the small tools of base/.
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/ids.h"
#include "base/ranges.h"
#include "base/xattrs.h"

namespace ebb {
namespace {

TEST(Ranges, AreAsASetOfBytesIs) {
  std::mt19937_64 random(3);
  constexpr std::uint64_t kSize = 40;
  for (int round = 0; round < 300; ++round) {
    RangeSet set;
    std::vector<bool> bytes(kSize);
    for (int i = 0; i < 20; ++i) {
      const std::uint64_t begin = random() % kSize;
      const Range range{begin, begin + random() % (kSize - begin + 1)};
      const bool add = random() % 3 != 0;
      add ? set.add(range) : set.remove(range);
      for (auto at = range.begin; at < range.end; ++at) bytes[at] = add;
      std::uint64_t total = 0;
      std::uint64_t runs = 0;
      for (std::uint64_t at = 0; at < kSize; ++at) {
        total += bytes[at] ? 1 : 0;
        runs += bytes[at] && (at == 0 || !bytes[at - 1]) ? 1 : 0;
        ASSERT_EQ(set.contains({at, at + 1}), bytes[at]);
      }
      ASSERT_EQ(set.total(), total);
      ASSERT_EQ(set.count(), runs);
      std::uint64_t inside = 0;
      for (auto at = range.begin; at < range.end; ++at) inside += bytes[at] ? 1 : 0;
      ASSERT_EQ(set.within(range).total(), inside);
      ASSERT_EQ(set.missing_in(range).total(), range.size() - inside);
      ASSERT_EQ(set.intersects(range), inside > 0);
      ASSERT_EQ(set.contains(range), inside == range.size());
    }
  }
}

TEST(Bytes, WhatIsWrittenIsReadAndACutIsNoticedOnce) {
  Bytes out;
  Writer(out).number(std::uint32_t{0x01020304}).short_text("name").long_bytes(as_bytes("value"));
  EXPECT_EQ(out[0], std::byte{4}) << "little-endian";
  for (std::size_t cut = 0; cut <= out.size(); ++cut) {
    Reader reader(ByteView(out).first(cut));
    const auto number = reader.number<std::uint32_t>();
    const auto name = reader.short_text();
    const auto value = reader.long_bytes();
    EXPECT_EQ(reader.ok(), cut == out.size());
    if (!reader.ok()) continue;
    EXPECT_EQ(number, 0x01020304U);
    EXPECT_EQ(name, "name");
    EXPECT_EQ(as_text(value), "value");
    EXPECT_TRUE(reader.at_end());
  }
}

TEST(Hash, OfZerosIsThatOfTheirBytes) {
  for (const std::size_t before : {0, 1, 63, 64, 100, 255, 256, 257, 1000, 1024, 5000}) {
    for (const std::size_t zeros : {0, 1, 200, 1023, 8192, 8193, 20000, 65536, 100001, 1048576}) {
      for (const std::size_t after : {0, 1, 64, 300, 3000}) {
        Bytes bytes(before + zeros + after);
        for (std::size_t i = 0; i < before; ++i) bytes[i] = std::byte(i * 7 + 1);
        for (std::size_t i = 0; i < after; ++i) bytes[before + zeros + i] = std::byte(i * 5 + 3);
        Xxh3Stream stream;
        stream.update(ByteView(bytes).first(before));
        stream.zeros(zeros);
        stream.update(ByteView(bytes).subspan(before + zeros));
        ASSERT_EQ(stream.digest(), xxh3(bytes)) << before << " " << zeros << " " << after;
      }
    }
  }
}

TEST(Hash, IsXxh3AndSha256) {
  EXPECT_EQ(xxh3({}), 0x2d06800538d394c2ULL);
  Xxh3Stream stream;
  EXPECT_EQ(stream.digest(), xxh3({}));
  stream.update(as_bytes("hello "));
  stream.update(as_bytes("world"));
  EXPECT_EQ(stream.digest(), xxh3(as_bytes("hello world")));
  EXPECT_EQ(hex16(0xabc), "0000000000000abc");
  const auto sha = sha256(as_bytes("abc"));
  EXPECT_EQ(sha[0], 0xba);
  EXPECT_EQ(sha[31], 0xad);
}

TEST(Ids, ANodeIdHasIndexAndGeneration) {
  const auto id = NodeId::make(5, 3);
  EXPECT_EQ(id.index(), 5U);
  EXPECT_EQ(id.generation(), 3U);
  EXPECT_EQ(NodeId::make(1, 0), kRootNode);
  EXPECT_EQ(NodeId::make(0, (1U << 23) - 1).value >> 63, 0U);
}

TEST(Xattrs, ArePackedAndUnpackedAndACutIsRefused) {
  const Xattrs xattrs = {{"user.a", "1"}, {"user.empty", ""}, {"user.z", std::string(1000, 'z')}};
  const auto packed = pack_xattrs(xattrs);
  auto back = unpack_xattrs(packed);
  ASSERT_TRUE(back);
  EXPECT_EQ(*back, xattrs);
  EXPECT_TRUE(unpack_xattrs({})->empty());
  for (std::size_t cut = 1; cut < packed.size(); ++cut) {
    auto part = unpack_xattrs(ByteView(packed).first(cut));
    if (part) {  // cut between two of them
      EXPECT_LT(part->size(), xattrs.size());
    }
  }
  Bytes twice = pack_xattrs({{"user.a", "1"}});
  const auto once = twice;
  twice.insert(twice.end(), once.begin(), once.end());
  EXPECT_FALSE(unpack_xattrs(twice));
  EXPECT_FALSE(unpack_xattrs(pack_xattrs({{std::string(256, 'n'), ""}})));
  EXPECT_FALSE(unpack_xattrs(pack_xattrs({{"user.a", std::string(kXattrValueMax + 1, 'v')}})));
}

}  // namespace
}  // namespace ebb
