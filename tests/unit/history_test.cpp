// What is overwritten and deleted is kept, told, and comes back.
#include <gtest/gtest.h>

#include "tests/support/test_peer.h"

namespace ebb::test {
namespace {

using namespace proto;

class HistoryTest : public ::testing::Test {
 protected:
  void SetUp() override {
    world.depot.make_folder("folder");
    world.depot.make_folder("folder/inner");
    world.depot.write("file", "first");
    world.depot.write("folder/inner/deep", "deep content");
    begin();
  }
  void TearDown() override { peer.reset(); }
  void begin() {
    peer.reset();
    ASSERT_TRUE(world.start()) << world.open_error;
    peer = std::make_unique<TestPeer>(world);
  }
  void again(bool killed) {
    killed ? world.kill() : world.stop();
    const auto used = peer->next_operation().id.value;
    begin();
    while (peer->next_operation().id.value < used) {
    }
  }
  Errc overwrite(TestPeer& who, const std::string& path, const std::string& content) {
    const auto entry = who.find(path);
    return who.push(who.init_over(*entry, content.size()), content).code;
  }
  Errc remove(TestPeer& who, const std::string& path) {
    const auto slash = path.rfind('/');
    const auto entry = who.find(path);
    Mutate out;
    out.kind = MutationKind::remove;
    out.entry = entry->id;
    out.content_version = entry->content_version;
    out.from = slash == std::string::npos
                   ? Place{kRootEntry, path}
                   : Place{who.find(path.substr(0, slash))->id, path.substr(slash + 1)};
    return who.mutate(out).code;
  }
  void remove_all_beneath_folder(TestPeer& who) {
    for (const char* path : {"folder/inner/deep", "folder/inner", "folder"}) {
      ASSERT_EQ(remove(who, path), Errc::ok) << path;
    }
  }
  std::vector<KeptVersion> history(const std::string& path, EntryId entry = {}) {
    const auto session = peer->next_session();
    peer->send(session, History{entry, path});
    world.settle();
    std::vector<KeptVersion> out;
    for (auto& body : peer->take(session)) {
      if (auto* page = std::get_if<HistoryPage>(&body)) {
        out.insert(out.end(), page->versions.begin(), page->versions.end());
      }
    }
    return out;
  }
  Errc restore(const std::string& path, Version version = {}, EntryId entry = {}) {
    const auto session = peer->next_session();
    peer->send(session, Restore{entry, path, version});
    world.settle();
    for (auto& body : peer->take(session)) {
      if (auto* error = std::get_if<ErrorMessage>(&body)) return error->code;
      if (std::get_if<RestoreResponse>(&body) != nullptr) return Errc::ok;
    }
    return Errc::lost;
  }
  server::UndoReport undo(const std::string& client, WallNs since) {
    server::UndoReport out;
    world.service->undo(client, since, [&](Result<server::UndoReport> report) {
      ASSERT_TRUE(report) << report.error().message();
      out = std::move(*report);
    });
    world.settle();
    return out;
  }
  std::unique_ptr<TestPeer> other(const std::string& name, std::uint64_t client) {
    auto out = std::make_unique<TestPeer>(world, client, false);
    auto hello = out->hello();
    hello.client_name = name;
    EXPECT_TRUE(out->shake(hello));
    return out;
  }

