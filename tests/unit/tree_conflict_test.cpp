// The rules of ebb-status(7) about conflicts, one by one: nothing of either side is lost.
#include <gtest/gtest.h>

#include "fusefs/core/tree.h"
#include "tests/support/tree_world.h"

namespace ebb::test {
namespace {

using fusefs::Kind;
using fusefs::State;
using fusefs::Status;
using fusefs::StepKind;

constexpr const char* kStamp = ".conflict-here-20010909-014640";

class TreeConflict : public ::testing::Test {
 protected:
  TreeConflict() { w.list(kRootNode); }
  void TearDown() override { EXPECT_EQ(w.broken(), ""); }

  void settle() {
    ASSERT_TRUE(w.settle());
    ASSERT_EQ(w.differences(), "");
    EXPECT_EQ(w.tree().queue_length(), 0u) << w.queue_text();
    EXPECT_EQ(w.state(""), State::clean);
  }
  std::string there(const std::string& path) {
    const auto id = w.server.find(path);
    return id ? w.server.content(*id) : "(none)";
  }
  std::string here(const std::string& path) {
    const auto id = w.at(path);
    if (!id) return "(none)";
    w.pull(id);
    return w.contents[w.tree().node(id)->content];
  }
  /// A listing that does not wait for what is told.
  void must_list() { ASSERT_TRUE(w.tree().listed_by_server(kRootNode, w.server.list(kRootEntry))); }
  EntryId synced(const std::string& path, const std::string& content) {
    w.file(path, content);
    settle();
    return *w.server.find(path);
  }

