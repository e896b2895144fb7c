// What the server promises its clients, over real packets.
#include <algorithm>
#include <random>

#include <gtest/gtest.h>

#include "base/hash.h"
#include "base/xattrs.h"
#include "tests/support/test_peer.h"

namespace ebb::test {
namespace {

using namespace proto;

class ServiceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    world.depot.make_folder("folder");
    world.depot.write("file", "old content");
    world.depot.write("folder/inner", "inner content");
    ASSERT_TRUE(world.start()) << world.open_error;
    peer = std::make_unique<TestPeer>(world);
  }
  void TearDown() override { peer.reset(); }
  /// A new service over the same state, and the client's new connection.
  void again() {
    peer.reset();
    ASSERT_TRUE(world.start()) << world.open_error;
    peer = std::make_unique<TestPeer>(world);
  }
  Mutate mutation(MutationKind kind) {
    Mutate out;
    out.kind = kind;
    out.operation = peer->next_operation();
    return out;
  }
  Mutate rename_of(const std::string& name, const std::string& to, EntryId folder = kRootEntry) {
    auto out = mutation(MutationKind::rename);
    out.entry = peer->find(name)->id;
    out.from = {kRootEntry, name};
    out.place = {folder, to};
    return out;
  }

  ServedTree world;
  std::unique_ptr<TestPeer> peer;
};

// ---- handshake

TEST_F(ServiceTest, a_handshake_agrees_on_limits_and_names_the_tree) {
  TestPeer other(world, 8, false);
  auto hello = other.hello();
  hello.packet_max = 5000;
  const auto answer = other.shake(hello);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->code, Errc::ok);
  EXPECT_EQ(answer->packet_max, 5000u);
  EXPECT_TRUE(answer->tree);
  EXPECT_TRUE(answer->epoch);
  EXPECT_FALSE(answer->continues);
}

TEST_F(ServiceTest, a_stranger_is_told_nothing_but_the_refusal_whatever_he_says) {
  const auto nobody = [](const VersionHandshake&, const std::string&) -> Result<server::Admission> {
    return fail(Errc::not_enrolled, "not enrolled");
  };
  const auto answer_to = [&](const VersionHandshake& hello) {
    const auto stranger = world.service->connected("afar", nobody);
    Connection connection(Role::client, {}, world.clock.now());
    EXPECT_TRUE(connection.send(0, hello));
    world.service->received(stranger, connection.next_output());
    world.settle();
    EXPECT_TRUE(connection.receive(world.service->next_output(stranger), world.clock.now()));
    const auto message = connection.next_message();
    EXPECT_TRUE(message);
    EXPECT_TRUE(world.service->wants_close(stranger));
    world.service->disconnected(stranger);
    return std::get<VersionHandshakeResponse>(message->body);
  };
  auto plain = peer->hello(), future = peer->hello();
  future.version_min = future.version_max = 99;
  const std::pair<VersionHandshake, Errc> cases[] = {{plain, Errc::not_enrolled},
                                                     {future, Errc::no_common_version}};
  for (const auto& [hello, code] : cases) {
    const auto answer = answer_to(hello);
    EXPECT_EQ(answer.code, code);
    EXPECT_FALSE(answer.tree) << answer.sentence;
    EXPECT_FALSE(answer.epoch) << answer.sentence;
    EXPECT_FALSE(answer.sequence) << answer.sentence;
  }
}

TEST_F(ServiceTest, no_common_version_is_refused_with_both_ranges) {
  TestPeer other(world, 8, false);
  auto hello = other.hello();
  hello.version_min = 40;
  hello.version_max = 41;
  const auto answer = other.shake(hello);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->code, Errc::no_common_version);
  EXPECT_NE(answer->sentence.find("40"), std::string::npos);
  EXPECT_TRUE(other.closed());
}

TEST_F(ServiceTest, another_tree_is_refused) {
  TestPeer other(world, 8, false);
  auto hello = other.hello();
  hello.tree.bytes[3] = 77;
  const auto answer = other.shake(hello);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->code, Errc::other_tree);
}

