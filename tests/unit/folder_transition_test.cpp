// Folders that become something else with all that is in them: the client core against the server
// core.
#include <functional>

#include <gtest/gtest.h>

#include "tests/sim/hands.h"

namespace ebb::test {
namespace {

using fusefs::Kind;
using fusefs::Status;

int errno_value(const Result<>& result) {
  return result ? 0 : result.error().code.value();
}

class FolderTransition : public ::testing::Test {
 protected:
  explicit FolderTransition(Status root = Status::syncmore) {
    world.machine().options.root = root;
    world.depot.make_folder("served");
    world.depot.make_folder("served/deep");
    world.depot.write("served/a", "content a");
    world.depot.write("served/deep/b", "content b");
    EXPECT_TRUE(world.start_client()) << world.last_error;
    world.settle();
  }

  /// Answered, and at its end: one that goes on is waited for.
  int set(const std::string& path, const std::string& word) {
    const int number = errno_value(world.set_status(0, path, word));
    if (number != EINPROGRESS) return number;
    for (int i = 0; i < 600 && state(path).starts_with("waiting becoming"); ++i) {
      world.pass(std::chrono::milliseconds(200));
    }
    return 0;
  }
  std::string status(const std::string& path) { return world.attribute(0, path, "status"); }
  std::string state(const std::string& path) { return world.attribute(0, path, "state"); }

  void fill(const std::string& folder) {
    ASSERT_TRUE(world.make_folder(0, folder));
    ASSERT_TRUE(world.make_folder(0, folder + "/sub"));
    ASSERT_TRUE(world.write(0, folder + "/x", "x of " + folder));
    ASSERT_TRUE(world.write(0, folder + "/sub/y", "y of " + folder));
  }
  std::string words(const std::string& folder) {
    std::string out = status(folder);
    for (const char* name : {"x", "sub", "sub/y"}) out += " " + status(folder + "/" + name);
    return out;
  }

