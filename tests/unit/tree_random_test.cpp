// Random work on both sides of a tree, with steps under way, restarts and late answers in between.
// After every call the tree's invariants hold; at the end both sides are alike.
#include <cstdlib>
#include <iostream>
#include <random>

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "tests/support/tree_world.h"

namespace ebb::test {
namespace {

using fusefs::Kind;
using fusefs::Status;

constexpr int kStepsOfAChange = 8;

class RandomRun {
 public:
  RandomRun(std::uint64_t seed, bool server_changes)
      : random_(seed),
        world_(seed % 3 == 0 ? Status::syncless : Status::syncmore),
        server_changes_(server_changes) {
    world_.list(kRootNode);
  }

  void go(int operations) {
    for (int i = 0; i < operations && !::testing::Test::HasFailure(); ++i) {
      one();
      const auto broken = world_.broken();
      ASSERT_EQ(broken, "") << "after operation " << i << ": " << last_;
    }
    ASSERT_TRUE(world_.settle()) << "does not end: " << world_.plan_words().size();
    ASSERT_EQ(world_.broken(), "");
    ASSERT_EQ(world_.differences(), "");
    if (refused() == 0) {
      ASSERT_EQ(left(), 0u) << world_.queue_text();
    }
  }

  /// From any three trees: both sides have a base, and change without hearing of each other.
  void meet(int changes) {
    for (int i = 0; i < 3 * changes; ++i) remote();
    ASSERT_TRUE(world_.settle());
    const auto before = world_.server.steps_done();
    for (int i = 0; i < changes && !::testing::Test::HasFailure(); ++i) local();
    for (int i = 0; i < changes; ++i) remote();
    ASSERT_TRUE(world_.settle()) << "does not end: " << world_.queue_text();
    ASSERT_EQ(world_.broken(), "");
    ASSERT_EQ(world_.differences(), "");
    const auto steps = world_.server.steps_done() - before;
    // A change is a step or two; a folder that makes way takes what is in it along.
    EXPECT_LE(steps, static_cast<std::size_t>(kStepsOfAChange * changes));
  }

  std::size_t refused() {
    std::size_t count = 0;
    for (const auto& word : world_.plan_words()) count += word == "blocked" ? 1 : 0;
    return count;
  }
  std::size_t left() { return world_.plan_words().size(); }

 private:
  std::uint64_t pick(std::uint64_t n) { return random_() % n; }

  std::string text() { return std::string(1, static_cast<char>('a' + pick(4))); }

  std::string path() {
    std::string out = text();
    while (pick(3) != 0 && out.size() < 6) out += "/" + text();
    return out;
  }

  EntryId some_folder() {
    std::vector<EntryId> folders{kRootEntry};
    for (const auto& [place, id] : world_.server.names()) {
      if (world_.server.entry(id).kind == proto::EntryKind::folder) folders.push_back(id);
    }
    return folders[pick(folders.size())];
  }

  void say(const std::string& what) {
    last_ = what;
    if (std::getenv("EBB_TRACE") != nullptr) std::cerr << what << std::endl;
  }

  bool there(const std::string& path) {
    const auto slash = path.rfind('/');
    const auto folder = slash == path.npos ? kRootNode : world_.at(path.substr(0, slash));
    return static_cast<bool>(folder);
  }

  void one() {
    const auto kind = pick(20);
    if (kind < 11) return local();
    if (kind < 13 && server_changes_) return remote();
    if (kind < 14) return world_.hear_one();
    if (kind < 15) return world_.list_all();
    if (kind < 17) return send();
    if (kind < 18) return static_cast<void>(world_.answer_one());
    if (kind < 19) return world_.apply_effects();
    other();
  }

  void send() {
    say("send");
    std::vector<NodeId> nodes;
    world_.tree().queue([&](const fusefs::Queued& queued) {
      nodes.push_back(queued.node);
      return true;
    });
    if (!nodes.empty()) world_.send(nodes[pick(nodes.size())]);
  }

