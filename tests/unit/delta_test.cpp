// Deltas promise: what the other side has does not travel again, in either direction; nothing comes
// out but what was meant; and no client gets or spoils more by them than without.
#include <gtest/gtest.h>

#include "proto/chunker.h"
#include "proto/session_hash.h"
#include "tests/sim/hands.h"

namespace ebb::test {
namespace {

using namespace proto;

constexpr std::size_t kSize = 3u << 20;

std::string noise(std::size_t size, std::uint64_t seed = 1) {
  std::mt19937_64 random(seed);
  std::string out(size, '\0');
  for (auto& c : out) c = static_cast<char>(random());
  return out;
}

/// Two clients that keep one large file: the first changes it, the second is told.
class DeltaTest : public ::testing::Test {
 protected:
  static constexpr std::uint64_t kAllCan = 4, kFirstCannot = 7;  // see World::limits_of

  void begin(std::uint64_t seed) {
    world = std::make_unique<Hands>(seed, 2);
    for (std::size_t i = 0; i < 2; ++i) world->machine(i).options.parts_least = UINT64_MAX;
    for (std::size_t i = 0; i < 2; ++i) ASSERT_TRUE(world->start_client(i)) << world->last_error;
    ASSERT_TRUE(world->run_until_quiet());
    ASSERT_TRUE(world->write(0, "big", content));
    ASSERT_TRUE(world->run_until_quiet());
    ASSERT_EQ(content, world->read(1, "big").value_or("unread"));
    ASSERT_TRUE(world->run_until_quiet());
    ASSERT_EQ("sync", world->attribute(1, "big", "status"));
    count();
  }
  /// Bytes from the first to the server, and from there to the second, since the last count.
  void count() {
    up = down = 0;
    for (const auto& peer : world->service->status().peers) {
      const bool first = peer.id == *world->machine(0).peer;
      (first ? up : down) = first ? peer.bytes_in : peer.bytes_out;
    }
    std::swap(up, up_before);
    std::swap(down, down_before);
    up = up_before - up;
    down = down_before - down;
  }
  void changed(const std::string& now) {
    content = now;
    ASSERT_TRUE(world->run_until_quiet());
    EXPECT_EQ(content, world->depot.content("big"));
    EXPECT_EQ("clean", world->attribute(1, "big", "state"));
    EXPECT_EQ(std::to_string(content.size()) + "/" + std::to_string(content.size()),
              world->attribute(1, "big", "progress"));
    count();
    EXPECT_EQ(content, world->read(1, "big").value_or("unread"));
  }
  void write_at(std::uint64_t offset, const std::string& text) {
    const auto node = world->find(0, "big");
    ASSERT_TRUE(node);
    auto opened = world->ask<fusefs::OpenFile>(
        [&](auto reply) { world->client(0).open(*node, O_RDWR, std::move(reply)); });
    ASSERT_TRUE(opened);
    ASSERT_TRUE(world->client(0).write(opened->handle, offset, as_bytes(text), false));
    ASSERT_TRUE(world->client(0).flush(opened->handle));
    world->client(0).release(opened->handle);
    content.replace(offset, text.size(), text);
  }
  void save_by_rename(const std::string& now) {
    ASSERT_TRUE(world->write(0, "big.new", now));
    ASSERT_TRUE(world->rename(0, "big.new", "big"));
  }

