// What other programs do in the served directory while it is served.
#include <gtest/gtest.h>

#include "tests/support/test_peer.h"

namespace ebb::test {
namespace {

using namespace proto;

class OutsideTest : public ::testing::Test {
 protected:
  void SetUp() override {
    world.depot.make_folder("folder");
    world.depot.write("file", "old content");
    world.depot.write("folder/inner", "inner content");
    begin();
    root = peer->list(kRootEntry);
    (void)peer->list(root.at("folder").id);
    watch();
  }
  void TearDown() override { peer.reset(); }
  void begin() {
    ASSERT_TRUE(world.start()) << world.open_error;
    world.service->watch_outside();
    peer = std::make_unique<TestPeer>(world);
  }
  void watch() {
    session = peer->next_session();
    peer->send(session, Watch{});
    world.settle();
    (void)peer->take(session);
  }
  /// The kernel tells, and the moment passes after which a name is looked at.
  std::vector<Change> changes(Duration pause = std::chrono::milliseconds(100)) {
    world.service->look_outside();
    world.settle();
    world.clock.pass(pause);
    world.service->advance(world.clock.now());
    world.settle();
    std::vector<Change> out;
    for (auto& body : peer->take(session)) {
      if (auto* change = std::get_if<Change>(&body)) out.push_back(*change);
    }
    return out;
  }

