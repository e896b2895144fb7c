#include "store/status.h"

#include <set>
#include <string>

#include <gtest/gtest.h>

namespace ebb::store {
namespace {

TEST(Status, EveryWordParsesToItself) {
  for (const auto status : {Status::untracked, Status::local, Status::remote, Status::sync,
                            Status::syncless, Status::syncmore}) {
    EXPECT_EQ(parse_status(word(status)), status);
  }
  for (const auto pin : {Pin::inherit, Pin::keep, Pin::automatic}) {
    EXPECT_EQ(parse_pin(word(pin)), pin);
  }
}

TEST(Status, OtherWordsAreRefused) {
  for (const auto* text : {"", "Local", "local ", "local\n", "synced", "automatic", "clean"}) {
    EXPECT_FALSE(parse_status(text)) << text;
    EXPECT_FALSE(parse_pin(text)) << text;
  }
}

TEST(Status, TheStatesRankAsTheContractSays) {
  const char* words[] = {"error", "conflict", "pulling", "pushing", "waiting", "partial", "clean"};
  for (int i = 0; i < kStates; ++i) EXPECT_EQ(word(static_cast<State>(i)), words[i]);
}

TEST(Status, AKindHasItsOwnWords) {
  const auto fitting = [](Kind kind) {
    std::set<std::string> out;
    for (int i = 0; i < 6; ++i) {
      if (fits(kind, static_cast<Status>(i))) out.emplace(word(static_cast<Status>(i)));
    }
    return out;
  };
  using Words = std::set<std::string>;
  EXPECT_EQ(fitting(Kind::file), (Words{"untracked", "local", "sync", "remote"}));
  EXPECT_EQ(fitting(Kind::folder), (Words{"local", "syncless", "syncmore", "remote"}));
  EXPECT_EQ(fitting(Kind::symlink), (Words{"untracked", "local", "sync"}));
  EXPECT_EQ(fitting(Kind::fifo), (Words{"untracked"}));
  EXPECT_EQ(fitting(Kind::socket), (Words{"untracked"}));
  EXPECT_EQ(fitting(Kind::none), Words{});
}

}  // namespace
}  // namespace ebb::store
