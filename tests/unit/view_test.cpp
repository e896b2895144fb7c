// A client of a subtree: the folder is its tree, and there is no way out of it.
#include <algorithm>
#include <random>

#include <gtest/gtest.h>

#include "tests/support/test_peer.h"

namespace ebb::test {
namespace {

using namespace proto;

constexpr const char* kSecret = "SECRET";

server::Admit confined_to(const std::string& subtree) {
  return [subtree](const VersionHandshake& hello, const std::string&) {
    return Result<server::Admission>({hello.client_name, false, subtree});
  };
}

class ViewTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto& depot = world.depot;
    depot.make_folder("work");
    depot.make_folder("work/part");
    depot.make_folder("work/part/sub");
    depot.make_folder("outside");
    depot.write("work/part/mine", "my content");
    depot.write("work/part/sub/deep", "deep content");
    depot.write("work/SECRET-a", "SECRET of work");
    depot.write("outside/SECRET-b", "SECRET of outside");
    depot.write("SECRET-c", "SECRET of the root");
    ASSERT_TRUE(world.start()) << world.open_error;
    whole = std::make_unique<TestPeer>(world, 7);
    for (const char* path : {"work/part/sub/deep", "outside/SECRET-b", "work/SECRET-a"}) {
      ASSERT_TRUE(whole->find(path)) << path;
    }
    part = std::make_unique<TestPeer>(world, 8, true, confined_to("work/part"));
  }
  void TearDown() override {
    part.reset();
    whole.reset();
  }
  EntryId id_of(const std::string& path) { return whole->find(path)->id; }
  Mutate rename_of(EntryId entry, Place from, Place to) {
    Mutate out;
    out.kind = MutationKind::rename;
    out.entry = entry;
    out.from = std::move(from);
    out.place = std::move(to);
    return out;
  }
  /// What answers a request, its codes and sentences in a row.
  std::string answer_to(const Body& request) {
    const auto session = part->next_session();
    part->send(session, request);
    world.settle();
    std::string all;
    for (const auto& body : part->take(session)) {
      all += std::to_string(static_cast<int>(type_of(body))) + ":" +
             std::string(as_text(encode(body)));
    }
    return all;
  }
  bool has_secret(const Bytes& bytes) const {
    return as_text(bytes).find(kSecret) != std::string_view::npos;
  }

  ServedTree world;
  std::unique_ptr<TestPeer> whole, part;
};

TEST_F(ViewTest, the_folder_is_the_root_and_a_tree_of_its_own) {
  const auto top = part->list(kRootEntry, 100);
  ASSERT_EQ(top.size(), 3u);
  EXPECT_EQ(top.at("sub").id, id_of("work/part/sub"));
  EXPECT_TRUE(top.count("mine"));
  const auto session = part->next_session();
  part->send(session, Stat{kRootEntry});
  world.settle();
  const auto root = part->take_one<StatResponse>(session);
  ASSERT_TRUE(root);
  EXPECT_EQ(root->entry.id, kRootEntry);
  EXPECT_EQ(root->entry.kind, EntryKind::folder);

  TestPeer other(world, 9, false, confined_to("work/part"));
  TestPeer plain(world, 10, false);
  const auto ours = other.shake(other.hello()), theirs = plain.shake(plain.hello());
  ASSERT_TRUE(ours && theirs);
  EXPECT_TRUE(ours->tree);
  EXPECT_NE(ours->tree, theirs->tree);
  TestPeer wrong(world, 11, false, confined_to("work/part"));
  auto hello = wrong.hello();
  hello.tree = theirs->tree;
  EXPECT_EQ(wrong.shake(hello)->code, Errc::other_tree);
}