  Hands world{1};
};

class SynclessFolderTransition : public FolderTransition {
 protected:
  SynclessFolderTransition() : FolderTransition(Status::syncless) {}
};

TEST_F(SynclessFolderTransition, LocalToSyncmoreMakesAllOfItSyncAndPushesIt) {
  fill("mine");
  EXPECT_EQ(words("mine"), "local local local local");
  EXPECT_EQ(set("mine", "syncmore"), 0);
  EXPECT_EQ(words("mine"), "syncmore sync syncmore sync");
  ASSERT_TRUE(world.run_until_quiet());
  EXPECT_EQ(world.depot.content("mine/sub/y").value_or("?"), "y of mine");
}

TEST_F(SynclessFolderTransition, LocalToSynclessMakesTheFolderAloneThere) {
  fill("mine");
  EXPECT_EQ(set("mine", "syncless"), 0);
  EXPECT_EQ(words("mine"), "syncless local local local");
  ASSERT_TRUE(world.run_until_quiet());
  EXPECT_TRUE(world.depot.exists("mine"));
  EXPECT_FALSE(world.depot.exists("mine/x"));
}

TEST_F(SynclessFolderTransition, AFolderInsideTakesItsAncestorsWithIt) {
  fill("mine");
  EXPECT_EQ(set("mine/sub", "syncmore"), 0);
  EXPECT_EQ(words("mine"), "syncless local syncmore sync");
}

TEST_F(SynclessFolderTransition, SynclessToSyncmoreTakesWhatIsLocalAndLeavesWhatIsRemote) {
  ASSERT_TRUE(world.list(0, *world.find(0, "served")));
  ASSERT_TRUE(world.write(0, "served/new", "new"));
  EXPECT_EQ(status("served"), "syncless");
  EXPECT_EQ(status("served/new"), "local");
  EXPECT_EQ(set("served", "syncmore"), 0);
  EXPECT_EQ(status("served"), "syncmore");
  EXPECT_EQ(status("served/new"), "sync");
  EXPECT_EQ(status("served/a"), "remote");
  EXPECT_EQ(status("served/deep"), "remote");
}

TEST_F(FolderTransition, SyncmoreToSynclessMovesNothing) {
  fill("mine");
  ASSERT_TRUE(world.run_until_quiet());
  EXPECT_EQ(set("mine", "syncless"), 0);
  EXPECT_EQ(words("mine"), "syncless sync syncmore sync");
  ASSERT_TRUE(world.write(0, "mine/later", "later"));
  EXPECT_EQ(status("mine/later"), "local");
}

TEST_F(FolderTransition, ToRemotePushesWhatIsNewAndDropsIt) {
  fill("mine");
  EXPECT_EQ(set("mine", "remote"), 0);
  EXPECT_EQ(words("mine"), "remote remote remote remote");
  EXPECT_EQ(world.attribute(0, "mine/sub/y", "progress"), "0/9");
  EXPECT_EQ(world.depot.content("mine/sub/y").value_or("?"), "y of mine");
  EXPECT_EQ(world.read(0, "mine/sub/y").value_or("?"), "y of mine");
}

TEST_F(FolderTransition, ToRemoteIsRefusedWholeForOneLocalEntryFarBelow) {
  fill("mine");
  ASSERT_TRUE(world.run_until_quiet());
  ASSERT_EQ(set("mine/sub/y", "local"), 0);
  EXPECT_EQ(set("mine", "remote"), EPERM);
  EXPECT_EQ(words("mine"), "syncmore sync syncmore local");
}

TEST_F(FolderTransition, ToRemoteWaitsASecondForAWriterAndIsRefusedWhole) {
  fill("mine");
  ASSERT_TRUE(world.run_until_quiet());
  const auto node = world.find(0, "mine/sub/y");
  ASSERT_TRUE(node);
  auto opened = world.ask<fusefs::OpenFile>(
      [&](auto reply) { world.client().open(*node, O_WRONLY, std::move(reply)); });
  ASSERT_TRUE(opened);
  EXPECT_EQ(set("mine", "remote"), EBUSY);
  EXPECT_EQ(words("mine"), "syncmore sync syncmore sync");
  world.client().release(opened->handle);
  EXPECT_EQ(set("mine", "remote"), 0);
}

TEST_F(FolderTransition, ToRemoteWithChangesIsRefusedWholeWhileTheServerIsAway) {
  fill("mine");
  ASSERT_TRUE(world.run_until_quiet());
  world.plug(0, false);
  world.pass(std::chrono::seconds(60));
  ASSERT_TRUE(world.write(0, "mine/sub/y", "changed"));
  EXPECT_EQ(set("mine", "remote"), EHOSTDOWN);
  EXPECT_EQ(words("mine"), "syncmore sync syncmore sync");
  EXPECT_EQ(world.read(0, "mine/x").value_or("?"), "x of mine");
}

TEST_F(FolderTransition, ToLocalKeepsTheServersCopyHidden) {
  fill("mine");
  ASSERT_TRUE(world.run_until_quiet());
  EXPECT_EQ(set("mine", "local"), 0);
  EXPECT_EQ(words("mine"), "local local local local");
  ASSERT_TRUE(world.write(0, "mine/x", "mine alone"));
  ASSERT_TRUE(world.unlink(0, "mine/sub/y"));
  ASSERT_TRUE(world.run_until_quiet());
  EXPECT_EQ(world.depot.content("mine/x").value_or("?"), "x of mine");
  EXPECT_EQ(world.depot.content("mine/sub/y").value_or("?"), "y of mine");
}

TEST_F(FolderTransition, ALocalFolderThatHidesItsOwnContentsIsRemovedHereAlone) {
  fill("mine");
  ASSERT_TRUE(world.run_until_quiet());
  ASSERT_EQ(set("mine", "local"), 0);
  ASSERT_TRUE(world.unlink(0, "mine/x"));
  ASSERT_TRUE(world.unlink(0, "mine/sub/y"));
  ASSERT_TRUE(world.remove_folder(0, "mine/sub"));
  ASSERT_TRUE(world.remove_folder(0, "mine"));
  EXPECT_FALSE(world.find(0, "mine"));
  ASSERT_TRUE(world.run_until_quiet());
  EXPECT_FALSE(world.find(0, "mine"));
  EXPECT_EQ(world.depot.content("mine/sub/y").value_or("?"), "y of mine");
}

TEST_F(FolderTransition, ALocalFolderRenamedAwayShowsTheServersAgain) {
  fill("mine");
  ASSERT_TRUE(world.run_until_quiet());
  ASSERT_EQ(set("mine", "local"), 0);
  ASSERT_TRUE(world.rename(0, "mine", "other"));
  EXPECT_EQ(status("mine"), "remote");
  EXPECT_EQ(status("other"), "local");
  EXPECT_EQ(world.read(0, "mine/sub/y").value_or("?"), "y of mine");
}

TEST_F(FolderTransition, ToLocalIsRefusedWholeForOneRemoteEntryFarBelow) {
  ASSERT_EQ(world.read(0, "served/a").value_or("?"), "content a");
  EXPECT_EQ(status("served"), "syncmore");
  EXPECT_EQ(set("served", "local"), EPERM);
  EXPECT_EQ(status("served/a"), "sync");
  EXPECT_EQ(status("served/deep"), "remote");
}

TEST_F(FolderTransition, RemoteToSyncmorePullsAllOfIt) {
  EXPECT_EQ(set("served", "syncmore"), 0);
  EXPECT_EQ(status("served/deep"), "syncmore");
  EXPECT_EQ(status("served/deep/b"), "sync");
  ASSERT_TRUE(world.run_until_quiet());
  world.plug(0, false);
  world.pass(std::chrono::seconds(60));
  EXPECT_EQ(world.read(0, "served/deep/b").value_or("?"), "content b");
}

TEST_F(FolderTransition, RemoteToSynclessIsTheFolderAlone) {
  EXPECT_EQ(set("served", "syncless"), 0);
  EXPECT_EQ(status("served"), "syncless");
  ASSERT_TRUE(world.list(0, *world.find(0, "served")));
  EXPECT_EQ(status("served/a"), "remote");
}

TEST_F(FolderTransition, RemoteToRemoteDropsWhatIsCachedBeneath) {
  world.depot.write("served/big", std::string(1 << 20, 'b'));
  const auto node = world.find(0, "served/big");
  ASSERT_TRUE(node);
  auto opened = world.ask<fusefs::OpenFile>(
      [&](auto reply) { world.client().open(*node, O_RDONLY, std::move(reply)); });
  ASSERT_TRUE(opened);
  ASSERT_TRUE(world.ask<fusefs::Piece>(
      [&](auto reply) { world.client().read(opened->handle, 1 << 19, 4096, std::move(reply)); }));
  world.client().release(opened->handle);
  ASSERT_NE(world.attribute(0, "served/big", "progress").substr(0, 2), "0/");
  EXPECT_EQ(set("served", "remote"), 0);
  EXPECT_EQ(world.attribute(0, "served/big", "progress").substr(0, 2), "0/");
}

TEST_F(SynclessFolderTransition, AWideOneIsAnsweredInASecondAndResumedAfterAKill) {
  ASSERT_TRUE(world.make_folder(0, "wide"));
  const auto folder = *world.find(0, "wide");
  constexpr int kFiles = 3000;
  for (int i = 0; i < kFiles; ++i) {
    ASSERT_TRUE(world.write(0, "wide/f" + std::to_string(i), ""));
  }
  int answer = -1;
  world.client().set_xattr(folder, "user.ebb.status", "syncmore", 0,
                           [&](const Result<>& result) { answer = errno_value(result); });
  world.client().advance();  // some of it
  world.kill_client();
  ASSERT_TRUE(world.start_client()) << world.last_error;
  EXPECT_EQ(status("wide"), "syncmore");
  ASSERT_TRUE(world.run_until_quiet());
  EXPECT_EQ(status("wide/f0"), "sync");
  for (int i = 0; i < kFiles; ++i) ASSERT_TRUE(world.depot.exists("wide/f" + std::to_string(i)));
  EXPECT_EQ(state("wide"), "clean");
}

TEST_F(SynclessFolderTransition, OneThatGoesOnIsToldSoAndShowsItAndEndsByItself) {
  fill("mine");
  ASSERT_EQ(set("mine", "syncmore"), 0);
  ASSERT_TRUE(world.run_until_quiet());
  world.plug(0, false);
  world.pass(std::chrono::seconds(1));
  ASSERT_EQ(errno_value(world.set_status(0, "served", "syncmore")), EINPROGRESS);
  EXPECT_EQ(state("served"), "waiting becoming syncmore");
  EXPECT_EQ(errno_value(world.set_status(0, "served", "syncless")), EBUSY);
  EXPECT_EQ(errno_value(world.set_status(0, "served", "syncmore")), EINPROGRESS);
  world.plug(0, true);
  ASSERT_TRUE(world.run_until_quiet());
  EXPECT_EQ(state("served"), "clean");
  EXPECT_EQ(status("served/deep/b"), "sync");
}

TEST_F(FolderTransition, WhileASetxattrWaitsTheKernelIsToldNothingAboutTheFolder) {
  fill("mine");
  ASSERT_TRUE(world.run_until_quiet());
  world.plug(0, false);
  const auto folder = *world.find(0, "served");
  const auto before = world.machine().kernel.told;
  bool answered = false;
  world.client().set_xattr(folder, "user.ebb.status", "syncmore", 0,
                           [&](const Result<>&) { answered = true; });
  world.plug(0, true);
  while (!answered) {
    world.depot.write("served/new", "made meanwhile");
    EXPECT_EQ(world.machine().kernel.told, before);
    world.pass(std::chrono::milliseconds(50));
  }
}

// ---- any sequence

class RandomTransitions {
 public:
  RandomTransitions(std::uint64_t seed, Hands& world) : world_(world), random_(seed) {
    world_.machine().options.root = seed % 2 == 0 ? Status::syncmore : Status::syncless;
    for (const char* folder : {"a", "a/a", "b"}) world_.depot.make_folder(folder);
    for (const char* path : {"a/x", "a/a/y", "b/z", "w"}) {
      world_.depot.write(path, std::string("served ") + path);
      allowed_.insert(std::string("served ") + path);
      kept_[path] = std::string("served ") + path;
    }
  }