  ServedTree world;
  std::unique_ptr<TestPeer> peer;
  std::map<std::string, Entry> root;
  std::uint32_t session = 0;
};

TEST_F(OutsideTest, a_new_content_a_new_name_and_one_that_goes_are_told_by_themselves) {
  world.depot.write("file", "new content, longer");
  world.depot.write("fresh", "x");
  world.depot.erase("folder/inner");
  const auto told = changes();
  ASSERT_EQ(told.size(), 3u);
  std::map<ChangeKind, Change> by_kind;
  for (const auto& change : told) {
    EXPECT_FALSE(change.by);
    by_kind[change.kind] = change;
  }
  EXPECT_EQ(by_kind[ChangeKind::entry_changed].entry.size, 19u);
  EXPECT_EQ(by_kind[ChangeKind::entry_changed].entry.id, root.at("file").id);
  EXPECT_EQ(by_kind[ChangeKind::name_set].place.name, "fresh");
  EXPECT_EQ(by_kind[ChangeKind::name_gone].place.name, "inner");
  EXPECT_TRUE(changes().empty());
}

TEST_F(OutsideTest, a_move_is_a_move_in_one_folder_and_between_two) {
  world.depot.move("file", "renamed");
  auto told = changes();
  ASSERT_EQ(told.size(), 2u);
  EXPECT_EQ(told[0].kind, ChangeKind::name_set);
  EXPECT_EQ(told[0].entry.id, root.at("file").id);
  EXPECT_EQ(told[0].entry.content_version, root.at("file").content_version);
  EXPECT_EQ(told[1].kind, ChangeKind::name_gone);
  world.depot.move("renamed", "folder/elsewhere");
  told = changes();
  ASSERT_EQ(told.size(), 2u);
  EXPECT_EQ(told[0].kind, ChangeKind::name_set);
  EXPECT_EQ(told[0].place.folder, root.at("folder").id);
  EXPECT_EQ(told[0].entry.id, root.at("file").id);
  EXPECT_EQ(told[0].entry.content_version, root.at("file").content_version);
}

TEST_F(OutsideTest, a_folder_that_moves_keeps_what_is_in_it) {
  world.depot.move("folder", "moved");
  world.depot.write("moved/inner", "written after the move");
  std::map<ChangeKind, int> counts;
  for (int round = 0; round < 3; ++round) {
    for (const auto& change : changes(std::chrono::seconds(2))) ++counts[change.kind];
  }
  EXPECT_EQ(counts[ChangeKind::name_set], 1);
  EXPECT_EQ(counts[ChangeKind::name_gone], 1);
  EXPECT_EQ(counts[ChangeKind::entry_changed], 1);
  EXPECT_EQ(peer->find("moved/inner")->size, 22u);
}

TEST_F(OutsideTest, a_save_by_rename_is_a_new_version_of_the_same_entry) {
  world.depot.replace("file", "saved");
  const auto told = changes();
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(told[0].kind, ChangeKind::entry_changed);
  EXPECT_EQ(told[0].entry.id, root.at("file").id);
  EXPECT_GT(told[0].entry.content_version, root.at("file").content_version);
}

TEST_F(OutsideTest, a_rename_with_a_new_file_in_the_old_place_mixes_nothing_up) {
  world.depot.move("file", "file~");
  world.depot.write("file", "a new one");
  (void)changes();
  const auto now = peer->list(kRootEntry);
  EXPECT_EQ(now.at("file~").id, root.at("file").id);
  EXPECT_EQ(now.at("file~").content_version, root.at("file").content_version);
  EXPECT_NE(now.at("file").id, root.at("file").id);
}

TEST_F(OutsideTest, what_nobody_has_listed_is_not_told) {
  world.depot.make_folder("folder/unlisted");
  (void)changes();
  world.depot.write("folder/unlisted/deep", "x");
  EXPECT_TRUE(changes().empty());
  EXPECT_TRUE(peer->find("folder/unlisted/deep"));
}

TEST_F(OutsideTest, more_than_the_kernel_can_tell_is_looked_for_everywhere) {
  world.depot.write("file", "new");
  world.depot.write("folder/fresh", "x");
  world.depot.overflow_notices();
  EXPECT_EQ(changes().size(), 2u);
}

TEST_F(OutsideTest, a_folder_to_which_nothing_was_done_is_listed_without_its_disk) {
  (void)peer->list(kRootEntry);
  const auto calls = world.depot.calls();
  EXPECT_EQ(peer->list(kRootEntry).size(), 2u);
  EXPECT_EQ(world.depot.calls(), calls);
}

TEST_F(OutsideTest, a_list_has_what_was_done_a_moment_ago_and_nobody_was_told_of) {
  (void)peer->list(kRootEntry);
  world.depot.write("file", "longer than the content before");
  world.depot.write("fresh", "x");
  EXPECT_EQ(peer->list(kRootEntry).at("file").size, 30u);
  world.depot.erase("fresh");
  EXPECT_EQ(peer->list(kRootEntry).count("fresh"), 0u);
  world.depot.overflow_notices();
  world.depot.erase("folder/inner");
  EXPECT_EQ(peer->list(root.at("folder").id).size(), 0u);
}

TEST_F(OutsideTest, a_list_has_what_was_pushed_and_then_changed_by_another_program) {
  (void)peer->list(kRootEntry);
  const auto pushed = peer->push(peer->init_over(root.at("file"), 6), "pushed");
  ASSERT_EQ(pushed.code, Errc::ok);
  EXPECT_EQ(peer->list(kRootEntry).at("file").size, 6u);
  world.depot.write("file", "by another");
  EXPECT_EQ(peer->list(kRootEntry).at("file").size, 10u);
}

TEST_F(OutsideTest, what_happened_while_no_server_ran_is_told_after_its_start) {
  world.stop();
  peer.reset();
  world.depot.write("folder/inner", "changed meanwhile");
  world.depot.move("file", "folder/moved");
  begin();
  const auto told_to = peer->next_session();
  peer->send(told_to, Watch{});
  world.settle();
  const auto moved = peer->list(root.at("folder").id).at("moved");
  EXPECT_EQ(moved.id, root.at("file").id);
  EXPECT_EQ(moved.content_version, root.at("file").content_version);
}

TEST_F(OutsideTest, pushes_are_no_changes_of_others) {
  const auto entry = *peer->find("file");
  ASSERT_EQ(peer->push(peer->init_over(entry, 6), "pushed").code, Errc::ok);
  ASSERT_EQ(peer->push(peer->init_new(kRootEntry, "made", 4), "made").code, Errc::ok);
  (void)peer->take(session);
  world.depot.chmod("made", 0600);  // the kernel tells of ours, too
  const auto told = changes();
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(told[0].entry.attributes.mode, 0600u);
}

TEST_F(OutsideTest, an_owner_that_the_server_may_not_set_is_kept_and_served) {
  world.depot.refuse_owners();
  Mutate give;
  give.kind = MutationKind::set_attributes;
  give.entry = root.at("file").id;
  give.attribute_bits = kOwner;
  give.attributes.uid = 1234;
  give.attributes.gid = 99;
  ASSERT_EQ(peer->mutate(give).code, Errc::ok);
  auto init = peer->init_new(kRootEntry, "pushed", 1);
  init.attribute_bits = kOwner;
  init.attributes.uid = 77;
  ASSERT_EQ(peer->push(init, "x").code, Errc::ok);
  for (const bool restarted : {false, true}) {
    if (restarted) {
      world.stop();
      peer.reset();
      begin();
    }
    const auto now = peer->list(kRootEntry);
    EXPECT_EQ(now.at("file").attributes.uid, 1234u);
    EXPECT_EQ(now.at("file").attributes.gid, 99u);
    EXPECT_EQ(now.at("pushed").attributes.uid, 77u);
  }
  EXPECT_EQ(world.depot.facts_of("file")->attributes.uid, 0u);
  // Someone who may sets it on the disk: that counts.
  world.depot.chown("file", 5);
  watch();
  (void)changes();
  EXPECT_EQ(peer->list(kRootEntry).at("file").attributes.uid, 5u);
}

TEST_F(OutsideTest, a_large_folder_does_not_hold_the_others_up) {
  for (int i = 0; i < 4500; ++i) world.depot.write("folder/n" + std::to_string(i), "x");
  world.service->look_outside();
  const auto list = peer->next_session();
  peer->send(list, List{root.at("folder").id, 0});
  while (peer->exchange()) {
  }
  // The folder's names come in slices; a question is answered between them.
  bool answered = false;
  int slices_after = 0;
  std::uint32_t question = 0;
  for (int steps = 0; world.executor.run_one() || peer->exchange(); ++steps) {
    if (steps == 1) {
      question = peer->next_session();
      peer->send(question, StatFs{});
    }
    while (peer->exchange()) {
    }
    if (answered) {
      ++slices_after;
    } else if (question != 0) {
      answered = peer->take_one<StatFsResponse>(question).has_value();
    }
  }
  EXPECT_TRUE(answered);
  EXPECT_GE(slices_after, 2);
  std::size_t names = 0;
  for (auto& body : peer->take(list)) {
    if (auto* page = std::get_if<ListPage>(&body)) names += page->entries.size();
  }
  EXPECT_EQ(names, 4501u);
}

}  // namespace
}  // namespace ebb::test