TEST_F(ViewTest, what_is_inside_can_be_done) {
  const auto mine = *part->find("mine");
  EXPECT_EQ(part->pull(mine.id, mine.content_version).bytes, "my content");
  EXPECT_EQ(part->push(part->init_over(mine, 3), "new").code, Errc::ok);
  EXPECT_EQ(world.depot.content("work/part/mine"), "new");
  EXPECT_EQ(part->push(part->init_new(kRootEntry, "fresh", 5), "fresh").code, Errc::ok);
  EXPECT_EQ(world.depot.content("work/part/fresh"), "fresh");
  const auto sub = part->find("sub")->id;
  EXPECT_EQ(part->mutate(rename_of(mine.id, {kRootEntry, "mine"}, {sub, "moved"})).code, Errc::ok);
  EXPECT_EQ(world.depot.content("work/part/sub/moved"), "new");
  Mutate folder;
  folder.kind = MutationKind::make_folder;
  folder.place = {kRootEntry, "made"};
  EXPECT_EQ(part->mutate(folder).code, Errc::ok);
  EXPECT_TRUE(world.depot.exists("work/part/made"));
  Mutate mode;
  mode.kind = MutationKind::set_attributes;
  mode.entry = kRootEntry;
  mode.attribute_bits = kMode;
  mode.attributes.mode = 0700;
  const auto answer = part->mutate(mode);
  EXPECT_EQ(answer.code, Errc::ok);
  EXPECT_EQ(answer.entry, kRootEntry);
  EXPECT_EQ(world.depot.facts_of("work/part")->attributes.mode, 0700u);
}

TEST_F(ViewTest, what_is_outside_is_answered_as_what_never_was) {
  const EntryId nobody{NodeId::make(4'000'000, 3).value};
  const auto mine = part->find("mine")->id;
  const EntryId outside[] = {id_of("outside"), id_of("outside/SECRET-b"), id_of("work"),
                             id_of("work/part"), id_of("work/SECRET-a")};
  const auto requests = [&](EntryId id) {
    std::vector<Body> all{List{id, 5}, Pull{id, {}, {}, 2}, Stat{id}, History{id, ""},
                          Restore{id, "", {}}};
    FileSyncInit over;
    over.operation = {OpId{500}, {}};
    over.entry = id;
    over.size = 1;
    over.ranges = {{0, 1}};
    all.emplace_back(over);
    over.entry = {};
    over.place = {id, "planted"};
    all.emplace_back(over);
    for (auto kind = MutationKind::make_folder; kind <= MutationKind::set_attributes;
         kind = static_cast<MutationKind>(static_cast<int>(kind) + 1)) {
      Mutate mutation;
      mutation.operation = {OpId{501}, {}};
      mutation.kind = kind;
      mutation.entry = mutation.other = id;
      mutation.from = {id, "SECRET-b"};
      mutation.place = {id, "planted"};
      all.emplace_back(mutation);
      const bool moves = kind == MutationKind::link || kind == MutationKind::rename ||
                         kind == MutationKind::exchange;
      if (!moves) continue;
      mutation.entry = mine;  // out of it
      mutation.from = {kRootEntry, "mine"};
      all.emplace_back(mutation);
      mutation.entry = id;  // into it
      mutation.from = {id, "SECRET-b"};
      mutation.place = {kRootEntry, "planted"};
      all.emplace_back(mutation);
    }
    return all;
  };
  const auto before = world.depot.tree();
  const auto of_nobody = requests(nobody);
  std::vector<std::string> expected;
  for (const auto& request : of_nobody) expected.push_back(answer_to(request));
  for (const EntryId id : outside) {
    const auto all = requests(id);
    for (std::size_t i = 0; i < all.size(); ++i) {
      EXPECT_EQ(answer_to(all[i]), expected[i]) << "request " << i << " of " << id.value;
    }
  }
  EXPECT_EQ(world.depot.tree(), before);
  EXPECT_FALSE(has_secret(part->received()));
}

TEST_F(ViewTest, only_changes_inside_are_told_and_a_move_over_the_border_is_made_or_gone) {
  const auto session = part->next_session();
  part->send(session, Watch{});
  world.settle();
  part->take(session);
  const auto changes = [&] {
    std::vector<Change> all;
    for (auto& body : part->take(session)) {
      if (auto* change = std::get_if<Change>(&body)) all.push_back(*change);
    }
    return all;
  };
  EXPECT_EQ(whole->push(whole->init_new(id_of("outside"), "SECRET-d", 1), "x").code, Errc::ok);
  EXPECT_TRUE(changes().empty());

  const auto part_id = id_of("work/part"), outside = id_of("outside");
  const auto secret = id_of("outside/SECRET-b");
  EXPECT_EQ(whole->mutate(rename_of(secret, {outside, "SECRET-b"}, {part_id, "given"})).code,
            Errc::ok);
  auto seen = changes();
  ASSERT_EQ(seen.size(), 1u);
  EXPECT_EQ(seen[0].kind, ChangeKind::name_set);
  EXPECT_EQ(seen[0].place, (Place{kRootEntry, "given"}));
  EXPECT_EQ(seen[0].entry.id, secret);
  EXPECT_FALSE(seen[0].by) << "another client's id is a key to what it asked";
  EXPECT_FALSE(seen[0].operation);

  EXPECT_EQ(whole->mutate(rename_of(secret, {part_id, "given"}, {outside, "SECRET-b"})).code,
            Errc::ok);
  seen = changes();
  ASSERT_EQ(seen.size(), 1u);
  EXPECT_EQ(seen[0].kind, ChangeKind::name_gone);
  EXPECT_EQ(seen[0].place, (Place{kRootEntry, "given"}));

  const auto mine = part->find("mine");
  EXPECT_EQ(part->push(part->init_over(*mine, 1), "m").code, Errc::ok);
  seen = changes();
  ASSERT_EQ(seen.size(), 1u);
  EXPECT_EQ(seen[0].by, ClientId{8});
  EXPECT_TRUE(seen[0].operation);
  EXPECT_FALSE(has_secret(part->received()));
}