  void go(int operations) {
    ASSERT_TRUE(world_.start_client()) << world_.last_error;
    world_.settle();
    for (int i = 0; i < operations; ++i) {
      one();
      look("", "");
      if (::testing::Test::HasFailure()) return;
    }
    ASSERT_TRUE(world_.run_until_quiet());
    nothing_is_lost();
    nothing_local_left_the_machine();
  }

 private:
  std::uint64_t pick(std::uint64_t n) { return random_() % n; }
  std::string text() { return std::string(1, static_cast<char>('a' + pick(3))); }
  std::string path() {
    std::string out = text();
    while (pick(2) == 0) out += "/" + text();
    if (pick(2) == 0) out += "/" + std::string(1, static_cast<char>('w' + pick(4)));
    return out;
  }

  void one() {
    const auto where = path();
    switch (pick(11)) {
      case 0:
      case 1:
        return write(where);
      case 2:
        return static_cast<void>(world_.make_folder(0, where));
      case 3:
        return world_.pass(std::chrono::milliseconds(pick(7000)));
      case 4:
        return rename(where, path());
      case 5:
        return remove(where);
      case 6:
        if (pick(4) != 0) return;
        world_.kill_client();
        ASSERT_TRUE(world_.start_client()) << world_.last_error;
        return world_.settle();
      default:
        return change(where);
    }
  }