TEST_F(ServiceTest, a_client_that_knows_an_epoch_goes_on_over_a_restart_and_a_stranger_does_not) {
  TestPeer other(world, 8, false);
  const auto first = other.shake(other.hello());
  ASSERT_TRUE(first);
  world.stop();
  again();
  for (const std::uint64_t change : {0, 1}) {
    TestPeer back(world, 8, false);
    auto hello = back.hello();
    hello.tree = first->tree;
    hello.epoch = Epoch{first->epoch.value + change};
    hello.sequence = first->sequence;
    const auto answer = back.shake(hello);
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->tree, first->tree);
    EXPECT_NE(answer->epoch, first->epoch);
    EXPECT_EQ(answer->continues, change == 0);
  }
}

TEST_F(ServiceTest, garbage_ends_its_own_connection_alone) {
  std::mt19937_64 random(1);
  for (int round = 0; round < 50; ++round) {
    TestPeer bad(world, 9, round % 2 == 0);
    Bytes bytes(1 + random() % 3000);
    for (auto& byte : bytes) byte = static_cast<std::byte>(random());
    bad.raw(bytes);
    world.settle();
  }
  EXPECT_EQ(peer->list(kRootEntry).size(), 2u);
}

// ---- listing

TEST_F(ServiceTest, a_listing_has_everything_and_with_a_budget_what_is_beneath) {
  const auto names = peer->list(kRootEntry, 100);
  ASSERT_EQ(names.size(), 3u);
  EXPECT_EQ(names.at("file").size, 11u);
  EXPECT_EQ(names.at("file").kind, EntryKind::file);
  const auto folder = names.at("folder");
  EXPECT_EQ(names.at(std::to_string(folder.id.value) + "/inner").size, 13u);
}

TEST_F(ServiceTest, listings_that_overlap_bring_everything_once_and_both_end) {
  for (int i = 0; i < 40; ++i) {
    world.depot.make_folder("folder/f" + std::to_string(i));
    world.depot.write("folder/f" + std::to_string(i) + "/x", "x");
  }
  const auto folder = peer->find("folder");
  const auto all = peer->next_session();
  peer->send(all, List{kRootEntry, 1000});
  const auto one = peer->next_session();
  peer->send(one, List{folder->id, 1000});
  world.settle();
  std::map<EntryId, int> told;
  for (const auto session : {all, one}) {
    bool ended = false;
    for (const auto& body : peer->take(session)) {
      const auto* page = std::get_if<ListPage>(&body);
      ASSERT_TRUE(page && !ended);
      told[page->folder] += page->last && !page->entries.empty() ? 1 : 0;
      ended = page->end;
    }
    EXPECT_TRUE(ended);
  }
  EXPECT_EQ(told.size(), 42u);
  for (const auto& [id, times] : told) EXPECT_GE(times, 1) << id.value;
}

TEST_F(ServiceTest, ids_and_versions_stay_over_listings_and_restarts) {
  const auto before = peer->list(kRootEntry, 100);
  EXPECT_EQ(peer->list(kRootEntry, 100), before);
  world.stop();
  again();
  EXPECT_EQ(peer->list(kRootEntry, 100), before);
}

TEST_F(ServiceTest, a_listing_of_many_names_goes_in_pages) {
  for (int i = 0; i < 2000; ++i) world.depot.write("folder/name" + std::to_string(i), "x");
  const auto folder = peer->find("folder");
  EXPECT_EQ(peer->list(folder->id).size(), 2001u);
}

TEST_F(ServiceTest, what_other_programs_did_is_seen_at_the_next_listing) {
  const auto before = peer->list(kRootEntry);
  world.depot.write("file", "changed by another");
  world.depot.chmod("folder", 0700);
  world.depot.write("new", "n");
  auto now = peer->list(kRootEntry);
  EXPECT_EQ(now.at("file").id, before.at("file").id);
  EXPECT_GT(now.at("file").content_version, before.at("file").content_version);
  EXPECT_GT(now.at("folder").attributes_version, before.at("folder").attributes_version);
  EXPECT_EQ(now.count("new"), 1u);
  world.depot.erase("new");
  EXPECT_EQ(peer->list(kRootEntry).count("new"), 0u);
}