  TreeWorld w;
};

TEST_F(TreeConflict, TheServersContentTakesTheNameAndOursStandsBesideIt) {
  const auto entry = synced("a.txt", "1");
  const auto old = w.at("a.txt");
  w.write(old, "mine");
  w.server.write(entry, "theirs");
  settle();
  const auto copy = std::string("a") + kStamp + ".txt";
  EXPECT_EQ(there("a.txt"), "theirs");
  EXPECT_EQ(here("a.txt"), "theirs");
  EXPECT_EQ(there(copy), "mine");
  EXPECT_EQ(here(copy), "mine");
  EXPECT_EQ(w.status(copy), Status::sync);
  EXPECT_EQ(w.at(copy), old) << "handles go on with the node that they have";
  EXPECT_NE(w.at("a.txt"), old);
  EXPECT_EQ(w.node("a.txt").entry, entry);
}

TEST_F(TreeConflict, TheKernelIsToldOfBothNames) {
  const auto entry = synced("x", "1");
  w.write(w.at("x"), "mine");
  w.server.write(entry, "theirs");
  w.effects = {};
  settle();
  std::set<std::string> told;
  for (const auto& change : w.effects.names_changed) told.insert(change.name);
  EXPECT_TRUE(told.contains("x"));
  EXPECT_TRUE(told.contains(std::string("x") + kStamp));
}

TEST_F(TreeConflict, EqualContentIsNone) {
  const auto entry = synced("x", "1");
  w.write(w.at("x"), "same");
  w.server.write(entry, "same");
  settle();
  EXPECT_EQ(w.ls(), "x");
  EXPECT_EQ(w.node("x").entry, entry);
}

TEST_F(TreeConflict, TheSameFileMadeTwiceIsOne) {
  const auto id = w.file("x", "same");
  const auto entry = w.server.make(kRootEntry, "x", Kind::file, "same");
  settle();
  EXPECT_EQ(w.ls(), "x");
  EXPECT_EQ(w.at("x"), id);
  EXPECT_EQ(w.node("x").entry, entry);
}

TEST_F(TreeConflict, AnotherFileMadeUnderTheNameKeepsIt) {
  w.file("x", "mine");
  w.server.make(kRootEntry, "x", Kind::file, "their");
  settle();
  EXPECT_EQ(there("x"), "their");
  EXPECT_EQ(there(std::string("x") + kStamp), "mine");
}

TEST_F(TreeConflict, OfEqualSizeOnlyTheContentDecides) {
  w.file("x", "mine");
  w.server.make(kRootEntry, "x", Kind::file, "them");
  settle();
  EXPECT_EQ(there("x"), "them");
  EXPECT_EQ(here("x"), "them");
  EXPECT_EQ(there(std::string("x") + kStamp), "mine");
}

TEST_F(TreeConflict, ATakenConflictNameGetsANumber) {
  const auto entry = synced("x", "1");
  w.write(w.at("x"), "mine");
  w.server.write(entry, "theirs");
  w.file(std::string("x") + kStamp, "older");
  settle();
  EXPECT_EQ(there(std::string("x") + kStamp), "older");
  EXPECT_EQ(there(std::string("x") + kStamp + "-2"), "mine");
}

TEST_F(TreeConflict, AFileMakesWayForAFolder) {
  w.file("x", "mine");
  const auto folder = w.server.make(kRootEntry, "x", Kind::folder);
  w.server.make(folder, "in", Kind::file, "theirs");
  settle();
  EXPECT_EQ(there("x/in"), "theirs");
  EXPECT_EQ(there(std::string("x") + kStamp), "mine");
}

TEST_F(TreeConflict, TheServersFileMakesWayForAFolderMadeHere) {
  w.folder("x");
  w.file("x/in", "mine");
  w.server.make(kRootEntry, "x", Kind::file, "theirs");
  settle();
  EXPECT_EQ(there("x/in"), "mine");
  EXPECT_EQ(there(std::string("x") + kStamp), "theirs");
}

TEST_F(TreeConflict, AFolderRenamedHereOntoAnotherOneIsMergedWithIt) {
  w.folder("d");
  w.file("d/mine", "1");
  settle();
  ASSERT_TRUE(w.rename("d", "e"));
  const auto e = w.server.make(kRootEntry, "e", Kind::folder);
  w.server.make(e, "theirs", Kind::file, "2");
  settle();
  EXPECT_EQ(w.ls(), "e");
  EXPECT_EQ(w.ls("e"), "mine theirs");
  EXPECT_EQ(there("e/mine"), "1");
}

TEST_F(TreeConflict, EqualSymlinksAreOneAndOthersAreTwo) {
  w.symlink("s", "target");
  w.symlink("t", "mine");
  w.server.make(kRootEntry, "s", Kind::symlink, "target");
  w.server.make(kRootEntry, "t", Kind::symlink, "theirs");
  settle();
  EXPECT_EQ(there("t"), "theirs");
  EXPECT_EQ(there(std::string("t") + kStamp), "mine");
  EXPECT_FALSE(w.shown(std::string("s") + kStamp));
}

TEST_F(TreeConflict, AChangedFileThatTheServerMovedOntoANewNameOfOursIsNotLost) {
  w.folder("d");
  synced("d/y", "1");
  const auto entry = *w.server.find("d/y");
  w.write(w.at("d/y"), "edited");
  w.file("x", "made");
  w.server.rename(*w.server.find("d"), "y", kRootEntry, "x");
  settle();
  EXPECT_EQ(there("x"), "edited");
  EXPECT_EQ(w.node("x").entry, entry);
  EXPECT_EQ(there(std::string("x") + kStamp), "made");
}

TEST_F(TreeConflict, AMoveThatWouldMakeACircleIsUndoneHere) {
  w.folder("a");
  w.folder("b");
  settle();
  ASSERT_TRUE(w.rename("a", "b/a"));
  w.server.rename(kRootEntry, "b", *w.server.find("a"), "b");
  settle();
  EXPECT_EQ(w.ls(), "a");
  EXPECT_EQ(w.ls("a"), "b");
}

TEST_F(TreeConflict, APushWhoseAnswerIsToComeIsInConflictWithNobody) {
  synced("x", "1");
  const auto id = w.at("x");
  w.write(id, "2");
  ASSERT_TRUE(w.send(id));
  // Another look at the folder and the entry comes before the receipt, and the user goes on.
  must_list();
  w.write(id, "3");
  w.reopen();
  must_list();
  settle();
  EXPECT_EQ(w.ls(), "x");
  EXPECT_EQ(there("x"), "3");
}

TEST_F(TreeConflict, ARenameWhoseAnswerIsToComeIsLeftAloneByListings) {
  synced("x", "1");
  const auto id = w.at("x");
  ASSERT_TRUE(w.rename("x", "y"));
  ASSERT_TRUE(w.send(id));
  must_list();
  EXPECT_EQ(w.ls(), "y");
  w.file("x", "new");
  settle();
  EXPECT_EQ(there("y"), "1");
  EXPECT_EQ(there("x"), "new");
}

TEST_F(TreeConflict, APathIsNeverEmptyWhileAFileTakesAnothersPlace) {
  synced("x", "old");
  const auto entry = *w.server.find("x");
  w.file("x.new", "new");
  // Its own push is under way, so that it cannot take the identity of what it replaces.
  ASSERT_TRUE(w.send(w.at("x.new")));
  ASSERT_TRUE(w.rename("x.new", "x"));
  const auto ending = *w.tree().of_entry(entry);
  EXPECT_EQ(w.tree().next_step(ending)->kind, StepKind::after);
  while (w.answer_one()) {
  }
  EXPECT_EQ(w.tree().next_step(ending)->kind, StepKind::after);
  EXPECT_EQ(w.tree().next_step(w.at("x"))->kind, StepKind::exchange);
  settle();
  EXPECT_EQ(there("x"), "new");
  EXPECT_EQ(w.ls(), "x");
}

TEST_F(TreeConflict, AServerThatIsAnOlderCopyOfItselfOverwritesNothing) {
  w.folder("d");
  synced("d/same", "same");
  synced("changed", "1");
  w.server.make(kRootEntry, "remote", Kind::file, "never pulled");
  settle();
  const auto older = w.server;
  w.write(w.at("changed"), "2, acknowledged");
  w.file("d/later", "made later");
  settle();
  w.server = older;
  ASSERT_TRUE(w.tree().begin_anew());
  settle();
  EXPECT_EQ(there("changed"), "1");
  EXPECT_EQ(there(std::string("changed") + kStamp), "2, acknowledged");
  EXPECT_EQ(there("d/later"), "made later");
  EXPECT_EQ(w.ls("d"), "later same");
  EXPECT_EQ(there("remote"), "never pulled");
  EXPECT_TRUE(w.shown("remote"));
}

TEST_F(TreeConflict, ANameThatNamedSomethingUnknownBeforeItWentIsListedAgain) {
  const auto entry = synced("x", "1");
  w.server.rename(kRootEntry, "x", kRootEntry, "y");
  w.server.changes.clear();
  proto::Change gone;
  gone.kind = proto::ChangeKind::name_gone;
  gone.place = {kRootEntry, "x"};
  gone.entry.id = EntryId(999);
  ASSERT_TRUE(w.tree().changed_by_server(gone));
  settle();
  EXPECT_EQ(w.ls(), "y");
  EXPECT_EQ(w.node("y").entry, entry);
}

}  // namespace
}  // namespace ebb::test
