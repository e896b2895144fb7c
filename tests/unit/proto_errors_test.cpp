// What the error list promises: every number has a sentence of its own, and an unknown one does no
// harm.
#include <set>

#include <gtest/gtest.h>

#include "proto/errors.h"

namespace ebb::proto {
namespace {

const std::string_view kUnknown = sentence(Errc{0xffff});

TEST(ProtoErrors, EachHasASentenceOfItsOwn) {
  std::set<std::string_view> seen;
  int count = 0;
  for (int n = 0; n < 0xffff; ++n) {
    const std::string_view text = sentence(static_cast<Errc>(n));
    if (text == kUnknown) continue;
    ++count;
    EXPECT_TRUE(seen.insert(text).second) << n << ": " << text;
    EXPECT_EQ(category().message(n), text);
  }
  EXPECT_EQ(count, 28);
}

TEST(ProtoErrors, NumbersOfNewerPeersHaveASentence) {
  for (int n : {6, 15, 38, 0xfffe, 0x10000, -1}) EXPECT_EQ(category().message(n), kUnknown) << n;
}

TEST(ProtoErrors, OnlyWhatMayPassIsTriedAgain) {
  const std::set<Errc> again{Errc::bad_packet, Errc::too_much, Errc::no_space, Errc::io,
                             Errc::wrong_hash, Errc::busy,     Errc::lost};
  for (int n = 0; n <= 40; ++n) {
    const auto code = static_cast<Errc>(n);
    EXPECT_EQ(retry(code), again.count(code) != 0) << n;
  }
}

TEST(ProtoErrors, AreErrorCodes) {
  const std::error_code code = Errc::moved_on;
  EXPECT_EQ(code.value(), 19);
  EXPECT_STREQ(code.category().name(), "ebb.proto");
  EXPECT_FALSE(std::error_code(Errc::ok));
}

}  // namespace
}  // namespace ebb::proto