TEST_F(ServiceTest, an_entry_that_another_program_moves_keeps_its_id_and_version) {
  const auto file = *peer->find("file");
  const auto folder = *peer->find("folder");
  peer->list(folder.id);
  world.depot.move("file", "folder/moved");
  peer->list(kRootEntry);
  const auto moved = peer->list(folder.id).at("moved");
  EXPECT_EQ(moved.id, file.id);
  EXPECT_EQ(moved.content_version, file.content_version);
}

TEST_F(ServiceTest, a_file_saved_by_renaming_a_new_one_over_it_keeps_its_id_with_a_new_version) {
  const auto before = *peer->find("file");
  world.depot.replace("file", "saved by an editor");
  const auto now = *peer->find("file");
  EXPECT_EQ(now.id, before.id);
  EXPECT_GT(now.content_version, before.content_version);
}

// ---- pulls

TEST_F(ServiceTest, a_pull_brings_the_whole_or_ranges_and_a_hash_that_fits) {
  std::string big(3'000'000, 'x');
  for (std::size_t i = 0; i < big.size(); ++i) big[i] = static_cast<char>(i * 31 % 251);
  world.depot.write("big", big);
  world.depot.write("empty", "");
  const auto entry = *peer->find("big");
  const auto whole = peer->pull(entry.id, entry.content_version);
  EXPECT_EQ(whole.bytes, big);
  EXPECT_TRUE(whole.hash_fits);
  EXPECT_EQ(whole.init.attributes.mtime, entry.attributes.mtime);
  const auto part = peer->pull(entry.id, entry.content_version, {{10, 20}, {2'000'000, 2'000'100}});
  EXPECT_EQ(part.bytes, big.substr(10, 10) + big.substr(2'000'000, 100));
  EXPECT_TRUE(part.hash_fits);
  const auto empty = peer->pull(peer->find("empty")->id, Version{});
  EXPECT_EQ(empty.code, Errc::ok);
  EXPECT_TRUE(empty.hash_fits);
}