  void write(const std::string& where) {
    const auto node = world_.find(0, where);
    if (node && world_.client().status(*node)->kind == Kind::folder) return;
    const auto content = "content " + std::to_string(++contents_);
    if (!world_.write(0, where, content)) return;
    kept_[where] = content;
    if (world_.attribute(0, where, "status") == "sync") allowed_.insert(content);
  }

  static bool in(const std::string& path, const std::string& top) {
    return path == top || path.starts_with(top + "/");
  }

  /// What was kept at the new name is replaced, which a user wants.
  void rename(const std::string& from, const std::string& to) {
    if (from == to || !world_.rename(0, from, to)) return;
    std::map<std::string, std::string> kept;
    for (const auto& [path, content] : kept_) {
      if (in(path, from)) {
        kept[to + path.substr(from.size())] = content;
      } else if (!in(path, to)) {
        kept[path] = content;
      }
    }
    kept_ = std::move(kept);
    for (const auto& [path, content] : kept_) {
      if (in(path, to) && world_.attribute(0, path, "status") == "sync") allowed_.insert(content);
    }
  }

  void remove(const std::string& where) {
    if (world_.unlink(0, where)) {
      kept_.erase(where);
    } else {
      (void)world_.remove_folder(0, where);
    }
  }

  void change(const std::string& where) {
    constexpr const char* kWords[] = {"local", "sync", "remote", "syncless", "syncmore"};
    const std::string word = kWords[pick(5)];
    const auto done = world_.set_status(0, where, word);
    const bool accepted = done || done.error().code.value() == EINPROGRESS;
    if (!accepted || (word != "sync" && word != "syncmore")) return;
    for (const auto& [path, content] : kept_) {
      if (in(path, where)) allowed_.insert(content);
    }
  }

