// What the forms of a map promise, and the server that hands maps out, without a disk.
#include "store/fsmap.h"

#include <algorithm>
#include <sstream>

#include <gtest/gtest.h>

#include "store/fsmap_tree.h"
#include "store/names_summary.h"
#include "tests/support/test_peer.h"

namespace ebb::store {
namespace {

Digest digest_of(std::string_view text, DigestKind kind = DigestKind::md5) {
  DigestStream stream(kind);
  stream.update(as_bytes(text));
  return stream.finish();
}

Result<Minified> read(const std::string& text, FsmapForm form) {
  Minified map;
  std::istringstream in(text);
  auto ok = read_fsmap(in, form,
                       {[&](DigestKind kind) { map.kind = kind; },
                        [&](std::string_view, const Digest& d) { map.digests.push_back(d); }});
  if (!ok) return pass(ok.error());
  return map;
}

TEST(Digests, are_the_known_ones_and_a_stream_begins_anew) {
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(to_hex(digest_of("")), "d41d8cd98f00b204e9800998ecf8427e");
    EXPECT_EQ(to_hex(digest_of("abc")), "900150983cd24fb0d6963f7d28e17f72");
    EXPECT_EQ(to_hex(digest_of("", DigestKind::xxh3)), "99aa06d3014798d86001c324468d497f");
  }
  DigestStream stream(DigestKind::xxh3);
  stream.update(as_bytes("before"));
  (void)stream.finish();
  EXPECT_EQ(stream.finish(), digest_of("", DigestKind::xxh3));
}

TEST(Digests, have_32_lowercase_digits) {
  const std::string hex = "0123456789abcdef0123456789abcdef";
  EXPECT_EQ(to_hex(*parse_hex(hex)), hex);
  for (const std::string& wrong :
       {hex.substr(1), hex + "0", "G" + hex.substr(1), "A" + hex.substr(1), std::string()}) {
    EXPECT_FALSE(parse_hex(wrong)) << wrong;
  }
}

TEST(Forms, what_is_written_is_read) {
  for (const DigestKind kind : {DigestKind::md5, DigestKind::xxh3}) {
    Minified map{kind, {}};
    std::string full(fsmap_mark(kind));
    if (!full.empty()) full += '\n';
    for (const std::string path : {"a/b", "a\\b", "\xff", " "}) {
      map.digests.push_back(digest_of(path, kind));
      append_line(full, path, map.digests.back());
    }
    for (const FsmapForm form : {FsmapForm::full_or_minified, FsmapForm::minified_or_full}) {
      EXPECT_EQ(*read(minified_text(map), form), map);
      EXPECT_EQ(*read(full, form), map);
    }
    EXPECT_EQ(*read(minified_text(map) + "\r\n", FsmapForm::minified_or_full), map);
    const auto summary = parse_summary(summary_text(kind, summary_of(map)) + "\n");
    ASSERT_TRUE(summary);
    EXPECT_EQ(*summary, std::pair(kind, digest_of(minified_text(map), kind)));
  }
}

TEST(Forms, a_map_with_any_byte_gone_is_no_crash) {
  std::string text = "xxh3:\n";
  for (const char* path : {"one", "two"}) append_line(text, path, digest_of(path));
  for (std::size_t at = 0; at < text.size(); ++at) {
    std::string damaged = text;
    damaged.erase(at, 1);
    (void)read(damaged, FsmapForm::full_or_minified);
    (void)read(damaged.substr(0, at), FsmapForm::minified_or_full);
  }
}

TEST(Difference, each_file_answers_for_one) {
  const Digest a = digest_of("a");
  const Digest b = digest_of("b");
  const Minified target{DigestKind::md5, {a, b, a, a}};
  FsmapDiff diff(target);
  EXPECT_TRUE(diff.take(a));
  EXPECT_TRUE(diff.take(a));
  EXPECT_FALSE(diff.take(digest_of("c")));
  EXPECT_EQ(diff.missing(), (std::vector<std::uint64_t>{1, 3}));
  EXPECT_TRUE(diff.take(a));
  EXPECT_FALSE(diff.take(a));
  EXPECT_EQ(diff.missing(), (std::vector<std::uint64_t>{1}));
}

TEST(Order, a_folder_stands_where_its_name_does) {
  std::vector<std::string> paths{"a.txt", "a/x", "a", "a-b", "a/x/y", "b", "\xff", "a/b"};
  std::sort(paths.begin(), paths.end(), fsmap_before);
  EXPECT_EQ(paths,
            (std::vector<std::string>{"a", "a/b", "a/x", "a/x/y", "a-b", "a.txt", "b", "\xff"}));
}

TEST(Paths, that_no_map_lists_are_known) {
  const std::string longest(255, 'n');
  for (const std::string& path :
       {std::string("a"), std::string("a/b"), std::string("..."), longest + "/" + longest,
        std::string("a/.ebbd/b"), std::string("\xff\\ \t")}) {
    EXPECT_TRUE(fsmap_path_fits(path)) << path;
  }
  for (const std::string& path :
       {std::string(), std::string("/a"), std::string("a/"), std::string("a//b"), std::string("."),
        std::string(".."), std::string("a/../b"), std::string("a/."), std::string("a\nb"),
        std::string("a\0b", 3), longest + "n", std::string(".ebbd"), std::string(".ebbd/x")}) {
    EXPECT_FALSE(fsmap_path_fits(path)) << path;
  }
}

TEST(Tree, has_its_files_by_path_and_by_index) {
  std::vector<std::pair<std::string, FsmapFile>> files;
  for (const char* path : {"b", "a/x/y", "a.txt", "a/x.y", "a/x/b", "a-b", "c/d/e/f"}) {
    files.emplace_back(path, FsmapFile{});
    files.back().second.digest = digest_of(path);
    files.back().second.size = 10;
  }
  const FsmapIndex index(FsmapTree(DigestKind::md5, files));
  std::vector<std::string> paths;
  index.tree().each([&](std::string_view path, const FsmapFile& file) {
    EXPECT_EQ(file.digest, digest_of(path));
    EXPECT_EQ(index.path(paths.size()), path);
    EXPECT_EQ(index.file(paths.size()).digest, file.digest);
    paths.emplace_back(path);
  });
  EXPECT_EQ(paths,
            (std::vector<std::string>{"a/x/b", "a/x/y", "a/x.y", "a-b", "a.txt", "b", "c/d/e/f"}));
  EXPECT_EQ(index.tree().counts().bytes, 70u);
  EXPECT_EQ(FsmapTree(DigestKind::md5, {}).summary(), digest_of(""));
}

}  // namespace
}  // namespace ebb::store