  std::string content = noise(kSize);
  std::unique_ptr<Hands> world;
  std::uint64_t up = 0, down = 0, up_before = 0, down_before = 0;
};

TEST_F(DeltaTest, an_edit_in_the_middle_travels_alone) {
  begin(kAllCan);
  write_at(kSize / 2, "another text");
  changed(content);
  EXPECT_LT(up, 2 * kChunkMost);
  EXPECT_LT(down, 2 * kChunkMost);
}

TEST_F(DeltaTest, what_is_known_to_have_changed_travels_alone) {
  begin(kAllCan);
  world->end_client(0);
  world->machine(0).options.parts_least = 1;
  ASSERT_TRUE(world->start_client(0));
  ASSERT_TRUE(world->run_until_quiet());
  count();
  write_at(kSize / 2, "another text");
  write_at(100, "and one");
  ASSERT_TRUE(world->append(0, "big", "and more", true));
  changed(content + "and more");
  EXPECT_LT(up, 2000u);
}

TEST_F(DeltaTest, an_append_travels_alone) {
  begin(kAllCan);
  ASSERT_TRUE(world->append(0, "big", "and more", true));
  changed(content + "and more");
  EXPECT_LT(up, 2 * kChunkMost);
  EXPECT_LT(down, 2 * kChunkMost);
}

TEST_F(DeltaTest, a_byte_in_front_of_a_file_saved_by_rename_travels_alone) {
  begin(kAllCan);
  const std::string now = "!" + content;
  save_by_rename(now);
  changed(now);
  EXPECT_LT(up, 2 * kChunkMost);
  EXPECT_LT(down, 2 * kChunkMost);
}

TEST_F(DeltaTest, a_file_cut_and_turned_around_travels_hardly) {
  begin(kAllCan);
  const std::string now = content.substr(kSize / 2) + content.substr(0, kSize / 2 - 1000);
  save_by_rename(now);
  changed(now);
  EXPECT_LT(up, 4 * kChunkMost);
  EXPECT_LT(down, 4 * kChunkMost);
}

TEST_F(DeltaTest, a_copy_of_a_file_that_the_server_has_does_not_travel) {
  begin(kAllCan);
  ASSERT_EQ(content, world->read(0, "big").value_or("unread"));
  ASSERT_TRUE(world->write(0, "copy", content));
  ASSERT_TRUE(world->run_until_quiet());
  count();
  EXPECT_EQ(content, world->depot.content("copy"));
  EXPECT_EQ(content, world->depot.content("big"));
  EXPECT_LT(up, kChunkMost);
}

TEST_F(DeltaTest, another_file_of_the_same_size_travels_whole) {
  begin(kAllCan);
  ASSERT_EQ(content, world->read(0, "big").value_or("unread"));
  const std::string other = noise(kSize, 2);
  ASSERT_TRUE(world->write(0, "other", other));
  ASSERT_TRUE(world->run_until_quiet());
  EXPECT_EQ(other, world->depot.content("other"));
}

TEST_F(DeltaTest, another_content_travels_whole) {
  begin(kAllCan);
  const std::string now = noise(kSize, 2);
  save_by_rename(now);
  changed(now);
  EXPECT_GT(up, kSize);
  EXPECT_GT(down, kSize);
}

TEST_F(DeltaTest, who_cannot_pushes_the_whole_and_the_other_pulls_what_it_lacks) {
  begin(kFirstCannot);
  write_at(kSize / 2, "another text");
  changed(content);
  EXPECT_GT(up, kSize);
  EXPECT_LT(down, 2 * kChunkMost);
}

TEST_F(DeltaTest, a_client_of_a_subtree_has_them_too_and_none_from_what_it_may_not_see) {
  world = std::make_unique<Hands>(kAllCan, 2);
  ASSERT_TRUE(world->start_client(0)) << world->last_error;
  const std::string twice = content + "and more" + "and even more";
  const std::string secret = noise(twice.size(), 2);
  ASSERT_TRUE(world->make_folder(0, "home"));
  ASSERT_TRUE(world->write(0, "home/big", content));
  ASSERT_TRUE(world->write(0, "secret", secret));
  world->pass(std::chrono::seconds(20));
  world->machine(1).admit = [](const VersionHandshake& hello, const std::string&) {
    return Result<server::Admission>({hello.client_name, false, "home"});
  };
  ASSERT_TRUE(world->start_client(1)) << world->last_error;
  ASSERT_TRUE(world->run_until_quiet());
  ASSERT_EQ(content, world->read(1, "big").value_or("unread"));
  ASSERT_TRUE(world->run_until_quiet());
  std::uint64_t in = 0, out = 0;
  const auto since = [&] {
    ASSERT_TRUE(world->run_until_quiet());
    for (const auto& peer : world->service->status().peers) {
      if (peer.id != *world->machine(1).peer) continue;
      in = peer.bytes_in - std::exchange(up_before, peer.bytes_in);
      out = peer.bytes_out - std::exchange(down_before, peer.bytes_out);
    }
  };
  since();
  ASSERT_TRUE(world->append(0, "home/big", "and more", true));
  since();
  EXPECT_LT(out, 2 * kChunkMost);
  EXPECT_EQ(content + "and more", world->read(1, "big").value_or("unread"));
  ASSERT_TRUE(world->append(1, "big", "and even more", true));
  since();
  EXPECT_LT(in, 2 * kChunkMost);
  EXPECT_EQ(twice, world->depot.content("home/big"));
  ASSERT_TRUE(world->read(1, "big"));
  ASSERT_TRUE(world->write(1, "copy", twice));
  since();
  EXPECT_LT(in, 2 * kChunkMost);
  ASSERT_TRUE(world->read(1, "big"));
  ASSERT_TRUE(world->write(1, "guessed", secret));
  since();
  EXPECT_GT(in, kSize);
  EXPECT_EQ(secret, world->depot.content("home/guessed"));
}

TEST_F(DeltaTest, broken_connections_at_any_byte_leave_the_old_or_the_new) {
  for (std::uint64_t round = 0; round < 12; ++round) {
    SCOPED_TRACE(round);
    content = noise(kSize / 4, round);
    begin(kAllCan + 16 * round);
    if (HasFatalFailure()) return;
    const std::string before = content;
    const std::string now = content.substr(0, 300'000) + "more" + content.substr(300'000);
    save_by_rename(now);
    world->cut_one_in = 3;
    for (int seconds = 0; seconds < 40; ++seconds) {
      world->pass(std::chrono::seconds(1));
      const auto there = world->depot.content("big");
      ASSERT_TRUE(there == before || there == now);
    }
    world->cut_one_in = 0;
    ASSERT_TRUE(world->run_until_quiet());
    EXPECT_EQ(now, world->depot.content("big"));
    EXPECT_EQ(now, world->read(1, "big").value_or("unread"));
    EXPECT_EQ(0u, world->depot.staged_count());
  }
}

TEST_F(DeltaTest, killed_and_started_again_both_sides_end_with_the_new) {
  begin(kAllCan);
  save_by_rename("!" + content);
  world->pass(std::chrono::seconds(5));
  world->kill_client(0);
  world->kill_server();
  ASSERT_TRUE(world->start_server());
  ASSERT_TRUE(world->start_client(0));
  ASSERT_TRUE(world->run_until_quiet());
  EXPECT_EQ("!" + content, world->depot.content("big"));
  EXPECT_EQ("!" + content, world->read(1, "big").value_or("unread"));
}

TEST_F(DeltaTest, a_file_that_is_open_keeps_its_content_and_the_name_gets_the_new_one) {
  begin(kAllCan);
  const auto node = world->find(1, "big");
  auto opened = world->ask<fusefs::OpenFile>(
      [&](auto reply) { world->client(1).open(*node, O_RDONLY, std::move(reply)); });
  ASSERT_TRUE(opened);
  const std::string before = content;
  write_at(100'000, "another text");
  changed(content);
  EXPECT_LT(down, 2 * kChunkMost);
  EXPECT_EQ(before, world->read_all(1, opened->handle).value_or("unread"));
  world->client(1).release(opened->handle);
  ASSERT_TRUE(world->run_until_quiet());
  EXPECT_EQ(content, world->read(1, "big").value_or("unread"));
}

// ---- what a client can ask of the server

class AskedDeltaTest : public ::testing::Test {
 protected:
  void SetUp() override {
    world.depot.write("file", content);
    ASSERT_TRUE(world.start()) << world.open_error;
    peer = std::make_unique<TestPeer>(world);
    file = *peer->find("file");
  }
  void TearDown() override { peer.reset(); }

  FileSyncDelta delta_of(std::vector<Copy> copies, std::vector<Range> ranges,
                         const std::string& result) {
    FileSyncDelta delta;
    delta.init = peer->init_over(file, result.size());
    delta.init.ranges = std::move(ranges);
    delta.source = file.id;
    delta.source_version = file.content_version;
    delta.hash = xxh3(as_bytes(result));
    delta.copies = std::move(copies);
    return delta;
  }
  /// What it ends with.
  Errc push(const FileSyncDelta& delta, const std::string& result) {
    const auto session = peer->next_session();
    peer->send(session, delta);
    SessionHash hash(delta.init.size, delta.init.ranges);
    for (const auto& range : delta.init.ranges) {
      const auto part = as_bytes(result).subspan(range.begin, range.size());
      hash.update(range.begin, part);
      peer->send(session, FileSyncData{range.begin, Bytes(part.begin(), part.end())});
    }
    peer->send(session, FileSyncCheckHash{hash.digest()});
    peer->settle();
    for (const auto& body : peer->take(session)) {
      if (const auto* init = std::get_if<FileSyncInitResponse>(&body);
          init && init->code != Errc::ok) {
        return init->code;
      }
      if (const auto* done = std::get_if<FileSyncCheckHashResponse>(&body)) return done->code;
      if (const auto* error = std::get_if<ErrorMessage>(&body)) return error->code;
    }
    ADD_FAILURE() << "no answer";
    return Errc::lost;
  }
  void expect_refused(Errc code, const FileSyncDelta& delta, const std::string& result) {
    EXPECT_EQ(code, push(delta, result));
    EXPECT_EQ(content, world.depot.content("file"));
    EXPECT_EQ(0u, world.depot.staged_count());
  }

  const std::string content = noise(100'000);
  ServedTree world;
  std::unique_ptr<TestPeer> peer;
  Entry file;
};

TEST_F(AskedDeltaTest, chunks_are_those_of_the_content_and_make_it_up) {
  const auto session = peer->next_session();
  peer->send(session, Chunks{file.id, file.content_version});
  peer->settle();
  std::uint64_t at = 0;
  bool ended = false;
  for (const auto& body : peer->take(session)) {
    const auto* page = std::get_if<ChunkList>(&body);
    ASSERT_NE(nullptr, page);
    for (const auto& chunk : page->chunks) {
      EXPECT_EQ(sha256(as_bytes(content).subspan(at, chunk.size)), chunk.hash);
      at += chunk.size;
    }
    ended = page->end;
    EXPECT_EQ(ended ? xxh3(as_bytes(content)) : 0, page->hash);
  }
  EXPECT_TRUE(ended);
  EXPECT_EQ(content.size(), at);
}

TEST_F(AskedDeltaTest, what_is_sent_and_what_is_copied_make_up_the_new_content) {
  const std::string result = content.substr(50'000) + "between" + content.substr(0, 10);
  const auto delta = delta_of({{0, 50'000, 50'000}, {50'007, 0, 10}}, {{50'000, 50'007}}, result);
  EXPECT_EQ(Errc::ok, push(delta, result));
  EXPECT_EQ(result, world.depot.content("file"));
  EXPECT_EQ(std::vector<std::string>{content}, world.depot.history_contents());
  // Its own source is another one by now, and yet the answer is the same.
  EXPECT_EQ(Errc::ok, push(delta, result));
}

TEST_F(AskedDeltaTest, a_new_file_is_a_copy_of_another_one) {
  auto delta = delta_of({{0, 0, content.size()}}, {}, content);
  delta.init = peer->init_new(EntryId{1}, "copy", content.size());
  delta.init.ranges.clear();
  EXPECT_EQ(Errc::ok, push(delta, content));
  EXPECT_EQ(content, world.depot.content("copy"));
  EXPECT_EQ(content, world.depot.content("file"));
}

TEST_F(AskedDeltaTest, what_does_not_come_out_as_meant_does_not_land) {
  auto delta = delta_of({{0, 0, 1000}}, {{1000, 1001}}, content.substr(0, 1000) + "x");
  delta.hash ^= 1;
  expect_refused(Errc::wrong_hash, delta, content.substr(0, 1000) + "x");
}

TEST_F(AskedDeltaTest, copies_from_where_nothing_is_are_refused) {
  const std::string result(1000, 'x');
  expect_refused(Errc::bad_request, delta_of({{0, content.size() - 999, 1000}}, {}, result),
                 result);
  expect_refused(Errc::bad_request, delta_of({{0, kSizeMax - 1000, 1000}}, {}, result), result);
  expect_refused(Errc::bad_request, delta_of({{0, 0, 999}}, {}, result), result);
  expect_refused(Errc::bad_request, delta_of({{0, 0, 600}}, {{500, 1000}}, result), result);
  expect_refused(Errc::bad_request, delta_of({{600, 0, 400}}, {{0, 500}}, result), result);
}

TEST_F(AskedDeltaTest, only_the_version_that_was_told_is_a_source) {
  const std::string result = content.substr(0, 1000);
  auto delta = delta_of({{0, 0, 1000}}, {}, result);
  delta.source_version = Version{file.content_version.value + 1};
  expect_refused(Errc::moved_on, delta, result);
  delta.source_version = {};
  expect_refused(Errc::moved_on, delta, result);
  delta.source_version = file.content_version;
  for (const EntryId other : {EntryId{1}, EntryId{999}}) {
    delta.source = other;
    expect_refused(Errc::moved_on, delta, result);
  }
}

TEST_F(AskedDeltaTest, a_source_that_another_program_has_changed_meanwhile_is_none) {
  const std::string result = content.substr(0, 1000);
  const auto delta = delta_of({{0, 0, 1000}}, {}, result);
  world.depot.write("file", "written by another program");
  EXPECT_EQ(Errc::moved_on, push(delta, result));
  EXPECT_EQ("written by another program", world.depot.content("file"));
}

TEST_F(AskedDeltaTest, chunks_of_what_is_no_file_or_another_version_are_not_told) {
  const std::pair<Chunks, Errc> cases[] = {
      {{EntryId{1}, {}}, Errc::is_folder},
      {{EntryId{999}, {}}, Errc::not_found},
      {{file.id, Version{file.content_version.value + 1}}, Errc::moved_on},
  };
  for (const auto& [request, code] : cases) {
    const auto session = peer->next_session();
    peer->send(session, request);
    peer->settle();
    const auto error = peer->take_one<ErrorMessage>(session);
    ASSERT_TRUE(error);
    EXPECT_EQ(code, error->code);
  }
}

TEST_F(AskedDeltaTest, a_crash_before_it_has_landed_leaves_what_was) {
  const std::string result = "!" + content;
  for (int steps = 0;; ++steps) {
    SCOPED_TRACE(steps);
    ASSERT_LT(steps, 100);
    ServedTree fresh;
    fresh.depot.write("file", content);
    ASSERT_TRUE(fresh.start());
    TestPeer client(fresh);
    const auto entry = *client.find("file");
    FileSyncDelta delta;
    delta.init = client.init_over(entry, result.size());
    delta.init.ranges = {{0, 1}};
    delta.source = entry.id;
    delta.source_version = entry.content_version;
    delta.hash = xxh3(as_bytes(result));
    delta.copies = {{1, 0, content.size()}};
    const auto session = client.next_session();
    client.send(session, delta);
    client.send(session, FileSyncData{0, Bytes(1, std::byte{'!'})});
    SessionHash hash(result.size(), delta.init.ranges);
    hash.update(0, as_bytes("!"));
    client.send(session, FileSyncCheckHash{hash.digest()});
    while (client.exchange()) {
    }
    int done = 0;
    while (done < steps && fresh.executor.run_one()) ++done;
    const bool all = done < steps;
    client.unplug();
    fresh.power_cut(static_cast<std::uint64_t>(steps));
    ASSERT_TRUE(fresh.start()) << fresh.open_error;
    fresh.settle();
    const auto there = fresh.depot.content("file");
    EXPECT_TRUE(there == content || there == result);
    EXPECT_EQ(0u, fresh.depot.staged_count());
    if (all) break;
  }
}

}  // namespace
}  // namespace ebb::test
