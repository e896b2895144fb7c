// The plan as a table: from what is known of a node and its names to the next step.
#include "fusefs/core/planner.h"

#include <sstream>
#include <string_view>

#include <gtest/gtest.h>

#include "tests/support/tree_world.h"

namespace ebb::fusefs {
namespace {

using store::Kind;
using store::Status;
using test::TreeWorld;

PlanFacts known_file() {
  PlanFacts facts;
  facts.node = NodeId(7);
  facts.kind = Kind::file;
  facts.status = Status::sync;
  facts.entry = EntryId(107);
  facts.shown = true;
  facts.content_version = Version(3);
  return facts;
}

PlanFacts new_file() {
  auto facts = known_file();
  facts.entry = {};
  facts.content_dirty = facts.attributes_dirty = true;
  facts.arriving.emplace();
  facts.arriving->place = {NodeId(1), kRootEntry, "x"};
  return facts;
}

PlanFacts moving_file() {
  auto facts = known_file();
  facts.leaving = NamePlace{NodeId(1), kRootEntry, "old"};
  facts.arriving.emplace();
  facts.arriving->place = {NodeId(1), kRootEntry, "x"};
  return facts;
}

PlanFacts with_occupant(PlanFacts facts) {
  facts.arriving->occupant = NodeId(9);
  facts.arriving->occupant_entry = EntryId(109);
  facts.arriving->occupant_goes = true;
  return facts;
}

struct Row {
  const char* name;
  PlanFacts facts;
  StepKind kind;
  NodeId other;
};

template <class F>
PlanFacts with(PlanFacts facts, F&& change) {
  change(facts);
  return facts;
}

TEST(Planner, FollowsTheTable) {
  using F = PlanFacts;
  const Row rows[] = {
      {"clean", known_file(), StepKind::nothing, {}},
      {"content",
       with(known_file(), [](F& f) { f.content_dirty = f.attributes_dirty = true; }),
       StepKind::push,
       {}},
      {"attributes",
       with(known_file(), [](F& f) { f.attributes_dirty = true; }),
       StepKind::set_attributes,
       {}},
      {"in conflict",
       with(known_file(), [](F& f) { f.content_dirty = f.blocked = true; }),
       StepKind::blocked,
       {}},
      {"local", with(new_file(), [](F& f) { f.status = Status::local; }), StepKind::nothing, {}},
      {"untracked",
       with(new_file(), [](F& f) { f.status = Status::untracked; }),
       StepKind::nothing,
       {}},
      {"new file", new_file(), StepKind::push, {}},
      {"new folder",
       with(new_file(), [](F& f) { f.kind = Kind::folder; }),
       StepKind::make_folder,
       {}},
      {"new symlink",
       with(new_file(), [](F& f) { f.kind = Kind::symlink; }),
       StepKind::make_symlink,
       {}},
      {"folder not there yet",
       with(new_file(),
            [](F& f) {
              f.arriving->place = {NodeId(5), {}, "x"};
            }),
       StepKind::after, NodeId(5)},
      {"new, place taken", with_occupant(new_file()), StepKind::after, NodeId(9)},
      {"new, place taken by somebody else's",
       with(with_occupant(new_file()), [](F& f) { f.arriving->occupant_goes = false; }),
       StepKind::blocked,
       {}},
      {"new, place taken by somebody else's that may be equal",
       with(with_occupant(new_file()),
            [](F& f) {
              f.arriving->occupant_goes = false;
              f.arriving->twin = true;
            }),
       StepKind::push,
       {}},
      {"new, onto what ends: beside it first, so that the path is never empty",
       with(with_occupant(new_file()), [](F& f) { f.arriving->occupant_ends = true; }),
       StepKind::push,
       {}},
      {"new, in a circle",
       with(with_occupant(new_file()), [](F& f) { f.cycle = true; }),
       StepKind::push,
       {}},
      {"rename", moving_file(), StepKind::rename, {}},
      {"further name", with(moving_file(), [](F& f) { f.leaving.reset(); }), StepKind::link, {}},
      {"rename before content",
       with(moving_file(), [](F& f) { f.content_dirty = true; }),
       StepKind::rename,
       {}},
      {"rename, place taken", with_occupant(moving_file()), StepKind::after, NodeId(9)},
      {"rename onto what ends",
       with(with_occupant(moving_file()), [](F& f) { f.arriving->occupant_ends = true; }),
       StepKind::exchange, NodeId(9)},
      {"rename onto a folder that ends",
       with(with_occupant(moving_file()),
            [](F& f) {
              f.arriving->occupant_ends = true;
              f.arriving->occupant_folder = true;
            }),
       StepKind::after, NodeId(9)},
      {"swap", with(with_occupant(moving_file()), [](F& f) { f.cycle = true; }), StepKind::exchange,
       NodeId(9)},
      {"swap of parent and child",
       with(with_occupant(moving_file()), [](F& f) { f.cycle = f.arriving->related = true; }),
       StepKind::rename,
       {}},
      {"into itself until the other moves",
       with(moving_file(), [](F& f) { f.arriving->ancestor = NodeId(4); }), StepKind::after,
       NodeId(4)},
      {"deleted",
       with(moving_file(), [](F& f) { f.arriving.reset(), f.shown = false; }),
       StepKind::remove,
       {}},
      {"deleted, but not empty there",
       with(moving_file(),
            [](F& f) {
              f.arriving.reset();
              f.shown = false;
              f.child = NodeId(6);
            }),
       StepKind::after, NodeId(6)},
      {"deleted, and something takes its place",
       with(moving_file(),
            [](F& f) {
              f.arriving.reset();
              f.shown = false;
              f.successor = NodeId(8);
            }),
       StepKind::after, NodeId(8)},
      {"one of two names deleted",
       with(moving_file(), [](F& f) { f.arriving.reset(); }),
       StepKind::remove,
       {}},
      {"made and deleted",
       with(new_file(), [](F& f) { f.arriving.reset(), f.shown = false; }),
       StepKind::nothing,
       {}},
  };
  for (const auto& row : rows) {
    const auto step = plan(row.facts);
    EXPECT_EQ(static_cast<int>(step.kind), static_cast<int>(row.kind)) << row.name;
    EXPECT_EQ(step.other.value, row.other.value) << row.name;
    EXPECT_EQ(step.content_version, row.facts.content_version) << row.name;
  }
}

TEST(Planner, ACircleIsLeftByANameBesideThePlaceOnce) {
  auto facts = with_occupant(moving_file());
  facts.cycle = facts.arriving->related = true;
  const auto step = plan(facts);
  EXPECT_EQ(step.place.name, passing_name(facts.node));
  facts.leaving = NamePlace{step.place_folder, step.place.folder, step.place.name};
  EXPECT_EQ(plan(facts).kind, StepKind::after);
}

// ---- the three trees: every combination of what the server has, what is here, and what both come
// from

/// What stands at a name: nothing, a file with one of three contents, a folder, a symlink.
constexpr std::string_view kThings = "-abcdl";

struct ThreeTrees {
  TreeWorld world;

