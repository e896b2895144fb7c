// Pushes whose connection breaks: asked again, and gone on with.
#include <cerrno>

#include <gtest/gtest.h>

#include "base/hash.h"
#include "tests/support/test_peer.h"

namespace ebb::test {
namespace {

using namespace proto;

class BrokenPushTest : public ::testing::Test {
 protected:
  void SetUp() override {
    world.depot.write("file", "old content");
    ASSERT_TRUE(world.start()) << world.open_error;
    peer = std::make_unique<TestPeer>(world);
  }
  void TearDown() override { peer.reset(); }

  ServedTree world;
  std::unique_ptr<TestPeer> peer;
};

TEST_F(BrokenPushTest, a_push_asked_again_at_any_moment_of_the_first_gets_its_receipt) {
  bool reached_the_end = false;
  for (int steps = 0; !reached_the_end; ++steps) {
    ASSERT_LT(steps, 100);
    SCOPED_TRACE(steps);
    const auto now = peer->find("file");
    const std::string content = "content of round " + std::to_string(steps);
    const auto init = peer->init_over(*now, content.size());
    auto next = std::make_unique<TestPeer>(world);
    peer->begin_push(init, content);
    while (peer->exchange()) {
    }
    int done = 0;
    while (done < steps && world.executor.run_one()) ++done;
    reached_the_end = done < steps;
    peer->unplug();
    const auto answer = next->push(init, content);
    EXPECT_EQ(answer.code, Errc::ok) << answer.sentence;
    EXPECT_EQ(answer.hash, xxh3(as_bytes(content)));
    EXPECT_EQ(world.depot.content("file"), content);
    EXPECT_EQ(next->find("file")->content_version, answer.content_version);
    EXPECT_EQ(world.depot.staged_count(), 0u);
    for (int used = 0; used <= steps; ++used) next->next_operation();
    peer = std::move(next);
  }
  EXPECT_EQ(world.service->status().conflicts, 0u);
}

TEST_F(BrokenPushTest, the_same_push_on_a_second_connection_while_the_first_still_stands_is_one) {
  const auto init = peer->init_over(*peer->find("file"), 9);
  const auto first = peer->begin_push(init, "new bytes");
  while (peer->exchange()) {
  }
  TestPeer second(world);
  const auto answer = second.push(init, "new bytes");
  EXPECT_EQ(answer.code, Errc::ok) << answer.sentence;
  const auto same = peer->receipt(first);
  ASSERT_TRUE(same);
  EXPECT_EQ(same->content_version, answer.content_version);
  EXPECT_EQ(world.depot.history_contents().size(), 1u);
}

TEST_F(BrokenPushTest, a_broken_push_goes_on_behind_what_has_come) {
  const std::string content = std::string(100'000, 'a') + std::string(100'000, 'b');
  const auto init = peer->init_over(*peer->find("file"), content.size());
  const auto session = peer->next_session();
  peer->send(session, init);
  const auto half = as_bytes(content).first(120'000);
  for (std::size_t at = 0; at < half.size(); at += 30'000) {
    const auto part = half.subspan(at, 30'000);
    peer->send(session, FileSyncData{at, Bytes(part.begin(), part.end())});
  }
  while (peer->exchange()) {
  }
  peer->unplug();
  world.settle();
  EXPECT_EQ(world.depot.staged_count(), 1u);

  TestPeer again(world);
  const auto next = again.next_session();
  again.send(next, init);
  world.settle();
  const auto accepted = again.take_one<FileSyncInitResponse>(next);
  ASSERT_TRUE(accepted);
  EXPECT_EQ(accepted->code, Errc::ok);
  EXPECT_EQ(accepted->resume_at, half.size());
  const auto rest = as_bytes(content).subspan(half.size());
  for (std::size_t at = 0; at < rest.size(); at += 20'000) {
    const auto part = rest.subspan(at, 20'000);
    again.send(next, FileSyncData{half.size() + at, Bytes(part.begin(), part.end())});
  }
  again.send(next, FileSyncCheckHash{xxh3(as_bytes(content))});
  world.settle();
  const auto receipt = again.receipt(next);
  ASSERT_TRUE(receipt);
  EXPECT_EQ(receipt->code, Errc::ok) << receipt->sentence;
  EXPECT_EQ(receipt->hash, xxh3(as_bytes(content)));
  EXPECT_EQ(world.depot.content("file"), content);
  EXPECT_EQ(world.depot.staged_count(), 0u);
}

TEST_F(BrokenPushTest, a_broken_push_of_another_content_or_version_begins_anew) {
  auto init = peer->init_new(kRootEntry, "fresh", 60'000);
  const auto session = peer->next_session();
  peer->send(session, init);
  peer->send(session, FileSyncData{0, Bytes(30'000, std::byte{'a'})});
  while (peer->exchange()) {
  }
  peer->unplug();
  world.settle();
  {
    // Sent in one breath, without waiting to hear what is there already; and it is another content.
    TestPeer again(world);
    const auto answer = again.push(init, std::string(60'000, 'c'));
    EXPECT_EQ(answer.code, Errc::wrong_hash);
    EXPECT_EQ(again.push(init, std::string(60'000, 'c')).code, Errc::ok);
  }
  EXPECT_EQ(world.depot.content("fresh"), std::string(60'000, 'c'));
  EXPECT_EQ(world.depot.staged_count(), 0u);
}

TEST_F(BrokenPushTest, a_full_disk_at_any_step_leaves_the_old_content_or_the_new_one) {
  bool ended = false;
  for (std::uint64_t n = 1; !ended; ++n) {
    ASSERT_LT(n, 100u);
    SCOPED_TRACE(n);
    const auto before = *world.depot.content("file");
    const std::string content = "content of round " + std::to_string(n);
    const auto init = peer->init_over(*peer->find("file"), content.size());
    world.depot.fail_nth(n, ENOSPC);
    auto answer = peer->push(init, content);
    ended = !world.depot.fault_fired();
    world.depot.clear_faults();
    if (answer.code != Errc::ok) {
      EXPECT_TRUE(world.depot.content("file") == before || world.depot.content("file") == content);
      if (peer->closed()) {
        // Only a recovery can tell what has happened.
        world.kill();
        ASSERT_TRUE(world.start()) << world.open_error;
        peer = std::make_unique<TestPeer>(world);
        while (peer->next_operation().id < init.operation.id) {
        }
      } else {
        EXPECT_TRUE(answer.code == Errc::no_space || retry(answer.code)) << answer.sentence;
      }
      answer = peer->push(init, content);
      EXPECT_EQ(answer.code, Errc::ok) << answer.sentence;
    }
    EXPECT_EQ(world.depot.content("file"), content);
  }
  EXPECT_EQ(world.depot.staged_count(), 0u);
}

TEST_F(BrokenPushTest, what_is_left_of_a_broken_push_goes_in_time) {
  const auto session = peer->next_session();
  peer->send(session, peer->init_new(kRootEntry, "fresh", 60'000));
  peer->send(session, FileSyncData{0, Bytes(30'000, std::byte{'a'})});
  while (peer->exchange()) {
  }
  peer->unplug();
  world.settle();
  ASSERT_EQ(world.depot.staged_count(), 1u);
  world.clock.pass(std::chrono::hours(2));
  EXPECT_LE(world.service->next_deadline(), world.clock.now());
  world.service->advance(world.clock.now());
  world.settle();
  EXPECT_EQ(world.depot.staged_count(), 0u);
  EXPECT_EQ(world.service->next_deadline(), kNever);
}

}  // namespace
}  // namespace ebb::test