TEST_F(ServiceTest, a_pull_ends_with_its_hash_however_little_may_wait_to_be_sent) {
  peer.reset();
  world.stop();
  world.options.limits.outbox_max = 1000;
  again();
  const std::string content(100'000, 'x');
  world.depot.write("file", content);
  const auto entry = *peer->find("file");
  const auto pulled = peer->pull(entry.id, entry.content_version);
  EXPECT_EQ(pulled.bytes, content);
  EXPECT_TRUE(pulled.hash_fits);
}

TEST_F(ServiceTest, a_pull_of_what_moved_on_says_so_and_never_mixes) {
  world.depot.write("big", std::string(2'000'000, 'a'));
  const auto entry = *peer->find("big");
  int reads = 0;
  world.depot.after_read = [&] {
    if (++reads == 2) world.depot.write("big", std::string(2'000'000, 'b'));
  };
  const auto pulled = peer->pull(entry.id, entry.content_version);
  world.depot.after_read = nullptr;
  EXPECT_EQ(pulled.code, Errc::moved_on);
  EXPECT_EQ(pulled.bytes.find('b'), std::string::npos);
  EXPECT_FALSE(pulled.hash_fits);
  EXPECT_EQ(peer->pull(entry.id, entry.content_version).code, Errc::moved_on);
  const auto now = *peer->find("big");
  EXPECT_EQ(peer->pull(now.id, now.content_version).bytes, std::string(2'000'000, 'b'));
}

// ---- pushes

TEST_F(ServiceTest, a_new_file_lands_with_its_attributes_and_the_receipt_has_its_hash) {
  auto init = peer->init_new(kRootEntry, "new", 5);
  init.attribute_bits = kMode | kMtime | kXattrs;
  init.attributes.mode = 0640;
  init.attributes.mtime = 123456789;
  init.attributes.xattrs = pack_xattrs({{"user.a", "b"}});
  const auto receipt = peer->push(init, "hello");
  ASSERT_EQ(receipt.code, Errc::ok) << receipt.sentence;
  EXPECT_EQ(receipt.hash, xxh3(as_bytes("hello")));
  EXPECT_EQ(world.depot.content("new"), "hello");
  const auto entry = *peer->find("new");
  EXPECT_EQ(entry.id, receipt.entry);
  EXPECT_EQ(entry.content_version, receipt.content_version);
  EXPECT_EQ(entry.attributes_version, receipt.attributes_version);
  EXPECT_EQ(entry.attributes.mode, 0640u);
  EXPECT_EQ(entry.attributes.mtime, 123456789);
  EXPECT_EQ(entry.attributes.xattrs, init.attributes.xattrs);
  EXPECT_EQ(world.depot.staged_count(), 0u);
}

TEST_F(ServiceTest, a_replacement_keeps_the_old_content_in_history_and_the_mode) {
  world.depot.chmod("file", 0751);
  const auto entry = *peer->find("file");
  const auto receipt = peer->push(peer->init_over(entry, 3), "new");
  ASSERT_EQ(receipt.code, Errc::ok) << receipt.sentence;
  EXPECT_EQ(receipt.entry, entry.id);
  EXPECT_GT(receipt.content_version, entry.content_version);
  EXPECT_EQ(world.depot.content("file"), "new");
  EXPECT_EQ(world.depot.history_contents(), std::vector<std::string>{"old content"});
  EXPECT_EQ(peer->find("file")->attributes.mode, 0751u);
  EXPECT_EQ(peer->find("file")->content_version, receipt.content_version);
}

TEST_F(ServiceTest, a_push_of_ranges_takes_the_rest_from_the_version_it_names) {
  const auto entry = *peer->find("file");
  auto init = peer->init_over(entry, 14);
  init.ranges = {{0, 3}, {11, 14}};
  const auto receipt = peer->push(init, "NEW????????END");
  ASSERT_EQ(receipt.code, Errc::ok) << receipt.sentence;
  EXPECT_EQ(world.depot.content("file"), "NEW contentEND");
  EXPECT_EQ(receipt.hash, xxh3(as_bytes("NEW contentEND")));
}

TEST_F(ServiceTest, many_small_files_travel_in_one_breath) {
  std::vector<std::uint32_t> sessions;
  for (int i = 0; i < 100; ++i) {
    const std::string name = "small" + std::to_string(i);
    sessions.push_back(peer->begin_push(peer->init_new(kRootEntry, name, 4), "data"));
  }
  peer->settle();
  for (auto session : sessions) EXPECT_EQ(peer->receipt(session)->code, Errc::ok);
  EXPECT_EQ(peer->list(kRootEntry).size(), 102u);
}

TEST_F(ServiceTest, a_push_onto_another_version_is_refused_and_both_contents_are_kept) {
  const auto entry = *peer->find("file");
  world.depot.write("file", "by another program");
  EXPECT_EQ(peer->push(peer->init_over(entry, 4), "mine").code, Errc::moved_on);
  EXPECT_EQ(world.depot.content("file"), "by another program");
  EXPECT_EQ(peer->push(peer->init_new(kRootEntry, "file", 4), "mine").code, Errc::exists);
  EXPECT_EQ(world.depot.staged_count(), 0u);
  // Its own newer version is an older one's end, too.
  const auto now = *peer->find("file");
  ASSERT_EQ(peer->push(peer->init_over(now, 1), "1").code, Errc::ok);
  EXPECT_EQ(peer->push(peer->init_over(now, 1), "2").code, Errc::moved_on);
  EXPECT_EQ(world.depot.content("file"), "1");
}

TEST_F(ServiceTest, a_change_at_the_moment_of_landing_is_kept_beside) {
  const auto entry = *peer->find("file");
  world.depot.in_window = [&] {
    world.depot.in_window = nullptr;
    world.depot.write("file", "in the window");
  };
  const auto receipt = peer->push(peer->init_over(entry, 4), "mine");
  EXPECT_EQ(receipt.code, Errc::ok);
  EXPECT_EQ(world.depot.content("file"), "mine");
  bool beside = false;
  for (const auto& [name, content] : world.depot.tree()) {
    beside = beside || (name.find("file.conflict-") == 0 && content == "in the window");
  }
  EXPECT_TRUE(beside);
  EXPECT_EQ(peer->list(kRootEntry).size(), 3u);
}

TEST_F(ServiceTest, a_wrong_hash_changes_nothing) {
  const auto entry = *peer->find("file");
  const auto session = peer->next_session();
  peer->send(session, peer->init_over(entry, 3));
  peer->send(session, FileSyncData{0, Bytes(3)});
  peer->send(session, FileSyncCheckHash{1});
  peer->settle();
  EXPECT_EQ(peer->receipt(session)->code, Errc::wrong_hash);
  EXPECT_EQ(world.depot.content("file"), "old content");
  EXPECT_EQ(world.depot.staged_count(), 0u);
}

TEST_F(ServiceTest, all_names_of_a_node_get_the_pushed_content) {
  world.depot.hard_link("file", "folder/second");
  const auto entry = *peer->find("file");
  ASSERT_EQ(peer->find("folder/second")->id, entry.id);
  ASSERT_EQ(peer->push(peer->init_over(*peer->find("file"), 3), "new").code, Errc::ok);
  EXPECT_EQ(world.depot.content("file"), "new");
  EXPECT_EQ(world.depot.content("folder/second"), "new");
  EXPECT_EQ(peer->find("folder/second")->id, entry.id);
}

TEST_F(ServiceTest, a_disk_error_between_two_names_of_a_file_leaves_no_content_in_between) {
  world.depot.hard_link("file", "twin");
  for (std::uint64_t n = 1; n < 40; ++n) {
    const auto entry = peer->find("file");
    ASSERT_TRUE(entry);
    const std::string content = "content " + std::to_string(n);
    world.depot.fail_nth(n, EIO);
    peer->push(peer->init_over(*entry, content.size()), content);
    world.depot.clear_faults();
    // Where the service cannot go on, the next start ends what was begun.
    if (peer->closed()) {
      world.kill();
      again();
    }
    EXPECT_EQ(world.depot.content("file"), world.depot.content("twin")) << "at call " << n;
    ASSERT_TRUE(peer->find("twin"));
    EXPECT_EQ(peer->find("twin")->id, entry->id) << "at call " << n;
  }
}

TEST_F(ServiceTest, attributes_that_could_be_set_in_part_only_leave_the_content_its_version) {
  const auto before = peer->find("file");
  ASSERT_TRUE(before);
  world.depot.refuse_xattrs();
  auto request = mutation(MutationKind::set_attributes);
  request.entry = before->id;
  request.attribute_bits = proto::kMode | proto::kXattrs;
  request.attributes = before->attributes;
  request.attributes.xattrs = pack_xattrs({{"user.k", "v"}});
  const auto answer = peer->mutate(request);
  EXPECT_EQ(answer.code, Errc::no_space);
  const auto after = peer->find("file");
  ASSERT_TRUE(after);
  EXPECT_EQ(after->content_version, before->content_version);
}

TEST_F(ServiceTest, the_same_operation_again_gets_the_same_answer_also_after_a_restart) {
  const auto init = peer->init_new(kRootEntry, "new", 5);
  const auto first = peer->push(init, "hello");
  EXPECT_EQ(peer->push(init, "hello"), first);
  auto make = mutation(MutationKind::make_folder);
  make.place = {kRootEntry, "made"};
  const auto made = peer->mutate(make);
  ASSERT_EQ(made.code, Errc::ok);
  EXPECT_EQ(peer->mutate(make), made);
  for (const bool killed : {false, true}) {
    killed ? world.kill() : world.stop();
    again();
    EXPECT_EQ(peer->push(init, "hello"), first);
    EXPECT_EQ(peer->mutate(make), made);
  }
  EXPECT_EQ(world.depot.content("new"), "hello");
}

// ---- mutations

TEST_F(ServiceTest, make_link_rename_exchange_remove_and_attributes_reach_the_disk) {
  auto folder = mutation(MutationKind::make_folder);
  folder.place = {kRootEntry, "made"};
  folder.attribute_bits = kMode;
  folder.attributes.mode = 0711;
  const auto made = peer->mutate(folder);
  ASSERT_EQ(made.code, Errc::ok) << made.sentence;
  EXPECT_EQ(world.depot.facts_of("made")->attributes.mode, 0711u);

  auto symlink = mutation(MutationKind::make_symlink);
  symlink.place = {made.entry, "sym"};
  symlink.target = "../file";
  ASSERT_EQ(peer->mutate(symlink).code, Errc::ok);
  EXPECT_EQ(world.depot.tree().at("made/sym"), "-> ../file");

  const auto file = *peer->find("file");
  auto link = mutation(MutationKind::link);
  link.entry = file.id;
  link.place = {made.entry, "hard"};
  ASSERT_EQ(peer->mutate(link).code, Errc::ok);
  EXPECT_EQ(peer->find("made/hard")->id, file.id);
  EXPECT_EQ(peer->find("made/hard")->content_version, file.content_version);

  ASSERT_EQ(peer->mutate(rename_of("file", "renamed", made.entry)).code, Errc::ok);
  EXPECT_EQ(world.depot.content("made/renamed"), "old content");
  EXPECT_EQ(peer->find("made/renamed")->content_version, file.content_version);

  auto exchange = mutation(MutationKind::exchange);
  exchange.entry = peer->find("folder/inner")->id;
  exchange.from = {peer->find("folder")->id, "inner"};
  exchange.other = file.id;
  exchange.place = {made.entry, "hard"};
  ASSERT_EQ(peer->mutate(exchange).code, Errc::ok);
  EXPECT_EQ(world.depot.content("folder/inner"), "old content");
  EXPECT_EQ(world.depot.content("made/hard"), "inner content");
  EXPECT_EQ(peer->find("folder/inner")->content_version, file.content_version);

  auto remove = mutation(MutationKind::remove);
  remove.entry = exchange.entry;
  remove.from = {made.entry, "hard"};
  remove.content_version = peer->find("made/hard")->content_version;
  ASSERT_EQ(peer->mutate(remove).code, Errc::ok);
  EXPECT_FALSE(world.depot.exists("made/hard"));
  EXPECT_EQ(world.depot.history_contents(), std::vector<std::string>{"inner content"});

  auto chmod = mutation(MutationKind::set_attributes);
  chmod.entry = file.id;
  chmod.attributes_version = peer->find("made/renamed")->attributes_version;
  chmod.attribute_bits = kMode | kMtime;
  chmod.attributes.mode = 0600;
  chmod.attributes.mtime = 5;
  const auto changed = peer->mutate(chmod);
  ASSERT_EQ(changed.code, Errc::ok) << changed.sentence;
  const auto now = *peer->find("made/renamed");
  EXPECT_EQ(now.attributes.mode, 0600u);
  EXPECT_EQ(now.attributes.mtime, 5);
  EXPECT_EQ(now.content_version, file.content_version);
  EXPECT_EQ(now.attributes_version, changed.attributes_version);
}

TEST_F(ServiceTest, mutations_onto_what_is_not_as_seen_are_refused) {
  const auto file = *peer->find("file");
  EXPECT_EQ(peer->mutate(rename_of("file", "folder")).code, Errc::exists);
  auto remove = mutation(MutationKind::remove);
  remove.entry = peer->find("folder")->id;
  remove.from = {kRootEntry, "folder"};
  EXPECT_EQ(peer->mutate(remove).code, Errc::not_empty);
  auto cycle = rename_of("folder", "beneath", peer->find("folder")->id);
  EXPECT_EQ(peer->mutate(cycle).code, Errc::would_cycle);
  world.depot.write("file", "newer");
  remove = mutation(MutationKind::remove);
  remove.entry = file.id;
  remove.from = {kRootEntry, "file"};
  remove.content_version = file.content_version;
  EXPECT_EQ(peer->mutate(remove).code, Errc::moved_on);
  EXPECT_EQ(world.depot.content("file"), "newer");
  remove.entry = EntryId{999999};
  remove.operation = peer->next_operation();
  EXPECT_EQ(peer->mutate(remove).code, Errc::not_found);
  auto own = mutation(MutationKind::make_folder);
  own.place = {kRootEntry, ".ebbd"};
  EXPECT_EQ(peer->mutate(own).code, Errc::bad_name);
}

TEST_F(ServiceTest, a_read_only_server_changes_nothing) {
  world.stop();
  world.options.read_only = true;
  again();
  EXPECT_EQ(peer->push(peer->init_new(kRootEntry, "new", 1), "x").code, Errc::read_only);
  EXPECT_EQ(peer->mutate(rename_of("file", "other")).code, Errc::read_only);
  EXPECT_EQ(world.depot.tree().size(), 3u);
}

// ---- watching

TEST_F(ServiceTest, a_watcher_gets_what_it_missed_and_then_what_happens) {
  peer->list(kRootEntry, 100);
  TestPeer watcher(world, 20, false);
  const auto shaken = watcher.shake(watcher.hello());
  ASSERT_EQ(peer->push(peer->init_new(kRootEntry, "first", 1), "1").code, Errc::ok);
  const auto session = watcher.next_session();
  watcher.send(session, Watch{shaken->epoch, shaken->sequence});
  watcher.settle();
  auto rename = rename_of(
      "file", "a name that is longer than a cell has room for, so that it goes on elsewhere");
  ASSERT_EQ(peer->mutate(rename).code, Errc::ok);
  std::vector<std::string> seen;
  bool complete = false;
  for (auto& body : watcher.take(session)) {
    if (auto* answer = std::get_if<WatchResponse>(&body)) complete = answer->complete;
    if (auto* change = std::get_if<Change>(&body)) {
      seen.push_back(std::to_string(static_cast<int>(change->kind)) + change->place.name);
      EXPECT_EQ(change->by, ClientId{7});
    }
  }
  EXPECT_TRUE(complete);
  EXPECT_EQ(seen, (std::vector<std::string>{"1first", "1" + rename.place.name, "2file"}));
}

TEST_F(ServiceTest, a_log_that_does_not_reach_back_says_so) {
  world.stop();
  world.options.changes_max = 10;
  again();
  TestPeer watcher(world, 20, false);
  const auto shaken = watcher.shake(watcher.hello());
  for (int i = 0; i < 30; ++i) {
    peer->push(peer->init_new(kRootEntry, "n" + std::to_string(i), 1), "1");
  }
  const auto session = watcher.next_session();
  watcher.send(session, Watch{shaken->epoch, shaken->sequence});
  watcher.settle();
  const auto answer = watcher.take_one<WatchResponse>(session);
  ASSERT_TRUE(answer);
  EXPECT_FALSE(answer->complete);
}

// ---- crashes

/// One change, with the disk's death at each of its steps; whatever it died of, the tree is the one
/// before or the one after, the operation asked for again ends it, and nothing is left behind.
void die_everywhere(const std::function<void(ServedTree&, int, TestPeer&)>& arm,
                    const std::function<std::uint32_t(TestPeer&)>& begin,
                    const std::function<bool(TestPeer&, std::uint32_t)>& done, bool power) {
  for (int n = 1;; ++n) {
    SCOPED_TRACE("step " + std::to_string(n) + (power ? ", power cut" : ", kill -9"));
    ServedTree world;
    world.depot.make_folder("folder");
    world.depot.write("file", "old content");
    ASSERT_TRUE(world.start());
    auto peer = std::make_unique<TestPeer>(world);
    peer->list(kRootEntry, 100);
    const auto before = world.depot.tree();
    arm(world, n, *peer);
    const auto first = begin(*peer);
    world.settle();
    const bool answered = done(*peer, first);
    const bool fired = world.depot.fault_fired() || world.io.fault_fired();
    power ? world.power_cut(static_cast<std::uint64_t>(n)) : world.kill();
    world.io.clear_faults();
    peer.reset();
    ASSERT_TRUE(world.start()) << world.open_error;
    EXPECT_EQ(world.depot.staged_count(), 0u);
    const auto recovered = world.depot.tree();
    peer = std::make_unique<TestPeer>(world);
    const auto names = peer->list(kRootEntry, 100);
    const auto second = begin(*peer);
    world.settle();
    ASSERT_TRUE(done(*peer, second));
    const auto after = world.depot.tree();
    EXPECT_TRUE(recovered == before || recovered == after);
    if (answered) {
      EXPECT_EQ(recovered, after);
    }
    for (const auto& [path, content] : after) {  // nothing else beside
      EXPECT_EQ(path.find("conflict"), std::string::npos);
    }
    if (!fired) return;
    ASSERT_LT(n, 500);
  }
}

class Crashes : public ::testing::TestWithParam<std::tuple<int, bool, bool>> {};

TEST_P(Crashes, leave_old_or_new_and_the_operation_ends_when_repeated) {
  const auto [which, power, in_database] = GetParam();
  // What the client saw when it first sent this: the same in each of these worlds, which begin
  // alike.
  auto seen = std::make_shared<Version>();
  const auto over = [seen](TestPeer& peer) {
    auto init = peer.init_over(*peer.find("file"), 11);
    init.operation.id = OpId{5};
    if (!*seen) *seen = init.content_version;
    init.content_version = *seen;
    return peer.begin_push(init, "new content");
  };
  const auto fresh = [](TestPeer& peer) {
    auto init = peer.init_new(kRootEntry, "new", 11);
    init.operation.id = OpId{5};
    return peer.begin_push(init, "new content");
  };
  const auto rename = [](TestPeer& peer) {
    Mutate out;
    out.kind = MutationKind::rename;
    out.operation.id = OpId{5};
    const auto here = peer.find("file");
    out.entry = here ? here->id : EntryId{3};
    out.from = {kRootEntry, "file"};
    out.place = {peer.find("folder")->id, "moved"};
    return peer.begin_mutate(out);
  };
  const auto remove = [](TestPeer& peer) {
    Mutate out;
    out.kind = MutationKind::remove;
    out.operation.id = OpId{5};
    const auto here = peer.find("file");
    out.entry = here ? here->id : EntryId{3};
    out.from = {kRootEntry, "file"};
    return peer.begin_mutate(out);
  };
  const std::function<std::uint32_t(TestPeer&)> begins[] = {over, fresh, rename, remove};
  const bool push = which < 2;
  die_everywhere(
      [=](ServedTree& world, int n, TestPeer&) {
        if (in_database) {
          world.io.fail_nth(static_cast<std::uint64_t>(n) - 1, EIO, true);
        } else {
          world.depot.die_at(static_cast<std::uint64_t>(n));
        }
      },
      begins[which],
      [push](TestPeer& peer, std::uint32_t session) {
        if (push) {
          auto receipt = peer.receipt(session);
          return receipt && receipt->code == Errc::ok;
        }
        auto answer = peer.take_one<MutateResponse>(session);
        return answer && answer->code == Errc::ok;
      },
      power);
}

INSTANTIATE_TEST_SUITE_P(Everywhere, Crashes,
                         ::testing::Combine(::testing::Range(0, 4), ::testing::Bool(),
                                            ::testing::Bool()));

}  // namespace
}  // namespace ebb::test