namespace ebb::test {
namespace {

using namespace proto;

class Maps : public ::testing::Test {
 protected:
  void SetUp() override {
    world.depot.make_folder("folder");
    world.depot.write("file", "content");
    world.depot.write("folder/inner", std::string(300'000, 'x'));
    world.depot.write("zero", "");
    world.depot.make_symlink("link", "file");
    ASSERT_TRUE(world.start()) << world.open_error;
    peer = std::make_unique<TestPeer>(world);
  }
  void TearDown() override { peer.reset(); }

  template <class Answer, class Request>
  std::optional<Answer> ask(const Request& request) {
    const auto session = peer->next_session();
    peer->send(session, request);
    peer->settle();
    return peer->take_one<Answer>(session);
  }
  Errc refusal(const Body& request) {
    const auto session = peer->next_session();
    peer->send(session, request);
    peer->settle();
    const auto error = peer->take_one<ErrorMessage>(session);
    return error ? error->code : Errc::ok;
  }
  FsmapResponse map(EntryId folder = {}) {
    of.folder = folder;
    return ask<FsmapResponse>(Fsmap{of}).value_or(FsmapResponse{});
  }
  std::vector<Digest> hashes(const Digest& summary) {
    const auto session = peer->next_session();
    peer->send(session, FsmapHashes{of, summary, 0});
    peer->settle();
    std::vector<Digest> all;
    for (const auto& body : peer->take(session)) {
      const auto* page = std::get_if<FsmapHashesPage>(&body);
      if (page == nullptr) return {};
      EXPECT_EQ(page->from, all.size());
      all.insert(all.end(), page->digests.begin(), page->digests.end());
    }
    return all;
  }
  struct Got {
    std::string path;
    std::string bytes;
    std::uint64_t size = 0;
    Errc code = Errc::ok;
    bool ended = false;
  };
  Got file(const Digest& summary, std::uint64_t index, std::uint64_t offset = 0) {
    const auto session = peer->next_session();
    peer->send(session, FsmapFile{of, summary, index, offset});
    peer->settle();
    Got got;
    for (const auto& body : peer->take(session)) {
      if (const auto* path = std::get_if<FsmapPath>(&body)) got.path = path->path;
      if (const auto* init = std::get_if<FileSyncInit>(&body)) got.size = init->size;
      if (const auto* data = std::get_if<FileSyncData>(&body)) got.bytes += as_text(data->bytes);
      if (const auto* error = std::get_if<ErrorMessage>(&body)) got.code = error->code;
      got.ended = got.ended || std::holds_alternative<FileSyncCheckHash>(body);
    }
    return got;
  }
  static Digest digest_of(const std::string& path, const std::string& content) {
    DigestStream stream(DigestKind::md5);
    stream.update(as_bytes(path + content));
    return stream.finish();
  }

  ServedTree world;
  std::unique_ptr<TestPeer> peer;
  FsmapOf of;
};

TEST_F(Maps, are_handed_out_with_their_files_by_index) {
  const auto answer = map();
  EXPECT_EQ(answer.files, 3u);
  EXPECT_EQ(answer.bytes, 300'007u);
  const auto all = hashes(answer.summary);
  const std::string long_content(300'000, 'x');
  ASSERT_EQ(all,
            (std::vector<Digest>{digest_of("file", "content"),
                                 digest_of("folder/inner", long_content), digest_of("zero", "")}));
  EXPECT_EQ(store::summary_of({DigestKind::md5, all}), answer.summary);
  const auto first = file(answer.summary, 0);
  EXPECT_EQ(first.path, "file");
  EXPECT_EQ(first.bytes, "content");
  EXPECT_TRUE(first.ended);
  const auto rest = file(answer.summary, 1, 299'000);
  EXPECT_EQ(rest.path, "folder/inner");
  EXPECT_EQ(rest.bytes, long_content.substr(299'000));
  EXPECT_EQ(rest.size, 300'000u);
  for (const auto& whole : {file(answer.summary, 2), file(answer.summary, 0, 7)}) {
    EXPECT_EQ(whole.bytes, "");
    EXPECT_TRUE(whole.ended);
  }
}

TEST_F(Maps, of_a_folder_have_paths_from_there) {
  const auto inner = peer->find("folder");
  const auto answer = map(inner->id);
  EXPECT_EQ(answer.files, 1u);
  EXPECT_EQ(file(answer.summary, 0).path, "inner");
  EXPECT_EQ(refusal(Fsmap{{DigestKind::md5, peer->find("file")->id}}), Errc::not_folder);
  EXPECT_EQ(refusal(Fsmap{{DigestKind::md5, EntryId{999}}}), Errc::not_found);
}

TEST_F(Maps, go_in_pages_to_who_takes_small_packets) {
  for (int i = 0; i < 1000; ++i) world.depot.write("folder/" + std::to_string(i), "");
  peer.reset();
  peer = std::make_unique<TestPeer>(world, 9, false);
  auto hello = peer->hello();
  hello.packet_max = kPacketMaxAtFirst;
  ASSERT_TRUE(peer->shake(hello));
  const auto answer = map();
  EXPECT_EQ(answer.files, 1003u);
  const auto all = hashes(answer.summary);
  EXPECT_EQ(store::summary_of({DigestKind::md5, all}), answer.summary);
}

TEST_F(Maps, of_another_moment_are_never_mixed) {
  const auto before = map();
  world.depot.write("file", "other content");
  world.depot.write("new", "new");
  EXPECT_EQ(file(before.summary, 0).code, Errc::moved_on);
  EXPECT_EQ(file(before.summary, 2).path, "zero");
  const auto after = map();
  EXPECT_NE(after.summary, before.summary);
  EXPECT_EQ(file(after.summary, 0).bytes, "other content");
  EXPECT_EQ(hashes(before.summary).size(), 3u);
  EXPECT_EQ(hashes(after.summary).size(), 4u);
  EXPECT_EQ(refusal(FsmapHashes{of, Digest{}, 0}), Errc::moved_on);
  EXPECT_EQ(refusal(FsmapFile{of, Digest{}, 0, 0}), Errc::moved_on);
  EXPECT_EQ(refusal(FsmapHashes{{DigestKind::xxh3, {}}, after.summary, 0}), Errc::moved_on);
}

TEST_F(Maps, are_kept_within_bounds_the_newest_last) {
  const auto first = map();
  std::vector<FsmapResponse> others;
  for (int i = 0; i < 8; ++i) {
    world.depot.write("file", std::string(static_cast<std::size_t>(i), 'y'));
    others.push_back(map());
  }
  EXPECT_EQ(refusal(FsmapHashes{of, first.summary, 0}), Errc::moved_on);
  EXPECT_EQ(hashes(others.front().summary).size(), 3u);
  world.clock.pass(std::chrono::minutes(11));
  world.service->advance(world.clock.now());
  EXPECT_EQ(refusal(FsmapHashes{of, others.back().summary, 0}), Errc::moved_on);
}

TEST_F(Maps, are_asked_for_within_their_bounds) {
  const auto answer = map();
  EXPECT_EQ(refusal(FsmapHashes{of, answer.summary, 4}), Errc::bad_request);
  EXPECT_EQ(refusal(FsmapFile{of, answer.summary, 3, 0}), Errc::bad_request);
  EXPECT_FALSE(peer->closed());
}

TEST_F(Maps, who_asks_while_a_walk_is_under_way_gets_the_next) {
  TestPeer other(world, 8);
  const auto one = peer->next_session();
  const auto two = other.next_session();
  peer->send(one, Fsmap{of});
  peer->exchange();
  world.depot.write("file", "changed");
  other.send(two, Fsmap{of});
  world.settle();
  const auto early = peer->take_one<FsmapResponse>(one);
  const auto late = other.take_one<FsmapResponse>(two);
  ASSERT_TRUE(early && late);
  EXPECT_EQ(late->summary, map().summary);
}

TEST_F(Maps, of_an_unchanged_tree_cost_little) {
  (void)map();
  const auto before = world.service->status().peers.front();
  (void)map();
  const auto after = world.service->status().peers.front();
  EXPECT_LT(after.bytes_in + after.bytes_out - before.bytes_in - before.bytes_out, 200u);
}

// ---- what a client knows, compared

TEST_F(Maps, a_folder_that_is_as_known_is_not_told_again) {
  const auto root = peer->list(kRootEntry);
  const auto folder = peer->find("folder")->id;
  const auto summary_of = [](const std::map<std::string, Entry>& names) {
    store::NamesSummary summary;
    for (const auto& [name, entry] : names) {
      summary.add({name, entry.id, static_cast<std::uint8_t>(entry.kind), entry.content_version,
                   entry.attributes_version});
    }
    return summary.finish();
  };
  const Compare question{{{kRootEntry, summary_of(root)},
                          {folder, summary_of(peer->list(folder))},
                          {EntryId{999}, Digest{}}}};
  EXPECT_EQ(ask<CompareResponse>(question)->different, std::vector<EntryId>{EntryId{999}});
  world.depot.write("folder/inner", "changed");
  EXPECT_EQ(ask<CompareResponse>(question)->different,
            (std::vector<EntryId>{folder, EntryId{999}}));
  world.depot.move("file", "renamed");
  EXPECT_EQ(ask<CompareResponse>(question)->different,
            (std::vector<EntryId>{kRootEntry, folder, EntryId{999}}));
}

}  // namespace
}  // namespace ebb::test