TEST_F(ViewTest, history_has_what_was_inside_and_its_paths_begin_at_the_folder) {
  const auto versions = [&](EntryId entry, const std::string& path) {
    const auto session = part->next_session();
    part->send(session, History{entry, path});
    world.settle();
    auto page = part->take_one<HistoryPage>(session);
    return page ? page->versions : std::vector<KeptVersion>();
  };
  const auto overwrite = [&](const std::string& path, const std::string& content) {
    EXPECT_EQ(whole->push(whole->init_over(*whole->find(path), content.size()), content).code,
              Errc::ok);
  };
  overwrite("work/part/mine", "second");
  overwrite("work/SECRET-a", "SECRET again");
  auto kept = versions({}, "mine");
  ASSERT_EQ(kept.size(), 1u);
  EXPECT_EQ(kept[0].path, "mine");
  EXPECT_FALSE(kept[0].by);
  EXPECT_TRUE(versions({}, "work/SECRET-a").empty());
  EXPECT_TRUE(versions({}, "SECRET-a").empty());

  // What an entry was while it was outside stays there when it comes in.
  const auto secret = id_of("work/SECRET-a");
  EXPECT_EQ(
      whole->mutate(rename_of(secret, {id_of("work"), "SECRET-a"}, {id_of("work/part"), "given"}))
          .code,
      Errc::ok);
  EXPECT_TRUE(versions(secret, "").empty());
  const auto session = part->next_session();
  part->send(session, Restore{secret, "given", {}});
  world.settle();
  const auto refused = part->take_one<ErrorMessage>(session);
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->code, Errc::not_found);

  const auto again = part->next_session();
  part->send(again, Restore{{}, "mine", kept[0].version});
  world.settle();
  EXPECT_TRUE(part->take_one<RestoreResponse>(again));
  EXPECT_EQ(world.depot.content("work/part/mine"), "my content");
  EXPECT_FALSE(has_secret(part->received()));
}

TEST_F(ViewTest, a_map_and_a_comparison_are_of_the_folder) {
  const auto map_of = [&](TestPeer& peer, EntryId folder) {
    const auto session = peer.next_session();
    Fsmap request;
    request.of.folder = folder;
    peer.send(session, request);
    world.settle();
    return peer.take_one<FsmapResponse>(session);
  };
  const auto ours = map_of(*part, {}), same = map_of(*whole, id_of("work/part"));
  const auto all = map_of(*whole, {});
  ASSERT_TRUE(ours && same && all);
  EXPECT_EQ(ours->files, 2u);
  EXPECT_EQ(ours->summary, same->summary);
  EXPECT_NE(ours->summary, all->summary);
  EXPECT_FALSE(map_of(*part, id_of("outside")));

  const auto session = part->next_session();
  Compare compare;
  compare.folders = {{kRootEntry, {}}, {id_of("outside"), {}}};
  part->send(session, compare);
  world.settle();
  const auto answer = part->take_one<CompareResponse>(session);
  ASSERT_TRUE(answer);
  ASSERT_EQ(answer->different.size(), 2u);
  EXPECT_EQ(answer->different[0], kRootEntry);
  EXPECT_NE(answer->different[1], id_of("outside"));
}