  void other() {
    switch (pick(5)) {
      case 0:
        say("reopen");
        return world_.reopen(pick(2) == 0);
      case 1:
        say("20 s");
        return world_.clock.pass(std::chrono::seconds(20));
      case 2: {
        const auto id = world_.at(path());
        if (id) world_.open.insert(id), world_.in_use.insert(id);
        return;
      }
      case 3: {
        const auto users = world_.in_use;
        world_.open.clear();
        world_.in_use.clear();
        for (const auto id : users) ASSERT_TRUE(world_.tree().unused(id));
        return;
      }
      default: {
        const auto id = world_.at(path());
        if (!id) return;
        const auto to = static_cast<Status>(1 + pick(5));
        say("status");
        (void)world_.tree().set_status(id, to);
      }
    }
  }

  void local() {
    const auto a = path();
    const auto b = path();
    if (!there(a) || !there(b)) return;
    switch (pick(11)) {
      case 0:
      case 1:
        say("make " + a);
        if (world_.make(a)) world_.write(world_.at(a), content());
        return;
      case 2:
        say("mkdir " + a);
        return static_cast<void>(world_.make(a, Kind::folder));
      case 3:
        say("unlink " + a);
        return static_cast<void>(world_.unlink(a));
      case 4:
        say("rmdir " + a);
        return static_cast<void>(world_.rmdir(a));
      case 5:
      case 6:
        say("rename " + a + " " + b);
        return static_cast<void>(world_.rename(a, b));
      case 7:
        say("exchange " + a + " " + b);
        return static_cast<void>(world_.rename(a, b, 2));
      case 8:
        say("link " + a + " " + b);
        if (world_.at(a)) (void)world_.link(a, b);
        return;
      case 9:
        if (world_.at(a) && world_.node(a).kind == Kind::file) {
          say("write " + a);
          world_.write(world_.at(a), content());
        }
        return;
      default:
        if (!world_.at(a)) return;
        say("chmod " + a);
        fusefs::AttributeChange change;
        change.mode = 0600 + pick(64);
        ASSERT_TRUE(world_.tree().set_attributes(world_.at(a), change));
    }
  }

  void remote() {
    auto& server = world_.server;
    const auto folder = some_folder();
    const auto name = text();
    const auto id = server.at(folder, name);
    say("server");
    switch (pick(7)) {
      case 0:
        server.make(folder, name, Kind::file, content());
        return;
      case 1:
        server.make(folder, name, Kind::folder);
        return;
      case 2:
        server.remove(folder, name);
        return;
      case 3:
        server.rename(folder, name, some_folder(), text());
        return;
      case 4:
        if (id) server.write(*id, content());
        return;
      case 5:
        if (id) server.change_mode(*id, 0600 + static_cast<std::uint32_t>(pick(64)));
        return;
      default:
        if (id) server.link(*id, some_folder(), text());
    }
  }

  std::string content() { return "content " + std::to_string(++contents_); }

  std::mt19937_64 random_;
  TreeWorld world_;
  bool server_changes_;
  int contents_ = 0;
  std::string last_;
};

std::uint64_t first_seed() {
  const char* given = std::getenv("EBB_SEED");
  return given != nullptr ? std::strtoull(given, nullptr, 10) : 0;
}

std::uint64_t seeds(std::uint64_t usual) {
  return std::getenv("EBB_SEED") != nullptr ? 1 : usual;
}

TEST(TreeRandom, EverythingMadeHereAloneReachesTheServer) {
  const auto first = first_seed();
  for (auto seed = first; seed < first + seeds(150); ++seed) {
    SCOPED_TRACE("EBB_SEED=" + std::to_string(seed));
    RandomRun run(seed, false);
    run.go(150);
    if (HasFailure()) return;
  }
}

TEST(TreeRandom, AnyThreeTreesBecomeOneInABoundedNumberOfSteps) {
  const auto first = first_seed();
  for (auto seed = first; seed < first + seeds(1500); ++seed) {
    SCOPED_TRACE("EBB_SEED=" + std::to_string(seed));
    RandomRun run(seed, true);
    run.meet(1 + static_cast<int>(seed % 8));
    if (HasFailure()) return;
  }
}

TEST(TreeRandom, BothSidesAreAlikeInTheEndWhereNothingIsInConflict) {
  const auto first = first_seed();
  for (auto seed = first; seed < first + seeds(150); ++seed) {
    SCOPED_TRACE("EBB_SEED=" + std::to_string(seed));
    RandomRun run(seed, true);
    run.go(200);
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace ebb::test