  ServedTree world;
  std::unique_ptr<TestPeer> peer;
};

TEST_F(HistoryTest, what_was_replaced_and_deleted_is_told_newest_first) {
  const auto first = peer->find("file");
  ASSERT_EQ(overwrite(*peer, "file", "second!"), Errc::ok);
  const auto second = peer->find("file");
  ASSERT_EQ(remove(*peer, "file"), Errc::ok);
  for (const bool killed : {false, true}) {
    again(killed);
    const auto kept = history("file");
    ASSERT_EQ(kept.size(), 2u);
    EXPECT_EQ(kept[0].version, second->content_version);
    EXPECT_TRUE(kept[0].deleted);
    EXPECT_EQ(kept[0].size, 7u);
    EXPECT_EQ(kept[1].version, first->content_version);
    EXPECT_FALSE(kept[1].deleted);
    EXPECT_EQ(kept[1].client_name, "tester");
    EXPECT_EQ(kept[1].path, "file");
    EXPECT_GE(kept[0].when, kept[1].when);
  }
}

TEST_F(HistoryTest, an_entry_that_has_moved_has_its_history) {
  ASSERT_EQ(overwrite(*peer, "file", "second"), Errc::ok);
  world.depot.move("file", "folder/moved");
  (void)peer->find("file");
  const auto entry = peer->find("folder/moved");
  ASSERT_TRUE(entry);
  ASSERT_EQ(history("folder/moved", entry->id).size(), 1u);
  ASSERT_EQ(restore("folder/moved", {}, entry->id), Errc::ok);
  EXPECT_EQ(world.depot.content("folder/moved"), "first");
  EXPECT_FALSE(world.depot.exists("file"));
}

TEST_F(HistoryTest, a_restore_is_a_new_version_and_what_it_replaces_is_kept) {
  world.depot.chmod("file", 0640);
  const auto first = peer->find("file");
  ASSERT_EQ(overwrite(*peer, "file", "second"), Errc::ok);
  ASSERT_EQ(overwrite(*peer, "file", "third"), Errc::ok);
  TestPeer watcher(world, 9);
  const auto second = history("file")[0].version;
  ASSERT_EQ(restore("file", first->content_version), Errc::ok);
  EXPECT_EQ(world.depot.content("file"), "first");
  const auto now = peer->find("file");
  EXPECT_EQ(now->id, first->id);
  EXPECT_GT(now->content_version, second);
  EXPECT_EQ(now->attributes.mode, 0640u);
  EXPECT_EQ(now->attributes.mtime, first->attributes.mtime);
  ASSERT_EQ(history("file").size(), 3u);
  ASSERT_EQ(restore("file"), Errc::ok);
  EXPECT_EQ(world.depot.content("file"), "third");
  EXPECT_EQ(restore("file", Version{424242}), Errc::not_found);
  EXPECT_EQ(world.depot.staged_count(), 0u);
}

TEST_F(HistoryTest, a_deleted_file_comes_back_with_the_folders_above_it) {
  world.depot.chmod("folder/inner", 0711);
  remove_all_beneath_folder(*peer);
  ASSERT_FALSE(world.depot.exists("folder"));
  ASSERT_EQ(restore("folder/inner/deep"), Errc::ok);
  EXPECT_EQ(world.depot.content("folder/inner/deep"), "deep content");
  EXPECT_EQ(world.depot.facts_of("folder/inner")->attributes.mode, 0711u);
  EXPECT_TRUE(peer->find("folder/inner/deep"));
}

TEST_F(HistoryTest, a_deleted_folder_comes_back_with_what_went_with_it) {
  world.depot.write("folder/earlier", "deleted long before");
  ASSERT_EQ(remove(*peer, "folder/earlier"), Errc::ok);
  world.clock.pass(std::chrono::hours(1));
  remove_all_beneath_folder(*peer);
  ASSERT_EQ(restore("folder"), Errc::ok);
  EXPECT_EQ(world.depot.content("folder/inner/deep"), "deep content");
  EXPECT_FALSE(world.depot.exists("folder/earlier"));
}

TEST_F(HistoryTest, a_symlink_comes_back_and_takes_the_place_of_a_file) {
  world.depot.make_symlink("link", "folder/inner");
  ASSERT_EQ(remove(*peer, "link"), Errc::ok);
  world.depot.write("link", "a file now");
  ASSERT_EQ(restore("link"), Errc::ok);
  EXPECT_EQ(world.depot.facts_of("link")->target, "folder/inner");
  EXPECT_EQ(history("link").size(), 2u);
}

TEST_F(HistoryTest, a_name_of_a_file_that_has_others_comes_back_as_a_link) {
  world.depot.hard_link("file", "second-name");
  ASSERT_EQ(remove(*peer, "second-name"), Errc::ok);
  EXPECT_TRUE(world.depot.history_contents().empty());
  ASSERT_EQ(restore("second-name"), Errc::ok);
  EXPECT_EQ(world.depot.facts_of("second-name")->identity, world.depot.facts_of("file")->identity);
}

TEST_F(HistoryTest, nothing_but_the_tree_is_restored) {
  EXPECT_EQ(restore("nothing"), Errc::not_found);
  EXPECT_EQ(restore(".ebbd/data"), Errc::bad_name);
  TestPeer bad(world, 9);
  ErrorMessage garbage;
  for (const char* path : {"../etc/passwd", "/etc/passwd", "a//b", "a/"}) {
    EXPECT_FALSE(try_encode(History{{}, path})) << path;
  }
}

TEST_F(HistoryTest, the_young_is_never_dropped_and_the_old_makes_room) {
  world.options.history_max = 8;
  again(false);
  ASSERT_EQ(overwrite(*peer, "file", "12345"), Errc::ok);  // 5 bytes are kept
  ASSERT_EQ(overwrite(*peer, "file", "123456"), Errc::ok);
  EXPECT_EQ(world.service->status().history_bytes, 10u);
  EXPECT_EQ(overwrite(*peer, "file", "1234567"), Errc::no_space);
  EXPECT_EQ(remove(*peer, "file"), Errc::no_space);
  EXPECT_EQ(remove(*peer, "folder/inner/deep"), Errc::no_space);
  EXPECT_EQ(peer->push(peer->init_new(kRootEntry, "new", 3), "new").code, Errc::ok);
  EXPECT_EQ(world.depot.content("file"), "123456");
  EXPECT_EQ(history("file").size(), 2u);
  world.clock.pass(std::chrono::hours(25));
  again(false);
  (void)overwrite(*peer, "file", "1234567");
  EXPECT_EQ(overwrite(*peer, "file", "12345678"), Errc::ok);
  EXPECT_LE(world.depot.history_contents().size(), 2u);
  EXPECT_EQ(world.depot.history_contents().size(), history("file").size());
}

TEST_F(HistoryTest, what_is_too_old_goes_from_the_record_and_from_the_disk) {
  ASSERT_EQ(overwrite(*peer, "file", "second"), Errc::ok);
  world.clock.pass(std::chrono::hours(24 * 31));
  again(false);
  ASSERT_EQ(overwrite(*peer, "file", "third"), Errc::ok);
  world.service->advance(world.clock.now());
  world.settle();
  EXPECT_EQ(world.depot.history_contents(), std::vector<std::string>{"second"});
  EXPECT_EQ(history("file").size(), 1u);
  EXPECT_EQ(world.service->status().history_bytes, 6u);
}

TEST_F(HistoryTest, what_a_crash_leaves_is_kept_or_not_replaced) {
  bool survived = false;
  for (int n = 1; !survived; ++n) {
    ASSERT_LT(n, 60);
    SCOPED_TRACE(n);
    const bool deletes = n % 2 == 0;
    if (!peer->find("file")) {
      ASSERT_EQ(restore("file"), Errc::ok);
    }
    const auto before = peer->find("file");
    const std::string content = *world.depot.content("file");
    const auto kept_before = history("file").size();
    world.depot.die_at(static_cast<std::uint64_t>((n + 1) / 2));
    deletes ? remove(*peer, "file") : overwrite(*peer, "file", "round " + std::to_string(n));
    survived = !world.depot.fault_fired();
    world.depot.clear_faults();
    again(true);
    if (world.depot.content("file") == content) continue;
    const auto kept = history("file");
    ASSERT_EQ(kept.size(), kept_before + 1);
    EXPECT_EQ(kept[0].version, before->content_version);
    ASSERT_EQ(restore("file"), Errc::ok);
    EXPECT_EQ(world.depot.content("file"), content);
  }
}

// ---- undo

TEST_F(HistoryTest, an_undo_brings_back_what_one_client_did_and_leaves_the_others) {
  world.depot.write("theirs", "of both");
  auto rogue = other("rogue", 8);
  auto good = other("good", 10);
  ASSERT_EQ(overwrite(*rogue, "file", "before the moment"), Errc::ok);
  world.clock.pass(std::chrono::minutes(10));
  const WallNs since = world.clock.wall();
  ASSERT_EQ(overwrite(*rogue, "file", "encrypted"), Errc::ok);
  ASSERT_EQ(overwrite(*rogue, "file", "encrypted twice"), Errc::ok);
  ASSERT_EQ(overwrite(*rogue, "theirs", "encrypted"), Errc::ok);
  ASSERT_EQ(overwrite(*good, "theirs", "repaired by hand"), Errc::ok);
  remove_all_beneath_folder(*rogue);

  const auto report = undo("rogue", since);
  EXPECT_TRUE(report.failed.empty());
  EXPECT_EQ(world.depot.content("file"), "before the moment");
  EXPECT_EQ(world.depot.content("folder/inner/deep"), "deep content");
  EXPECT_EQ(world.depot.content("theirs"), "repaired by hand");
  ASSERT_EQ(report.beside.size(), 1u);
  EXPECT_EQ(report.beside[0].rfind("theirs.conflict-undo-", 0), 0u);
  EXPECT_EQ(world.depot.content(report.beside[0]), "of both");
  EXPECT_EQ(report.restored, 5u);
  EXPECT_EQ(undo("nobody", since).restored, 0u);
}

TEST_F(HistoryTest, an_undo_does_not_take_a_name_that_somebody_uses) {
  auto rogue = other("rogue", 8);
  const WallNs since = world.clock.wall();
  ASSERT_EQ(remove(*rogue, "file"), Errc::ok);
  world.depot.write("file", "of another program");
  const auto report = undo("rogue", since);
  EXPECT_EQ(world.depot.content("file"), "of another program");
  ASSERT_EQ(report.beside.size(), 1u);
  EXPECT_EQ(world.depot.content(report.beside[0]), "first");
}

TEST_F(HistoryTest, many_deletions_by_one_client_are_told_until_they_are_old) {
  auto rogue = other("rogue", 8);
  for (int i = 0; i < 25; ++i) world.depot.write("many" + std::to_string(i), "x");
  const WallNs begin = world.clock.wall();
  for (int i = 0; i < 25; ++i) {
    EXPECT_EQ(world.service->status().deletions.size(), i < 20 ? 0u : 1u);
    ASSERT_EQ(remove(*rogue, "many" + std::to_string(i)), Errc::ok);
  }
  again(true);
  const auto runs = world.service->status().deletions;
  ASSERT_EQ(runs.size(), 1u);
  EXPECT_EQ(runs[0].name, "rogue");
  EXPECT_EQ(runs[0].count, 25u);
  EXPECT_GE(runs[0].begin, begin);
  EXPECT_GE(runs[0].end, runs[0].begin);
  EXPECT_EQ(undo("rogue", runs[0].begin).restored, 25u);
  EXPECT_TRUE(world.depot.exists("many24"));
}

}  // namespace
}  // namespace ebb::test