TEST_F(ViewTest, a_client_may_take_a_part_of_what_it_has_and_no_more) {
  const auto shaken = [&](const std::string& granted, const std::string& asked) {
    TestPeer peer(world, 20, false, confined_to(granted));
    auto hello = peer.hello();
    hello.subtree = asked;
    const auto answer = peer.shake(hello);
    return std::make_pair(answer ? answer->code : Errc::lost, peer.list(kRootEntry).size());
  };
  EXPECT_EQ(shaken("work", "part"), std::make_pair(Errc::ok, std::size_t{2}));
  EXPECT_EQ(shaken("", "work/part/sub"), std::make_pair(Errc::ok, std::size_t{1}));
  EXPECT_EQ(shaken("work/part", "").second, 2u);
  EXPECT_EQ(shaken("work/part", "outside").first, Errc::not_found);
  EXPECT_EQ(shaken("work/part", "mine").first, Errc::not_found);
  EXPECT_EQ(shaken("work/part", "work").first, Errc::not_found);
  EXPECT_EQ(shaken("nowhere", "").first, Errc::not_found);
}

TEST_F(ViewTest, when_the_folder_goes_its_clients_go) {
  Mutate away = rename_of(id_of("work/part"), {id_of("work"), "part"}, {kRootEntry, "renamed"});
  EXPECT_EQ(whole->mutate(away).code, Errc::ok);
  EXPECT_EQ(part->list(kRootEntry).size(), 2u) << "a folder that is renamed is the same one";
  world.depot.erase("renamed");
  whole->list(kRootEntry);
  // What is gone may turn up elsewhere until its place was looked for; a refused look settles it.
  part->list(kRootEntry);
  TestPeer late(world, 30, false, confined_to("work/part"));
  EXPECT_EQ(late.shake(late.hello())->code, Errc::not_found);
  EXPECT_TRUE(part->closed());
}

/// Requests made of everything that there is, at random: nothing outside is changed or told.
TEST_F(ViewTest, no_request_whatever_reaches_the_outside) {
  std::mt19937_64 random(20);
  std::vector<EntryId> ids{{}, kRootEntry, EntryId{~0ull}, EntryId{77}};
  for (const char* path : {"work", "work/part", "work/part/mine", "work/part/sub", "outside",
                           "outside/SECRET-b", "work/SECRET-a", "SECRET-c", "work/part/sub/deep"}) {
    ids.push_back(id_of(path));
  }
  const std::vector<std::string> names{"mine", "sub", "deep", "part", "work", "outside", "x", "y"};
  const auto id = [&] { return ids[random() % ids.size()]; };
  const auto name = [&] { return names[random() % names.size()]; };
  const auto place = [&] {
    const auto folder = id();
    return folder ? Place{folder, name()} : Place{};
  };
  const auto path = [&] { return random() % 2 ? name() : name() + "/" + name(); };
  const auto outside_of = [&] {
    auto tree = world.depot.tree();
    std::erase_if(tree, [](const auto& entry) { return entry.first.starts_with("work/part"); });
    return tree;
  };
  const auto before = outside_of();
  for (int round = 0; round < 4000; ++round) {
    Body request;
    switch (random() % 7) {
      case 0:
        request = List{id(), static_cast<std::uint32_t>(random() % 50)};
        break;
      case 1:
        request = Pull{id(), {}, {}, static_cast<std::uint8_t>(random() % 3)};
        break;
      case 2:
        request = Stat{id()};
        break;
      case 3:
        request = History{id(), path()};
        break;
      case 4:
        request = Restore{id(), path(), {}};
        break;
      case 5: {
        FileSyncInit init;
        init.operation = part->next_operation();
        init.entry = id();
        init.place = place();
        init.size = 2;
        init.ranges = {{0, 2}};
        part->begin_push(init, "xx");
        world.settle();
        continue;
      }
      default: {
        Mutate mutation;
        mutation.operation = part->next_operation();
        mutation.kind = static_cast<MutationKind>(1 + random() % 7);
        mutation.entry = id();
        mutation.other = id();
        mutation.from = place();
        mutation.place = place();
        mutation.attribute_bits = kMode;
        mutation.attributes.mode = 0700;
        request = mutation;
      }
    }
    part->send(part->next_session(), request);
    world.settle();
    ASSERT_FALSE(part->closed());
  }
  EXPECT_EQ(outside_of(), before);
  EXPECT_FALSE(has_secret(part->received()));
  EXPECT_TRUE(world.depot.exists("work/part")) << "its own folder is not its to move";
}

}  // namespace
}  // namespace ebb::test