  /// A remote folder has only remote entries, a local one only local ones.
  void look(const std::string& folder, const std::string& word) {
    const auto node = world_.find(0, folder);
    if (!node) return;
    const auto entries = world_.list(0, *node);
    if (!entries) return;
    for (const auto& entry : *entries) {
      const auto at = folder.empty() ? entry.name : folder + "/" + entry.name;
      const auto own = world_.attribute(0, at, "status");
      const auto now = folder.empty() ? word : world_.attribute(0, folder, "status");
      const bool of_one_kind = now == "remote" || now == "local";
      EXPECT_TRUE(!of_one_kind || own == now)
          << at << ": " << own << " in a folder that is " << now;
      if (entry.attributes.kind == Kind::folder) look(at, own);
    }
  }

  void nothing_is_lost() {
    std::set<std::string> found;
    for (const auto& [path, shown] : world_.tree(0)) found.insert(shown.content);
    for (const auto& [path, content] : kept_) EXPECT_TRUE(found.contains(content)) << path;
  }

  void nothing_local_left_the_machine() {
    for (const auto& [path, content] : world_.depot.tree()) {
      if (content == "/") continue;
      EXPECT_TRUE(allowed_.contains(content)) << path << ": " << content;
    }
  }

  Hands& world_;
  std::mt19937_64 random_;
  std::map<std::string, std::string> kept_;  // what a user has written last, by its name
  std::set<std::string> allowed_;            // what may be on the server
  int contents_ = 0;
};

TEST(Transitions, AnySequenceOfThemLosesNothingAndLeaksNothing) {
  const char* given = std::getenv("EBB_SEED");
  const std::uint64_t first = given != nullptr ? std::strtoull(given, nullptr, 10) : 0;
  const std::uint64_t count = given != nullptr ? 1 : 15;
  for (auto seed = first; seed < first + count; ++seed) {
    SCOPED_TRACE("EBB_SEED=" + std::to_string(seed));
    Hands world(seed);
    RandomTransitions run(seed, world);
    run.go(80);
    if (::testing::Test::HasFailure()) return;
  }
}

}  // namespace
}  // namespace ebb::test
