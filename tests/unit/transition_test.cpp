// The tables of ebb-status(7), "Transitions": every (kind, from, to).
#include "store/transition.h"

#include <cerrno>
#include <map>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>

namespace ebb::store {
namespace {

constexpr Status kAll[] = {Status::untracked, Status::local,    Status::remote,
                           Status::sync,      Status::syncless, Status::syncmore};

Transition yes(Plan plan) {
  return {plan, 0};
}
Transition no(int error) {
  return {Plan::refused, error};
}

using Table = std::map<std::tuple<Kind, Status, Status>, Transition>;

// With no facts against it.  What is not here: EPERM for a word that fits the kind, else EINVAL.
const Table& allowed() {
  constexpr auto kFile = Kind::file;
  constexpr auto kFolder = Kind::folder;
  constexpr auto kLink = Kind::symlink;
  using S = Status;
  static const Table table = {
      {{kFile, S::untracked, S::untracked}, yes(Plan::nothing)},
      {{kFile, S::untracked, S::local}, yes(Plan::nothing)},
      {{kFile, S::untracked, S::sync}, yes(Plan::become_sync_push)},
      {{kFile, S::local, S::local}, yes(Plan::nothing)},
      {{kFile, S::local, S::sync}, yes(Plan::become_sync_push)},
      {{kFile, S::sync, S::sync}, yes(Plan::nothing)},
      {{kFile, S::sync, S::remote}, yes(Plan::push_then_drop)},
      {{kFile, S::sync, S::local}, yes(Plan::pull_then_local)},
      {{kFile, S::remote, S::remote}, yes(Plan::drop_cached)},
      {{kFile, S::remote, S::sync}, yes(Plan::pull_then_sync)},
      {{kLink, S::untracked, S::untracked}, yes(Plan::nothing)},
      {{kLink, S::untracked, S::local}, yes(Plan::nothing)},
      {{kLink, S::untracked, S::sync}, yes(Plan::become_sync_push)},
      {{kLink, S::local, S::local}, yes(Plan::nothing)},
      {{kLink, S::local, S::sync}, yes(Plan::become_sync_push)},
      {{kLink, S::sync, S::sync}, yes(Plan::nothing)},
      {{kLink, S::sync, S::local}, yes(Plan::pull_then_local)},
      {{Kind::fifo, S::untracked, S::untracked}, yes(Plan::nothing)},
      {{Kind::fifo, S::untracked, S::local}, yes(Plan::nothing)},
      {{Kind::socket, S::untracked, S::untracked}, yes(Plan::nothing)},
      {{Kind::socket, S::untracked, S::local}, yes(Plan::nothing)},
      {{kFolder, S::local, S::local}, yes(Plan::nothing)},
      {{kFolder, S::local, S::syncless}, yes(Plan::make_syncless)},
      {{kFolder, S::local, S::syncmore}, yes(Plan::make_syncmore)},
      {{kFolder, S::syncless, S::syncless}, yes(Plan::nothing)},
      {{kFolder, S::syncless, S::syncmore}, yes(Plan::fill_syncmore)},
      {{kFolder, S::syncless, S::remote}, yes(Plan::empty_to_remote)},
      {{kFolder, S::syncless, S::local}, yes(Plan::detach_local)},
      {{kFolder, S::syncmore, S::syncmore}, yes(Plan::nothing)},
      {{kFolder, S::syncmore, S::syncless}, yes(Plan::rename_syncless)},
      {{kFolder, S::syncmore, S::remote}, yes(Plan::empty_to_remote)},
      {{kFolder, S::syncmore, S::local}, yes(Plan::detach_local)},
      {{kFolder, S::remote, S::remote}, yes(Plan::drop_beneath)},
      {{kFolder, S::remote, S::syncless}, yes(Plan::rename_syncless)},
      {{kFolder, S::remote, S::syncmore}, yes(Plan::pull_syncmore)},
  };
  return table;
}

TEST(Transition, EveryPairOfEveryKindIsAsTheTableSays) {
  for (const auto kind : {Kind::file, Kind::folder, Kind::symlink, Kind::fifo, Kind::socket}) {
    const auto words = kind == Kind::folder ? Kind::folder : Kind::file;
    for (const auto from : kAll) {
      if (!fits(kind, from)) continue;
      for (const auto to : kAll) {
        const auto it = allowed().find({kind, from, to});
        auto expected = no(fits(words, to) ? EPERM : EINVAL);
        if (it != allowed().end()) expected = it->second;
        const auto found = plan_transition(kind, from, to, {});
        EXPECT_EQ(found, expected) << static_cast<int>(kind) << ": " << word(from) << " -> "
                                   << word(to) << " gave " << found.error;
      }
    }
  }
}

TEST(Transition, AFileOpenForWritingIsNotDropped) {
  TransitionFacts facts;
  facts.open_for_write = true;
  EXPECT_EQ(plan_transition(Kind::file, Status::sync, Status::remote, facts), no(EBUSY));
  EXPECT_EQ(plan_transition(Kind::file, Status::sync, Status::local, facts),
            yes(Plan::pull_then_local));
}

TEST(Transition, ChangesThatTheServerDoesNotHaveAreNotDroppedWhileItIsAway) {
  TransitionFacts facts;
  facts.server_reachable = false;
  EXPECT_EQ(plan_transition(Kind::file, Status::sync, Status::remote, facts),
            yes(Plan::push_then_drop));
  facts.dirty = true;
  EXPECT_EQ(plan_transition(Kind::file, Status::sync, Status::remote, facts), no(EHOSTDOWN));
}

TEST(Transition, WhatIsBeneathAFolderMayForbidIt) {
  for (const auto from : {Status::syncless, Status::syncmore}) {
    TransitionFacts facts;
    facts.local_beneath = true;
    EXPECT_EQ(plan_transition(Kind::folder, from, Status::remote, facts), no(EPERM));
    EXPECT_EQ(plan_transition(Kind::folder, from, Status::local, facts), yes(Plan::detach_local));
    facts = {};
    facts.remote_beneath = true;
    EXPECT_EQ(plan_transition(Kind::folder, from, Status::local, facts), no(EPERM));
    EXPECT_EQ(plan_transition(Kind::folder, from, Status::remote, facts),
              yes(Plan::empty_to_remote));
  }
}

TEST(Transition, WhatNeedsTheServerIsRefusedWhileItIsAway) {
  TransitionFacts missing, renamed;
  missing.whole = missing.server_reachable = false;
  renamed.names_on_server = renamed.server_reachable = false;
  for (const auto& facts : {missing, renamed}) {
    EXPECT_EQ(plan_transition(Kind::file, Status::sync, Status::local, facts), no(EHOSTDOWN));
    EXPECT_EQ(plan_transition(Kind::folder, Status::syncmore, Status::local, facts), no(EHOSTDOWN));
  }
  TransitionFacts dirty;
  dirty.dirty = true;
  dirty.server_reachable = false;
  EXPECT_EQ(plan_transition(Kind::folder, Status::syncless, Status::remote, dirty), no(EHOSTDOWN));
  EXPECT_EQ(plan_transition(Kind::file, Status::sync, Status::local, dirty),
            yes(Plan::pull_then_local));
}

TEST(Transition, WhatCannotBePushedIsNotDropped) {
  TransitionFacts facts;
  facts.stuck = true;
  EXPECT_EQ(plan_transition(Kind::file, Status::sync, Status::remote, facts), no(EBUSY));
  EXPECT_EQ(plan_transition(Kind::folder, Status::syncmore, Status::remote, facts), no(EBUSY));
  facts = {};
  facts.open_for_write = true;
  EXPECT_EQ(plan_transition(Kind::folder, Status::syncmore, Status::remote, facts), no(EBUSY));
}

TEST(Transition, EveryPlanSaysOfEveryEntryBeneathWhatBecomesOfIt) {
  using S = Status;
  constexpr auto kFile = Kind::file;
  constexpr auto kFolder = Kind::folder;
  constexpr auto kLink = Kind::symlink;
  const Beneath forbids{std::nullopt, EPERM};
  const auto becomes = [](S to) { return Beneath{to, 0}; };
  std::map<std::tuple<Plan, Kind, S>, Beneath> table = {
      {{Plan::keep_beneath, kFile, S::remote}, becomes(S::sync)},
      {{Plan::pull_syncmore, kFile, S::remote}, becomes(S::sync)},
      {{Plan::pull_syncmore, kFolder, S::remote}, becomes(S::syncmore)},
      {{Plan::detach_local, kFile, S::sync}, becomes(S::local)},
      {{Plan::detach_local, kLink, S::sync}, becomes(S::local)},
      {{Plan::detach_local, kFile, S::remote}, forbids},
      {{Plan::detach_local, kFolder, S::remote}, forbids},
      {{Plan::detach_local, kFolder, S::syncless}, becomes(S::local)},
      {{Plan::detach_local, kFolder, S::syncmore}, becomes(S::local)},
  };
  for (const auto plan : {Plan::make_syncmore, Plan::fill_syncmore}) {
    table[{plan, kFile, S::untracked}] = table[{plan, kFile, S::local}] = becomes(S::sync);
    table[{plan, kLink, S::untracked}] = table[{plan, kLink, S::local}] = becomes(S::sync);
    table[{plan, kFolder, S::local}] = table[{plan, kFolder, S::syncless}] = becomes(S::syncmore);
  }
  for (const auto plan : {Plan::empty_to_remote, Plan::drop_beneath}) {
    for (const auto kind : {kFile, kLink, Kind::fifo, Kind::socket}) {
      table[{plan, kind, S::untracked}] = forbids;
    }
    for (const auto kind : {kFile, kLink, kFolder}) table[{plan, kind, S::local}] = forbids;
    for (const auto from : {S::sync, S::remote}) table[{plan, kFile, from}] = becomes(S::remote);
    for (const auto from : {S::syncless, S::syncmore, S::remote}) {
      table[{plan, kFolder, from}] = becomes(S::remote);
    }
  }
  for (int number = 0; number < kPlans; ++number) {
    const auto plan = static_cast<Plan>(number);
    for (const auto kind : {kFile, kFolder, kLink, Kind::fifo, Kind::socket}) {
      for (const auto from : kAll) {
        if (!fits(kind, from)) continue;
        const auto it = table.find({plan, kind, from});
        const auto expected = it == table.end() ? Beneath{} : it->second;
        EXPECT_EQ(plan_beneath(plan, kind, from), expected)
            << number << ", " << static_cast<int>(kind) << ", " << word(from);
      }
    }
  }
}

TEST(Transition, TheRootIsSynclessOrSyncmoreOnly) {
  TransitionFacts facts;
  facts.is_root = true;
  for (const auto from : {Status::syncless, Status::syncmore}) {
    EXPECT_EQ(plan_transition(Kind::folder, from, Status::local, facts), no(EPERM));
    EXPECT_EQ(plan_transition(Kind::folder, from, Status::remote, facts), no(EPERM));
    EXPECT_EQ(plan_transition(Kind::folder, from, Status::sync, facts), no(EINVAL));
  }
  EXPECT_EQ(plan_transition(Kind::folder, Status::syncmore, Status::syncless, facts),
            yes(Plan::rename_syncless));
}

}  // namespace
}  // namespace ebb::store