  static Kind kind_of(char thing) {
    return thing == 'd' ? Kind::folder : thing == 'l' ? Kind::symlink : Kind::file;
  }
  static bool same_entry(char from, char to) {
    return from != '-' && to != '-' && kind_of(from) == kind_of(to);
  }

  void on_server(char from, char to) {
    auto& server = world.server;
    if (from == to) return;
    const auto entry = server.find("x");
    if (same_entry(from, to)) {
      server.write(*entry, {to});
      return;
    }
    if (entry) server.remove(kRootEntry, "x");
    if (to != '-') server.make(kRootEntry, "x", kind_of(to), to == 'd' ? "" : std::string{to});
  }
  void here(char from, char to) {
    if (from == to) return;
    if (same_entry(from, to)) {
      world.write(world.at("x"), {to});
      return;
    }
    const auto gone = from == '-' ? Result<>() : from == 'd' ? world.rmdir("x") : world.unlink("x");
    ASSERT_TRUE(gone);
    // Later than what an editor would do: it is no new version of what stood there.
    world.clock.pass(std::chrono::minutes(1));
    if (to == 'd') world.folder("x");
    if (to == 'l') world.symlink("x", "l");
    if (to == 'a' || to == 'b' || to == 'c') world.file("x", {to});
  }
  std::string thing_of(EntryId id) {
    const auto kind = world.server.entry(id).kind;
    return kind == proto::EntryKind::folder ? "d" : world.server.content(id);
  }

  /// What both sides have in the end: at the name, and beside it.
  std::string outcome(char base, char server, char local) {
    on_server('-', base);
    world.list(kRootNode);
    if (base == 'd') world.list(world.at("x"));
    if (base >= 'a' && base <= 'c') world.pull(world.at("x"));
    on_server(base, server);
    here(base, local);
    if (!world.settle()) return "no end";
    if (world.broken() != "" || world.differences() != "") return "different";
    std::string at = "-";
    std::string beside;
    for (const auto& [place, id] : world.server.names()) {
      if (place.second == "x") {
        at = thing_of(id);
      } else {
        beside += "+" + thing_of(id);
      }
    }
    return at + beside;
  }
};

/// A row for each thing on the server, a column for each here, in the order of kThings.  `b+c`: b
/// has the name, c stands beside it under a conflict name.
struct Grid {
  char base;
  const char* rows[6];
};

constexpr Grid kGrids[] = {
    {'-',
     {"- a b c d l",            //
      "a a a+b a+c d+a a+l",    //
      "b b+a b b+c d+b b+l",    //
      "c c+a c+b c d+c c+l",    //
      "d d+a d+b d+c d d+l",    //
      "l l+a l+b l+c d+l l"}},  //
    {'a',
     {"- - b c d l",          //
      "- a b c d l",          //
      "b b b b+c d+b b+l",    //
      "c c c+b c d+c c+l",    //
      "d d d+b d+c d d+l",    //
      "l l l+b l+c d+l l"}},  //
    {'d',
     {"- a b c - l",          //
      "a a a+b a+c a a+l",    //
      "b b+a b b+c b b+l",    //
      "c c+a c+b c c c+l",    //
      "- a b c d l",          //
      "l l+a l+b l+c l l"}},  //
    {'l',
     {"- a b c d -",        //
      "a a a+b a+c d+a a",  //
      "b b+a b b+c d+b b",  //
      "c c+a c+b c d+c c",  //
      "d d+a d+b d+c d d",  //
      "- a b c d l"}},      //
};

TEST(ThreeTrees, EveryCombinationEndsAsTheTableSays) {
  int rows = 0;
  for (const auto& grid : kGrids) {
    for (std::size_t s = 0; s < kThings.size(); ++s) {
      std::istringstream cells(grid.rows[s]);
      for (const char local : kThings) {
        std::string expected;
        cells >> expected;
        ThreeTrees trees;
        EXPECT_EQ(trees.outcome(grid.base, kThings[s], local), expected)
            << "base " << grid.base << ", server " << kThings[s] << ", here " << local;
        ++rows;
      }
    }
  }
  EXPECT_EQ(rows, 4 * 6 * 6);
}

}  // namespace
}  // namespace ebb::fusefs
