// The rules of ebb-status(7) about names, one by one.
#include "fusefs/core/tree.h"

#include <cerrno>

#include <gtest/gtest.h>

#include "tests/support/tree_world.h"

namespace ebb::test {
namespace {

using fusefs::Kind;
using fusefs::State;
using fusefs::Status;
using fusefs::StepKind;
using Words = std::vector<std::string>;

class Tree : public ::testing::Test {
 protected:
  explicit Tree(Status root = Status::syncmore) : w(root) { w.list(kRootNode); }
  void TearDown() override { EXPECT_EQ(w.broken(), ""); }

  void settle() {
    ASSERT_TRUE(w.settle());
    ASSERT_EQ(w.differences(), "");
    w.effects = {};
  }
  std::string there(const std::string& path) {
    const auto id = w.server.find(path);
    return id ? w.server.content(*id) : "(none)";
  }
  /// A file of the server, shown and pulled.
  EntryId synced(const std::string& path, const std::string& content) {
    w.file(path, content);
    settle();
    return *w.server.find(path);
  }

  TreeWorld w;
};

class SynclessTree : public Tree {
 protected:
  SynclessTree() : Tree(Status::syncless) {}

  EntryId synced_file(const std::string& path, const std::string& content) {
    const auto id = w.file(path, content);
    EXPECT_TRUE(w.tree().set_status(id, Status::sync));
    settle();
    return *w.server.find(path);
  }
};

TEST_F(Tree, AListThatBreaksOffHalfWayIsNone) {
  const auto entry = w.server.make(kRootEntry, "many", Kind::folder);
  constexpr std::size_t kNames = 5000;  // more than one transaction takes
  for (std::size_t i = 0; i < kNames; ++i) {
    w.server.make(entry, "n" + std::to_string(i), Kind::file);
  }
  w.hear();
  const auto folder = w.at("many");
  auto bad = w.server.list(entry);
  bad.push_back({"no/name", bad.back().entry});
  w.reopen();
  EXPECT_FALSE(w.tree().listed_by_server(folder, bad));
  EXPECT_FALSE(*w.tree().listed(folder));
  w.reopen();
  w.server.remove(entry, "n0");
  w.list(folder);
  EXPECT_TRUE(*w.tree().listed(folder));
  EXPECT_FALSE(w.shown("many/n0"));
  EXPECT_TRUE(w.shown("many/n" + std::to_string(kNames - 1)));
  EXPECT_EQ(w.differences(), "");
}

TEST_F(Tree, WhatIsMadeIsPushedParentsFirst) {
  w.folder("a");
  w.file("a/x", "1");
  w.symlink("a/s", "x");
  EXPECT_EQ(w.plan_words(), (Words{"make_folder", "after", "after"}));
  EXPECT_EQ(w.state(""), State::waiting);
  settle();
  EXPECT_EQ(there("a/x"), "1");
  EXPECT_EQ(there("a/s"), "x");
  EXPECT_EQ(w.state(""), State::clean);
  EXPECT_EQ(w.status("a"), Status::syncmore);
}

TEST_F(Tree, MadeAndDeletedIsNothing) {
  w.folder("a");
  w.file("a/x", "1");
  ASSERT_TRUE(w.unlink("a/x"));
  ASSERT_TRUE(w.rmdir("a"));
  EXPECT_EQ(w.tree().queue_length(), 0u);
  w.apply_effects();
  EXPECT_TRUE(w.contents.empty());
}

TEST_F(Tree, DeletedWhileItsMakingIsUnderWayIsDeletedThereToo) {
  w.file("x", "1");
  ASSERT_TRUE(w.send(w.at("x")));
  ASSERT_TRUE(w.unlink("x"));
  EXPECT_FALSE(w.shown("x"));
  settle();
  EXPECT_EQ(there("x"), "(none)");
  EXPECT_FALSE(w.shown("x"));
}

TEST_F(Tree, AStepUnderWayIsSaidAgainAfterARestart) {
  w.file("x", "1");
  const auto id = w.at("x");
  ASSERT_TRUE(w.send(id));
  w.reopen();
  ASSERT_TRUE(w.rename("x", "y"));
  const auto step = w.next("y");
  EXPECT_EQ(step.kind, StepKind::push);
  EXPECT_EQ(step.place.name, "x");
  settle();
  EXPECT_EQ(there("y"), "1");
  EXPECT_EQ(there("x"), "(none)");
}

TEST_F(Tree, TwoWritesAreOnePush) {
  const auto id = w.file("x", "1");
  const auto first = *w.tree().queued(id);
  w.clock.pass(std::chrono::seconds(1));
  w.write(id, "2");
  const auto queued = *w.tree().queued(id);
  EXPECT_EQ(queued.sequence, first.sequence);
  EXPECT_EQ(queued.first_change, first.first_change);
  EXPECT_GT(queued.last_change, first.last_change);
  settle();
  EXPECT_EQ(w.server.steps_done(), 1u);
}

TEST_F(Tree, AWriteDuringThePushIsPushedAfterIt) {
  const auto id = w.file("x", "1");
  ASSERT_TRUE(w.send(id));
  w.write(id, "2");
  ASSERT_TRUE(w.answer_one());
  EXPECT_EQ(w.state("x"), State::waiting);
  settle();
  EXPECT_EQ(there("x"), "2");
}

TEST_F(Tree, AChainOfRenamesIsOneRename) {
  synced("a", "1");
  ASSERT_TRUE(w.rename("a", "b"));
  ASSERT_TRUE(w.rename("b", "c"));
  EXPECT_EQ(w.plan_words(), Words{"rename"});
  const auto done = w.server.steps_done();
  settle();
  EXPECT_EQ(w.server.steps_done(), done + 1);
  EXPECT_EQ(there("c"), "1");
}

TEST_F(Tree, RenamedThereAndBackIsNothing) {
  synced("a", "1");
  ASSERT_TRUE(w.rename("a", "b"));
  ASSERT_TRUE(w.rename("b", "a"));
  EXPECT_EQ(w.tree().queue_length(), 0u);
}

TEST_F(Tree, ASwapIsOneExchange) {
  const auto a = synced("a", "1");
  synced("b", "2");
  ASSERT_TRUE(w.rename("a", "b", 2));
  const auto done = w.server.steps_done();
  settle();
  EXPECT_EQ(w.server.steps_done(), done + 1);
  EXPECT_EQ(*w.server.find("b"), a);
}

TEST_F(Tree, AFolderMovedIntoANewOneThatTakesItsNameArrives) {
  w.folder("x");
  settle();
  w.folder("new");
  ASSERT_TRUE(w.rename("x", "new/x"));
  ASSERT_TRUE(w.rename("new", "x"));
  settle();
  EXPECT_TRUE(w.server.find("x/x").has_value());
  EXPECT_EQ(w.ls(), "x");
}

TEST_F(Tree, ParentAndChildCanChangePlaces) {
  w.folder("a");
  w.folder("a/b");
  settle();
  const auto a = *w.server.find("a");
  ASSERT_TRUE(w.rename("a/b", "t"));
  ASSERT_TRUE(w.rename("a", "t/b"));
  ASSERT_TRUE(w.rename("t", "a"));
  settle();
  EXPECT_EQ(*w.server.find("a/b"), a);
}

TEST_F(Tree, SavingByRenamingOverKeepsTheIdentity) {
  const auto entry = synced("doc", "1");
  w.file("doc.tmp", "2");
  ASSERT_TRUE(w.rename("doc.tmp", "doc"));
  EXPECT_EQ(w.plan_words(), Words{"push"});
  const auto done = w.server.steps_done();
  settle();
  EXPECT_EQ(w.server.steps_done(), done + 1);
  EXPECT_EQ(*w.server.find("doc"), entry);
  EXPECT_EQ(there("doc"), "2");
}

TEST_F(Tree, SavingTwiceWhileTheFirstPushIsUnderWayLosesNeither) {
  const auto entry = synced("doc", "1");
  w.write(w.at("doc"), "2");
  ASSERT_TRUE(w.send(w.at("doc")));
  w.file("doc.tmp", "3");
  ASSERT_TRUE(w.rename("doc.tmp", "doc"));
  settle();
  EXPECT_EQ(*w.server.find("doc"), entry);
  EXPECT_EQ(there("doc"), "3");
  EXPECT_TRUE(w.server.history().contains("2"));
}

TEST_F(Tree, SavingByMovingAwayAndMakingAnewKeepsTheIdentity) {
  const auto entry = synced("doc", "1");
  ASSERT_TRUE(w.rename("doc", "doc~"));
  w.file("doc", "2");
  settle();
  EXPECT_EQ(*w.server.find("doc"), entry);
  EXPECT_EQ(there("doc"), "2");
  EXPECT_EQ(there("doc~"), "1");
}

TEST_F(Tree, MadeAnewAfter15SecondsIsAnotherEntry) {
  const auto entry = synced("doc", "1");
  ASSERT_TRUE(w.unlink("doc"));
  w.clock.pass(std::chrono::seconds(15));
  w.file("doc", "2");
  settle();
  EXPECT_NE(*w.server.find("doc"), entry);
  EXPECT_EQ(there("doc"), "2");
}

TEST_F(SynclessTree, ASavedFileStaysSyncInEitherWayOfSaving) {
  synced_file("a", "1");
  synced_file("b", "1");
  w.file("a.tmp", "2");
  EXPECT_EQ(w.status("a.tmp"), Status::local);
  ASSERT_TRUE(w.rename("a.tmp", "a"));
  EXPECT_EQ(w.status("a"), Status::sync);
  ASSERT_TRUE(w.rename("b", "b~"));
  w.file("b", "2");
  EXPECT_EQ(w.status("b"), Status::sync);
  settle();
  EXPECT_EQ(there("a"), "2");
  EXPECT_EQ(there("b"), "2");
}

TEST_F(SynclessTree, WhatReplacesALocalFileIsLocalAndLeavesTheServer) {
  synced_file("a", "1");
  w.file("b", "2");
  ASSERT_TRUE(w.rename("a", "b"));
  EXPECT_EQ(w.status("b"), Status::local);
  settle();
  EXPECT_EQ(there("a"), "(none)");
  EXPECT_EQ(there("b"), "(none)");
  EXPECT_FALSE(w.server.history().contains("2"));
}

TEST_F(SynclessTree, LocalIsNeverPushed) {
  w.folder("d");
  w.file("d/x", "1");
  EXPECT_EQ(w.status("d"), Status::local);
  EXPECT_EQ(w.tree().queue_length(), 0u);
  settle();
  EXPECT_EQ(w.server.steps_done(), 0u);
}

TEST_F(SynclessTree, SyncedIntoALocalFolderIsEXDEV) {
  synced_file("x", "1");
  w.folder("d");
  EXPECT_EQ(TreeWorld::error(w.rename("x", "d/x")), EXDEV);
  EXPECT_EQ(TreeWorld::error(w.link("x", "d/x")), EXDEV);
  w.file("l", "1");
  EXPECT_EQ(TreeWorld::error(w.rename("l", "d/l")), 0);
}

TEST_F(SynclessTree, LocalAncestorsAreMadeBeforeWhatBecomesSync) {
  w.folder("d");
  w.folder("d/e");
  const auto id = w.file("d/e/x", "1");
  ASSERT_TRUE(w.tree().set_status(id, Status::sync));
  EXPECT_EQ(w.status("d"), Status::syncless);
  EXPECT_EQ(w.plan_words(), (Words{"make_folder", "after", "after"}));
  settle();
  EXPECT_EQ(there("d/e/x"), "1");
}

TEST_F(SynclessTree, AHiddenEntryIsShownAgainAsRemote) {
  w.file("x", "mine");
  w.server.make(kRootEntry, "x", Kind::file, "theirs");
  w.hear();
  EXPECT_EQ(w.status("x"), Status::local);
  w.tree().take_effects();
  ASSERT_TRUE(w.unlink("x"));
  ASSERT_TRUE(w.shown("x"));
  EXPECT_EQ(w.status("x"), Status::remote);
  EXPECT_EQ(w.tree().take_effects().names_changed.size(), 1u);
  settle();
  EXPECT_EQ(there("x"), "theirs");
}

TEST_F(SynclessTree, SyncToLocalKeepsTheServersCopyHidden) {
  synced_file("x", "1");
  ASSERT_TRUE(w.tree().set_status(w.at("x"), Status::local));
  w.write(w.at("x"), "2");
  settle();
  EXPECT_EQ(there("x"), "1");
  ASSERT_TRUE(w.rename("x", "y"));
  EXPECT_EQ(w.status("x"), Status::remote);
  EXPECT_EQ(w.ls(), "x y");
}

TEST_F(Tree, ADeletionWaitsAndIsDone) {
  synced("x", "1");
  ASSERT_TRUE(w.unlink("x"));
  EXPECT_FALSE(w.shown("x"));
  EXPECT_EQ(w.state(""), State::waiting);
  w.reopen();
  settle();
  EXPECT_EQ(there("x"), "(none)");
}

TEST_F(Tree, AFolderIsRemovedAfterWhatWasInIt) {
  w.folder("d");
  synced("d/x", "1");
  ASSERT_TRUE(w.unlink("d/x"));
  ASSERT_TRUE(w.rmdir("d"));
  EXPECT_EQ(TreeWorld::error(w.rmdir("d")), ENOENT);
  settle();
  EXPECT_FALSE(w.server.find("d").has_value());
}

TEST_F(Tree, AFolderInWhichTheServerHasMoreStays) {
  w.folder("d");
  settle();
  ASSERT_TRUE(w.rmdir("d"));
  w.server.make(*w.server.find("d"), "new", Kind::file, "1");
  settle();
  EXPECT_EQ(w.ls("d"), "new");
}

TEST_F(Tree, NewEntriesOfTheServerAreRemote) {
  const auto d = w.server.make(kRootEntry, "d", Kind::folder);
  w.server.make(d, "x", Kind::file, "1");
  settle();
  EXPECT_EQ(w.status("d"), Status::remote);
  EXPECT_EQ(w.status("d/x"), Status::remote);
  EXPECT_EQ(w.node("d/x").size, 1u);
}

TEST_F(Tree, AWriteToARemoteFileMakesItSyncAndWakesItsFolders) {
  const auto d = w.server.make(kRootEntry, "d", Kind::folder);
  w.server.make(d, "x", Kind::file, "1");
  settle();
  ASSERT_TRUE(w.write(w.at("d/x"), "2"));
  EXPECT_EQ(w.status("d/x"), Status::sync);
  EXPECT_EQ(w.status("d"), Status::syncmore);
  settle();
  EXPECT_EQ(there("d/x"), "2");
}

TEST_F(Tree, ANewerVersionIsFetchedAgainIntoASyncFile) {
  const auto entry = synced("x", "1");
  w.server.write(entry, "22");
  settle();
  EXPECT_EQ(w.node("x").size, 2u);
  EXPECT_EQ(w.contents[w.node("x").content], "22");
}

TEST_F(Tree, ANewerVersionOfAnOpenFileTakesItsName) {
  const auto entry = synced("x", "1");
  const auto old = w.at("x");
  w.open.insert(old);
  w.in_use.insert(old);
  w.server.write(entry, "2");
  w.hear();
  EXPECT_NE(w.at("x"), old);
  EXPECT_TRUE(w.tree().node(old).has_value());
  w.open.clear();
  w.in_use.clear();
  ASSERT_TRUE(w.tree().unused(old));
  EXPECT_FALSE(w.tree().node(old).has_value());
}

TEST_F(Tree, FoldersMadeOnBothSidesAreOne) {
  w.folder("d");
  w.file("d/mine", "1");
  const auto d = w.server.make(kRootEntry, "d", Kind::folder);
  w.server.make(d, "theirs", Kind::file, "2");
  settle();
  EXPECT_EQ(w.ls("d"), "mine theirs");
  EXPECT_EQ(there("d/mine"), "1");
}

TEST_F(Tree, AnEditOutlivesADeletionOnTheServer) {
  synced("x", "1");
  w.write(w.at("x"), "2");
  w.server.remove(kRootEntry, "x");
  settle();
  EXPECT_EQ(there("x"), "2");
}

TEST_F(Tree, AnEditOnTheServerOutlivesADeletionHere) {
  const auto entry = synced("x", "1");
  ASSERT_TRUE(w.unlink("x"));
  w.server.write(entry, "2");
  const auto id = *w.tree().of_entry(entry);
  ASSERT_TRUE(w.send(id));
  settle();
  EXPECT_EQ(there("x"), "2");
  EXPECT_TRUE(w.shown("x"));
}

TEST_F(Tree, AMoveOnTheServerKeepsContentAndStatus) {
  const auto entry = synced("x", "1");
  const auto id = w.at("x");
  w.server.rename(kRootEntry, "x", kRootEntry, "y");
  w.hear();
  EXPECT_EQ(w.at("y"), id);
  EXPECT_FALSE(w.shown("x"));
  EXPECT_EQ(w.status("y"), Status::sync);
  EXPECT_EQ(w.node("y").entry, entry);
}

TEST_F(Tree, AttributesChangedOnBothSidesAreNoConflict) {
  const auto entry = synced("x", "1");
  fusefs::AttributeChange change;
  change.mode = 0600;
  ASSERT_TRUE(w.tree().set_attributes(w.at("x"), change));
  w.server.change_mode(entry, 0640);
  settle();
  EXPECT_EQ(w.server.entry(entry).attributes.mode, 0600u);
}

TEST_F(Tree, HardLinksArePushedAndRemovedAsNames) {
  const auto entry = synced("x", "1");
  ASSERT_TRUE(w.link("x", "y"));
  settle();
  EXPECT_EQ(*w.server.find("y"), entry);
  EXPECT_EQ(w.rename("x", "y").has_value(), true);
  EXPECT_EQ(w.ls(), "x y");
  ASSERT_TRUE(w.unlink("x"));
  settle();
  EXPECT_EQ(there("x"), "(none)");
  EXPECT_EQ(there("y"), "1");
}

TEST_F(Tree, CountsMoveWithAFolder) {
  w.folder("a");
  w.folder("b");
  settle();
  w.file("a/x", "1");
  EXPECT_EQ(w.state("a"), State::waiting);
  w.folder("b/c");
  ASSERT_TRUE(w.rename("a", "b/c/a"));
  EXPECT_EQ(w.state("b/c/a"), State::waiting);
  w.tree().set_active(w.at("b/c/a/x"), State::pushing, true);
  EXPECT_EQ(w.state("b"), State::pushing);
  ASSERT_TRUE(w.rename("b/c/a", "a"));
  EXPECT_EQ(w.state("a"), State::pushing);
  EXPECT_EQ(w.state("b"), State::waiting);
  w.tree().set_active(w.at("a/x"), State::pushing, false);
  settle();
  EXPECT_EQ(w.state("b"), State::clean);
}

TEST_F(Tree, OrphansOfTheLastRunAreDropped) {
  const auto id = w.file("x", "1");
  w.in_use.insert(id);
  ASSERT_TRUE(w.unlink("x"));
  EXPECT_TRUE(w.tree().node(id).has_value());
  w.reopen();
  EXPECT_FALSE(w.tree().node(id).has_value());
}

TEST_F(Tree, AFileInAWritersHandAtTheCrashCountsAsChanged) {
  synced("x", "1");
  ASSERT_TRUE(w.tree().set_open_for_write(w.at("x"), true));
  w.reopen();
  EXPECT_EQ(w.tree().suspects(), std::vector<NodeId>{w.at("x")});
  EXPECT_EQ(w.plan_words(), Words{"push"});
}

TEST_F(Tree, ContentClaimedBeforeAPowerCutIsWantedAgain) {
  synced("x", "1");
  const auto id = w.at("x");
  ASSERT_TRUE(w.tree().set_here(id, {}, true, false));
  w.reopen(false);
  EXPECT_TRUE(w.node("x").has(store::kWhole));
  w.reopen(true);
  EXPECT_FALSE(w.node("x").has(store::kWhole));
  EXPECT_EQ(w.state("x"), State::partial);
  EXPECT_EQ(w.tree().take_effects().wanted, std::vector<NodeId>{id});
}

TEST_F(Tree, RefusesWhatCannotBe) {
  w.folder("d");
  w.file("d/x", "1");
  w.file("f", "1");
  const auto name = [](std::size_t size) { return std::string(size, 'n'); };
  EXPECT_EQ(w.make(name(256)).error().code.value(), ENAMETOOLONG);
  EXPECT_TRUE(w.make(name(255)).has_value());
  EXPECT_EQ(w.make("d").error().code.value(), EEXIST);
  EXPECT_EQ(TreeWorld::error(w.rmdir("d")), ENOTEMPTY);
  EXPECT_EQ(TreeWorld::error(w.unlink("d")), EISDIR);
  EXPECT_EQ(TreeWorld::error(w.rmdir("f")), ENOTDIR);
  EXPECT_EQ(TreeWorld::error(w.rename("d", "d/e")), EINVAL);
  EXPECT_EQ(TreeWorld::error(w.rename("d", "f")), ENOTDIR);
  EXPECT_EQ(TreeWorld::error(w.rename("f", "d")), EISDIR);
  EXPECT_EQ(TreeWorld::error(w.rename("f", "d/x", 1)), EEXIST);
  EXPECT_EQ(TreeWorld::error(w.rename("f", "g", 2)), ENOENT);
  EXPECT_EQ(TreeWorld::error(w.tree().set_status(kRootNode, Status::local)), EPERM);
  EXPECT_EQ(TreeWorld::error(w.tree().set_status(w.at("f"), Status::syncmore)), EINVAL);
}

}  // namespace
}  // namespace ebb::test
