// What SessionHash promises: of a whole content it is the content's hash; of parts it depends on
// where they belong; how the bytes are cut does not matter; bytes out of place are not taken.
#include "proto/session_hash.h"

#include <gtest/gtest.h>

namespace ebb::proto {
namespace {

Bytes content(std::size_t n) {
  Bytes out(n);
  for (std::size_t i = 0; i < n; ++i) out[i] = static_cast<std::byte>(i * 7 + i / 256);
  return out;
}

ByteView part(const Bytes& bytes, Range r) {
  return ByteView(bytes).subspan(r.begin, r.size());
}

TEST(SessionHash, OfAWholeContentIsTheContentsHash) {
  const Bytes all = content(1000);
  SessionHash hash(1000, {{0, 1000}});
  EXPECT_TRUE(hash.whole());
  ASSERT_TRUE(hash.update(0, all));
  EXPECT_TRUE(hash.complete());
  EXPECT_EQ(hash.digest(), xxh3(all));
}

TEST(SessionHash, OfAnEmptyContentIsTheHashOfNothing) {
  SessionHash hash(0, {});
  EXPECT_TRUE(hash.whole());
  EXPECT_TRUE(hash.complete());
  EXPECT_EQ(hash.offset(), 0u);
  EXPECT_TRUE(hash.update(0, {}));
  EXPECT_FALSE(hash.update(0, content(1)));
  EXPECT_EQ(hash.digest(), 0x2d06800538d394c2u);
}

TEST(SessionHash, OfRangesIsEachOnesBoundsAndBytes) {
  const Bytes all = content(1000);
  const std::vector<Range> ranges{{10, 20}, {20, 500}, {999, 1000}};
  SessionHash hash(1000, ranges);
  EXPECT_FALSE(hash.whole());
  Bytes expected;
  Writer out(expected);
  for (Range r : ranges) {
    EXPECT_EQ(hash.offset(), r.begin);
    ASSERT_TRUE(hash.update(r.begin, part(all, r)));
    out.number(r.begin).number(r.end).bytes(part(all, r));
  }
  EXPECT_TRUE(hash.complete());
  EXPECT_EQ(hash.offset(), 1000u);
  EXPECT_EQ(hash.digest(), xxh3(expected));
}

TEST(SessionHash, DoesNotDependOnHowTheBytesAreCut) {
  const Bytes all = content(64);
  const std::vector<Range> ranges{{3, 20}, {40, 64}};
  SessionHash once(64, ranges);
  for (Range r : ranges) ASSERT_TRUE(once.update(r.begin, part(all, r)));
  for (std::uint64_t step = 1; step < 30; ++step) {
    SessionHash hash(64, ranges);
    for (Range r : ranges) {
      for (std::uint64_t at = r.begin; at < r.end; at += step) {
        ASSERT_TRUE(hash.update(at, part(all, {at, std::min(r.end, at + step)})));
      }
    }
    EXPECT_EQ(hash.digest(), once.digest()) << step;
  }
}

TEST(SessionHash, BytesOutOfPlaceAreNotTaken) {
  const Bytes all = content(100);
  SessionHash hash(100, {{10, 20}, {30, 40}});
  const std::uint64_t before = hash.digest();
  EXPECT_FALSE(hash.update(0, part(all, {0, 5})));
  EXPECT_FALSE(hash.update(11, part(all, {11, 12})));
  EXPECT_FALSE(hash.update(10, part(all, {10, 21})));  // past the range
  EXPECT_FALSE(hash.update(~0ull, part(all, {10, 21})));
  EXPECT_EQ(hash.digest(), before);
  EXPECT_TRUE(hash.update(10, part(all, {10, 20})));
  EXPECT_FALSE(hash.update(20, part(all, {20, 21})));
  EXPECT_TRUE(hash.update(30, part(all, {30, 40})));
  EXPECT_FALSE(hash.update(100, part(all, {0, 1})));
}

TEST(SessionHash, SameBytesAtAnotherPlaceAreAnotherHash) {
  const Bytes zeros(10);
  SessionHash a(100, {{0, 10}}), b(100, {{10, 20}});
  ASSERT_TRUE(a.update(0, zeros));
  ASSERT_TRUE(b.update(10, zeros));
  EXPECT_NE(a.digest(), b.digest());
}

}  // namespace
}  // namespace ebb::proto
