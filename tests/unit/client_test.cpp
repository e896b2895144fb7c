// The client core against the server core: what a user of one mount is promised.
#include "fusefs/core/client.h"

#include <gtest/gtest.h>

#include "fusefs/core/neighbours.h"
#include "fusefs/core/pulls.h"
#include "tests/sim/hands.h"
#include "tests/support/fake_kernel_files.h"

namespace ebb::test {
namespace {

std::string text(std::size_t size, char first = 'a') {
  std::string out(size, first);
  for (std::size_t i = 0; i < size; ++i) out[i] = static_cast<char>('a' + (i * 7 + i / 251) % 26);
  if (size != 0) out[0] = first;
  return out;
}

int errno_value(const Error& error) {
  return error.code.value();
}

struct ClientTest : ::testing::Test {
  Hands world{1, 2};

  void SetUp() override {
    world.depot.make_folder("docs");
    world.depot.write("docs/a", "hello");
    world.depot.write("big", text(3 << 20));
    ASSERT_TRUE(world.start_client(0)) << world.last_error;
    ASSERT_TRUE(world.start_client(1)) << world.last_error;
    world.settle();
  }
};

TEST_F(ClientTest, KnowsItsTreeAfterTheFirstHandshake) {
  EXPECT_FALSE(world.client().needs_server());
  EXPECT_TRUE(world.client().status().connected);
}

TEST_F(ClientTest, ListsWithoutPullingAnything) {
  const auto entries = world.list(0, kRootNode);
  ASSERT_TRUE(entries) << entries.error().message();
  ASSERT_EQ(entries->size(), 2u);
  EXPECT_EQ(world.attribute(0, "big", "status"), "remote");
  EXPECT_EQ(world.attribute(0, "big", "progress"), "0/" + std::to_string(3 << 20));
}

TEST_F(ClientTest, AListingForTheFirstTimeTellsTheKernelOfNoName) {
  ASSERT_TRUE(world.list(0, kRootNode));
  EXPECT_EQ(world.machine().kernel.told_of_names, 0u);
  // What comes later contradicts what the kernel has seen.
  ASSERT_TRUE(world.write(1, "later", "x"));
  ASSERT_TRUE(world.run_until_quiet());
  EXPECT_GT(world.machine().kernel.told_of_names, 0u);
}

TEST_F(ClientTest, AfterALongAbsenceOnlyWhatDiffersIsListedAgain) {
  world.changes_max = 10;
  world.end_server();
  ASSERT_TRUE(world.start_server());
  for (int i = 0; i < 400; ++i) {
    const auto folder = "many/" + std::to_string(i % 20);
    world.depot.make_folder("many");
    world.depot.make_folder(folder);
    world.depot.write(folder + "/" + std::to_string(i), "x");
  }
  world.pass(std::chrono::seconds(5));
  const auto before = world.tree(0);
  ASSERT_EQ(before.size(), 424u);
  world.plug(0, false);
  for (int i = 0; i < 30; ++i) ASSERT_TRUE(world.write(1, "docs/" + std::to_string(i), "new"));
  ASSERT_TRUE(world.unlink(1, "docs/a"));
  ASSERT_TRUE(world.write(1, "many/7/7", "other"));
  world.pass(std::chrono::seconds(20));
  world.plug(0, true);
  world.pass(std::chrono::seconds(20));
  for (const auto& peer : world.service->status().peers) {
    if (peer.name != "host0") continue;
    EXPECT_LT(peer.bytes_out, 12'000u);
  }
  EXPECT_EQ(world.tree(0).size(), before.size() + 29);
  EXPECT_EQ(world.read(0, "many/7/7").value_or("?"), "other");
  EXPECT_FALSE(world.read(0, "docs/a"));
}

TEST_F(ClientTest, ReadsWhatTheServerHasAndBecomesSync) {
  EXPECT_EQ(world.read(0, "docs/a").value_or("?"), "hello");
  EXPECT_EQ(world.attribute(0, "docs/a", "status"), "sync");
  EXPECT_EQ(world.read(0, "big").value_or("?"), text(3 << 20));
  world.settle();
  EXPECT_EQ(world.attribute(0, "big", "status"), "sync");
}

TEST_F(ClientTest, TheKernelKeepsItsPagesOfAFileUntilItsContentIsAnother) {
  // As the kernel does, the node is held between its openings.
  const auto node = world.ask<fusefs::Attributes>(
      [&](auto reply) { world.client().lookup(kRootNode, "big", std::move(reply)); });
  ASSERT_TRUE(node);
  const auto keeps_pages = [&] {
    auto opened = world.ask<fusefs::OpenFile>(
        [&](auto reply) { world.client().open(node->node, O_RDONLY, std::move(reply)); });
    if (!opened) return std::string("not opened");
    auto read = world.read_all(0, opened->handle);
    world.client().release(opened->handle);
    return std::string(opened->keep_cache ? "kept " : "dropped ") + (read ? read->at(0) : '?');
  };
  EXPECT_EQ(keeps_pages(), "kept a");
  EXPECT_EQ(keeps_pages(), "kept a");
  ASSERT_TRUE(world.write(1, "big", text(100, 'n')));
  ASSERT_TRUE(world.run_until_quiet());
  EXPECT_EQ(keeps_pages(), "dropped n");
  EXPECT_EQ(keeps_pages(), "kept n");
  ASSERT_TRUE(world.set_status(0, "big", "remote"));
  EXPECT_EQ(keeps_pages(), "dropped n");
  EXPECT_EQ(keeps_pages(), "kept n");
}

TEST(Neighbours, WhoReadsAFolderFileByFileGetsTheNextOnesBeforeAskingForThem) {
  Hands world{1, 1};
  world.depot.make_folder("docs");
  for (int i = 0; i < 40; ++i) world.depot.write("docs/n" + std::to_string(100 + i), "content");
  world.depot.write("docs/n120", text(fusefs::kSmallFile + 1));
  ASSERT_TRUE(world.start_client(0)) << world.last_error;
  world.settle();
  const auto entries = world.list(0, *world.find(0, "docs"));
  ASSERT_TRUE(entries);
  std::vector<std::string> names;
  for (const auto& entry : *entries) names.push_back("docs/" + entry.name);
  const auto here = [&] {
    return std::count_if(names.begin(), names.end(), [&](const std::string& name) {
      return world.attribute(0, name, "status") == "sync";
    });
  };
  // A look at a few brings those alone.
  for (unsigned i = 0; i + 1 < fusefs::kNeighbourRun; ++i) ASSERT_TRUE(world.read(0, names[i]));
  world.settle();
  EXPECT_EQ(here(), fusefs::kNeighbourRun - 1);
  for (unsigned i = 0; i < 2 * fusefs::kNeighbourRun; ++i) ASSERT_TRUE(world.read(0, names[i + 4]));
  world.settle();
  EXPECT_GT(here(), 3 * fusefs::kNeighbourRun);
  for (const auto& name : names) ASSERT_TRUE(world.read(0, name));
  EXPECT_EQ(world.attribute(0, "docs/n120", "status"), "sync");
}

TEST_F(ClientTest, ARangeFarInsideComesWithoutWhatLiesBefore) {
  const auto node = world.find(0, "big");
  ASSERT_TRUE(node);
  auto opened = world.ask<fusefs::OpenFile>(
      [&](auto reply) { world.client().open(*node, O_RDONLY, std::move(reply)); });
  ASSERT_TRUE(opened);
  auto piece = world.ask<fusefs::Piece>(
      [&](auto reply) { world.client().read(opened->handle, 2 << 20, 4096, std::move(reply)); });
  ASSERT_TRUE(piece) << piece.error().message();
  EXPECT_EQ(piece->size, 4096u);
  EXPECT_EQ(world.attribute(0, "big", "progress"), "4096/" + std::to_string(3 << 20));
  EXPECT_EQ(world.attribute(0, "big", "status"), "remote");
  world.client().release(opened->handle);
}

TEST_F(ClientTest, WritesReachTheServerAfterTheDelayAndTheOtherClient) {
  ASSERT_TRUE(world.make_folder(0, "new"));
  ASSERT_TRUE(world.write(0, "new/file", "content"));
  EXPECT_FALSE(world.depot.exists("new/file"));
  world.pass(std::chrono::seconds(4));
  EXPECT_FALSE(world.depot.exists("new/file"));
  world.pass(std::chrono::seconds(2));
  EXPECT_EQ(world.depot.content("new/file").value_or("?"), "content");
  EXPECT_EQ(world.attribute(0, "new/file", "state"), "clean");
  EXPECT_EQ(world.read(1, "new/file").value_or("?"), "content");
}

TEST_F(ClientTest, AnOverwriteIsTheNextVersion) {
  ASSERT_TRUE(world.write(0, "docs/a", "second"));
  ASSERT_TRUE(world.run_until_quiet());
  EXPECT_EQ(world.depot.content("docs/a").value_or("?"), "second");
  EXPECT_EQ(world.read(1, "docs/a").value_or("?"), "second");
  ASSERT_TRUE(world.write(1, "docs/a", "third"));
  ASSERT_TRUE(world.run_until_quiet());
  EXPECT_EQ(world.read(0, "docs/a").value_or("?"), "third");
}

/// The placeholder "big" of the first client, written in parts.
struct PartsTest : ClientTest {
  std::string expected = text(3 << 20);

  void write_at(std::uint64_t offset, const std::string& part) {
    const auto node = world.find(0, "big");
    ASSERT_TRUE(node);
    auto opened = world.ask<fusefs::OpenFile>(
        [&](auto reply) { world.client().open(*node, O_RDWR, std::move(reply)); });
    ASSERT_TRUE(opened);
    ASSERT_TRUE(world.client().write(opened->handle, offset, as_bytes(part), false));
    world.client().release(opened->handle);
    if (expected.size() < offset + part.size()) expected.resize(offset + part.size());
    expected.replace(offset, part.size(), part);
  }
  void cut(std::size_t size) {
    const auto node = world.find(0, "big");
    ASSERT_TRUE(node);
    fusefs::AttributeChange change;
    change.size = size;
    ASSERT_TRUE(world.ask<fusefs::Attributes>([&](auto reply) {
      world.client().set_attributes(*node, std::nullopt, change, std::move(reply));
    }));
    expected.resize(size);
  }
  void expect_pushed(std::uint64_t here) {
    ASSERT_TRUE(world.run_until_quiet());
    EXPECT_TRUE(world.depot.content("big") == expected);
    EXPECT_EQ(world.attribute(0, "big", "progress"),
              std::to_string(here) + "/" + std::to_string(expected.size()));
    EXPECT_EQ(world.attribute(0, "big", "status"), "sync");
  }
  void expect_same_everywhere() {
    for (const std::size_t i : {0, 1}) {
      EXPECT_TRUE(world.read(i, "big").value_or("unread") == expected) << i;
    }
  }
};

TEST_F(PartsTest, APlaceholderThatIsWrittenIsPushedWithoutBeingFetched) {
  write_at(1 << 20, "XYZ");
  EXPECT_EQ(world.attribute(0, "big", "status"), "sync");
  expect_pushed(3);
  write_at(2 << 20, "further");
  expect_pushed(10);
  expect_same_everywhere();
}

TEST_F(PartsTest, APlaceholderThatIsCutAndExtendedIsPushedWithoutBeingFetched) {
  cut(1 << 20);
  expect_pushed(0);
  cut((1 << 20) + 1000);
  write_at((1 << 20) + 2000, "behind the end");
  expect_pushed(2014);
  expect_same_everywhere();
}

TEST_F(PartsTest, WhatWasWrittenBeforeACrashIsPushedAfterIt) {
  write_at(1 << 20, "XYZ");
  world.kill_client(0);
  ASSERT_TRUE(world.start_client(0)) << world.last_error;
  write_at(4096, "and more");
  expect_pushed(11);
  expect_same_everywhere();
}

TEST_F(PartsTest, AConnectionThatBreaksBeforeTheReceiptChangesNothing) {
  for (int round = 0; round < 40; ++round) {
    write_at(static_cast<std::uint64_t>(round) * 70'000, "round " + std::to_string(round));
    world.cut_one_in = 4;
    world.pass(std::chrono::seconds(6));
    if (round % 2 == 0) write_at(static_cast<std::uint64_t>(round) * 70'000, "once more");
    world.pass(std::chrono::seconds(6));
    world.cut_one_in = 0;
    ASSERT_TRUE(world.run_until_quiet());
    ASSERT_TRUE(world.depot.content("big") == expected) << round;
  }
  expect_same_everywhere();
}

TEST_F(PartsTest, WhoReadsTheRestWhileThePushLandsGetsIt) {
  const auto node = world.find(0, "big");
  ASSERT_TRUE(node);
  for (std::uint64_t round = 0; round < 30; ++round) {
    world.delay_max = std::chrono::milliseconds(round);
    write_at(round * 1000, "x");
    world.pass(std::chrono::seconds(5));
    auto opened = world.ask<fusefs::OpenFile>(
        [&](auto reply) { world.client().open(*node, O_RDONLY, std::move(reply)); });
    ASSERT_TRUE(opened);
    auto piece = world.ask<fusefs::Piece>([&](auto reply) {
      world.client().read(opened->handle, (1 << 20) + round * 8192, 4096, std::move(reply));
    });
    EXPECT_TRUE(piece) << piece.error().message();
    world.client().release(opened->handle);
  }
  ASSERT_TRUE(world.run_until_quiet());
  expect_same_everywhere();
}

TEST_F(PartsTest, ManyPartsArePutTogether) {
  const auto node = world.find(0, "big");
  ASSERT_TRUE(node);
  auto held = world.ask<fusefs::OpenFile>(
      [&](auto reply) { world.client().open(*node, O_RDONLY, std::move(reply)); });
  ASSERT_TRUE(held);
  for (std::uint64_t part = 0; part < 1500; ++part) {
    write_at(part * 2000 + part % 7 * 100, "!");
    if (part % 100 == 99) world.settle();
    if (HasFatalFailure()) return;
  }
  const auto progress = world.attribute(0, "big", "progress");
  EXPECT_GT(std::stoul(progress), 256u * 1000);
  EXPECT_LT(std::stoul(progress), expected.size());
  world.client().release(held->handle);
  ASSERT_TRUE(world.run_until_quiet());
  EXPECT_TRUE(world.depot.content("big") == expected);
  expect_same_everywhere();
}

TEST_F(ClientTest, RenamesAndDeletionsReachTheServer) {
  ASSERT_TRUE(world.rename(0, "docs/a", "b"));
  ASSERT_TRUE(world.unlink(0, "big"));
  ASSERT_TRUE(world.remove_folder(0, "docs"));
  ASSERT_TRUE(world.run_until_quiet());
  const std::map<std::string, std::string> expected{{"b", "hello"}};
  EXPECT_EQ(world.depot.tree(), expected);
  EXPECT_FALSE(world.find(1, "docs/a"));
}

TEST_F(ClientTest, OfflineEverythingGoesOnAndIsPushedLater) {
  ASSERT_EQ(world.read(0, "docs/a").value_or("?"), "hello");
  world.plug(0, false);
  world.pass(std::chrono::seconds(60));
  const auto away = world.read(0, "big");
  ASSERT_FALSE(away);
  EXPECT_EQ(errno_value(away.error()), EHOSTDOWN);
  EXPECT_EQ(world.read(0, "docs/a").value_or("?"), "hello");
  ASSERT_TRUE(world.write(0, "docs/c", "offline", true));
  world.end_client(0);
  ASSERT_TRUE(world.start_client(0)) << world.last_error;
  EXPECT_EQ(world.read(0, "docs/c").value_or("?"), "offline");
  world.plug(0, true);
  ASSERT_TRUE(world.run_until_quiet());
  EXPECT_EQ(world.depot.content("docs/c").value_or("?"), "offline");
}

TEST_F(ClientTest, BehindTheChangeLogEveryKnownFolderIsComparedAndShownMeanwhile) {
  ASSERT_TRUE(world.list(0, kRootNode));
  ASSERT_TRUE(world.list(0, *world.find(0, "docs")));
  world.plug(0, false);
  world.changes_max = 5;
  world.end_server();
  ASSERT_TRUE(world.start_server());
  ASSERT_TRUE(world.unlink(1, "docs/a"));
  ASSERT_TRUE(world.make_folder(1, "docs/more"));
  ASSERT_TRUE(world.write(1, "docs/b", "new"));
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(world.write(1, "n" + std::to_string(i), "x"));
  world.pass(std::chrono::seconds(20));
  // The server is met, and goes before it has told anything.
  world.plug(0, true);
  while (!world.client(0).status().connected) world.pass(std::chrono::milliseconds(10));
  world.plug(0, false);
  world.pass(std::chrono::seconds(60));
  ASSERT_TRUE(world.list(0, kRootNode));
  ASSERT_TRUE(world.list(0, *world.find(0, "docs"))) << "a folder that was known";
  world.kill_client(0);
  ASSERT_TRUE(world.start_client(0));
  ASSERT_TRUE(world.list(0, *world.find(0, "docs"))) << "a folder that was known";
  world.plug(0, true);
  ASSERT_TRUE(world.run_until_quiet());
  std::set<std::string> names;
  for (const auto& [path, shown] : world.tree(0)) names.insert(path);
  std::set<std::string> expected;
  for (const auto& [path, content] : world.depot.tree()) expected.insert(path);
  EXPECT_EQ(names, expected);
}

TEST_F(ClientTest, ConcurrentChangesAreAConflictAndNeitherIsLost) {
  ASSERT_EQ(world.read(0, "docs/a").value_or("?"), "hello");
  ASSERT_EQ(world.read(1, "docs/a").value_or("?"), "hello");
  world.plug(0, false);
  ASSERT_TRUE(world.write(0, "docs/a", "mine"));
  ASSERT_TRUE(world.write(1, "docs/a", "theirs"));
  world.pass(std::chrono::seconds(10));
  world.plug(0, true);
  ASSERT_TRUE(world.run_until_quiet());
  EXPECT_EQ(world.depot.content("docs/a").value_or("?"), "theirs");
  for (std::size_t i = 0; i < 2; ++i) {
    std::set<std::string> contents;
    for (const auto& [path, shown] : world.tree(i)) {
      if (path.starts_with("docs/a")) contents.insert(shown.content);
      EXPECT_EQ(shown.state, store::State::clean) << path;
    }
    EXPECT_EQ(contents, (std::set<std::string>{"mine", "theirs"})) << "at client " << i;
    EXPECT_EQ(world.read(i, "docs/a").value_or("?"), "theirs");
  }
}

TEST_F(ClientTest, WhatWaitsSaysWhy) {
  ASSERT_EQ(world.read(0, "docs/a").value_or("?"), "hello");
  world.plug(0, false);
  world.pass(std::chrono::seconds(2));
  ASSERT_TRUE(world.write(0, "docs/a", "mine"));
  EXPECT_TRUE(
      world.attribute(0, "docs/a", "state").starts_with("waiting the server is out of reach"))
      << world.attribute(0, "docs/a", "state");
}

TEST_F(ClientTest, AFileThatNeverStopsChangingIsPushedAllTheSame) {
  // The link takes its time, so that every push is overtaken by a change.
  world.delay_max = std::chrono::milliseconds(300);
  std::string log = text(2 << 20);
  ASSERT_TRUE(world.write(0, "log", log));
  const auto node = world.find(0, "log");
  ASSERT_TRUE(node);
  const auto opened = world.ask<fusefs::OpenFile>(
      [&](auto reply) { world.client().open(*node, O_WRONLY, std::move(reply)); });
  ASSERT_TRUE(opened);
  const auto change = [&](std::size_t i) {
    log[i] = 'X';
    EXPECT_TRUE(world.client().write(opened->handle, i, as_bytes("X"), false));
    world.pass(std::chrono::milliseconds(100));
  };
  std::size_t changes = 0;
  while (!world.depot.facts_of("log") && changes < 2000) change(changes++);
  EXPECT_LT(changes, 2000u) << "it is not on the server after 200 s";
  EXPECT_GT(changes, 500u) << "before its deadline it is left alone while it changes";
  world.client().release(opened->handle);
  ASSERT_TRUE(world.run_until_quiet());
  EXPECT_EQ(world.depot.tree()["log"], log);
}

TEST_F(ClientTest, SyncToRemoteDropsOnlyWhatTheServerHas) {
  ASSERT_TRUE(world.write(0, "docs/n", "new"));
  auto done = world.set_status(0, "docs/n", "remote\n");
  ASSERT_TRUE(done) << done.error().message();
  EXPECT_EQ(world.depot.content("docs/n").value_or("?"), "new");
  EXPECT_EQ(world.attribute(0, "docs/n", "status"), "remote");
  EXPECT_EQ(world.attribute(0, "docs/n", "progress"), "0/3");
  EXPECT_EQ(world.read(0, "docs/n").value_or("?"), "new");
  world.plug(0, false);
  world.pass(std::chrono::seconds(5));
  ASSERT_TRUE(world.write(0, "docs/n", "newer"));
  done = world.set_status(0, "docs/n", "remote");
  ASSERT_FALSE(done);
  EXPECT_EQ(errno_value(done.error()), EHOSTDOWN);
  EXPECT_EQ(world.read(0, "docs/n").value_or("?"), "newer");
}

TEST_F(ClientTest, RefusedTransitionsChangeNothing) {
  const struct {
    const char* path;
    const char* word;
    int error;
  } cases[] = {{"docs/a", "nonsense", EINVAL}, {"docs/a", "syncmore", EINVAL},
               {"docs/a", "local", EPERM},     {"docs", "sync", EINVAL},
               {"", "remote", EPERM},          {"", "local", EPERM}};
  for (const auto& one : cases) {
    const std::string before = world.attribute(0, one.path, "status");
    const auto done = world.set_status(0, one.path, one.word);
    ASSERT_FALSE(done) << one.path << " " << one.word;
    EXPECT_EQ(errno_value(done.error()), one.error) << one.path << " " << one.word;
    EXPECT_EQ(world.attribute(0, one.path, "status"), before);
  }
}

TEST_F(ClientTest, AHandleOnAVersionThatIsGoneIsStaleAndNeverAMixture) {
  const auto node = world.find(0, "big");
  ASSERT_TRUE(node);
  auto opened = world.ask<fusefs::OpenFile>(
      [&](auto reply) { world.client().open(*node, O_RDONLY, std::move(reply)); });
  ASSERT_TRUE(opened);
  const auto part = [&](std::uint64_t offset) {
    return world.ask<fusefs::Piece>(
        [&](auto reply) { world.client().read(opened->handle, offset, 4096, std::move(reply)); });
  };
  ASSERT_TRUE(part(0));
  ASSERT_TRUE(world.write(1, "big", "other"));
  ASSERT_TRUE(world.run_until_quiet());
  EXPECT_TRUE(part(0));
  const auto gone = part(1 << 20);
  ASSERT_FALSE(gone);
  EXPECT_EQ(errno_value(gone.error()), ESTALE);
  world.client().release(opened->handle);
  EXPECT_EQ(world.read(0, "big").value_or("?"), "other");
}

TEST_F(ClientTest, AHandleOnAFileThatAnotherTookThePlaceOfBeforeAnyOfItCameIsStaleAtOnce) {
  world.service->watch_outside();
  ASSERT_TRUE(world.list(0, kRootNode));
  ASSERT_TRUE(world.read(0, "docs/a"));
  const auto node = world.find(0, "big");
  ASSERT_TRUE(node);
  auto opened = world.ask<fusefs::OpenFile>(
      [&](auto reply) { world.client().open(*node, O_RDONLY, std::move(reply)); });
  ASSERT_TRUE(opened);
  world.depot.move("docs/a", "big");
  world.service->look_outside();
  ASSERT_TRUE(world.run_until_quiet());
  const Time before = world.clock.now();
  const auto piece = world.ask<fusefs::Piece>(
      [&](auto reply) { world.client().read(opened->handle, 0, 4096, std::move(reply)); });
  ASSERT_FALSE(piece);
  EXPECT_EQ(errno_value(piece.error()), ESTALE);
  EXPECT_LT(world.clock.now() - before, std::chrono::seconds(2));
  world.client().release(opened->handle);
  EXPECT_EQ(world.read(0, "big").value_or("?"), "hello");
}

TEST_F(ClientTest, AReadWithoutAnAnswerTimesOutAndCanBeInterrupted) {
  const auto node = world.find(0, "big");
  ASSERT_TRUE(node);
  auto opened = world.ask<fusefs::OpenFile>(
      [&](auto reply) { world.client().open(*node, O_RDONLY, std::move(reply)); });
  ASSERT_TRUE(opened);
  world.service.reset();  // it neither answers nor hangs up
  world.executor.clear();
  std::optional<Result<fusefs::Piece>> first, second;
  world.client().read(opened->handle, 0, 4096, [&](auto result) { first = std::move(result); });
  const auto ticket = world.client().read(opened->handle, 0, 4096,
                                          [&](auto result) { second = std::move(result); });
  ASSERT_NE(ticket, 0u);
  world.client().interrupt(ticket);
  ASSERT_TRUE(second);
  EXPECT_EQ(errno_value(second->error()), EINTR);
  world.clock.pass(std::chrono::seconds(29));
  world.client().advance();
  EXPECT_FALSE(first);
  world.clock.pass(std::chrono::seconds(2));
  world.client().advance();
  ASSERT_TRUE(first);
  EXPECT_EQ(errno_value(first->error()), ETIMEDOUT);
  world.client().release(opened->handle);
  world.machine().peer.reset();
  world.machine(1).peer.reset();
}

TEST_F(ClientTest, WhatWasFsyncedSurvivesAPowerCutAndIsPushed) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    const std::string name = "kept" + std::to_string(seed);
    ASSERT_TRUE(world.write(0, name, text(20000, 'Z'), true));
    world.cut_client_power(0, seed);
    ASSERT_TRUE(world.start_client(0)) << world.last_error;
    EXPECT_TRUE(world.read(0, name).value_or("?") == text(20000, 'Z')) << seed;
  }
  ASSERT_TRUE(world.run_until_quiet());
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    EXPECT_TRUE(world.depot.content("kept" + std::to_string(seed)) == text(20000, 'Z')) << seed;
  }
}

TEST_F(ClientTest, WaitAnswersWhenItIsOnTheServer) {
  ASSERT_TRUE(world.write(0, "w", "x"));
  auto done =
      world.ask<void>([&](auto reply) { world.client().wait(kRootNode, std::move(reply)); });
  EXPECT_TRUE(done);
  EXPECT_EQ(world.depot.content("w").value_or("?"), "x");
}

/// The file "big" is here, and the kernel writes it without us.
struct PassthroughTest : ClientTest {
  FakeKernelFiles files{world.machine().io, world.clock};

  void SetUp() override {
    world.machine().files = &files;
    world.machine().options.delay = std::chrono::seconds(1);
    ClientTest::SetUp();
    ASSERT_TRUE(world.read(0, "big"));
    world.settle();
  }
  void TearDown() override {
    for (std::size_t i = 0; i < 2; ++i) world.end_client(i);
  }
  fusefs::OpenFile open(int flags) {
    auto opened = world.ask<fusefs::OpenFile>(
        [&](auto reply) { world.client().open(*world.find(0, "big"), flags, std::move(reply)); });
    EXPECT_TRUE(opened);
    return opened ? *opened : fusefs::OpenFile{};
  }
  std::string on_server(std::size_t first) {
    return world.depot.content("big").value_or("?").substr(0, first);
  }
};

TEST_F(PassthroughTest, TheFirstOpeningDecidesUntilTheLastRelease) {
  const auto writer = open(O_RDWR);
  EXPECT_NE(writer.backing, 0);
  const auto reader = open(O_RDONLY);
  EXPECT_EQ(reader.backing, writer.backing);
  world.client().release(writer.handle);
  EXPECT_EQ(open(O_RDONLY).backing, writer.backing);
  EXPECT_EQ(files.handed_out(), 1u);
}

TEST_F(PassthroughTest, WhoOpensASmallFileGoesThroughUs) {
  ASSERT_TRUE(world.read(0, "docs/a"));
  auto opened = world.ask<fusefs::OpenFile>(
      [&](auto reply) { world.client().open(*world.find(0, "docs/a"), O_RDWR, std::move(reply)); });
  ASSERT_TRUE(opened);
  EXPECT_EQ(opened->backing, 0);
  world.client().release(opened->handle);
}

TEST_F(PassthroughTest, WhatIsStoredWhileItStaysOpenIsPushed) {
  const auto path = files.map(open(O_RDWR).backing);
  for (const std::string word : {"one", "two", "six"}) {
    files.store(path, 0, word, false);
    world.pass(std::chrono::seconds(5));
    EXPECT_EQ(on_server(3), word);
  }
}

TEST_F(PassthroughTest, WhatIsStoredBehindTheLastCloseIsPushedAndCountsAsOpen) {
  const auto opened = open(O_RDWR);
  const auto path = files.map(opened.backing);
  world.client().release(opened.handle);
  EXPECT_EQ(files.handed_out(), 0u);
  world.pass(std::chrono::seconds(5));
  files.store(path, 0, "late", false);
  world.pass(std::chrono::seconds(5));
  EXPECT_EQ(on_server(4), "late");
  EXPECT_FALSE(world.set_status(0, "big", "remote"));
  files.unmap(path);
  world.pass(std::chrono::seconds(5));
  EXPECT_TRUE(world.set_status(0, "big", "remote"));
}

TEST_F(PassthroughTest, WhatWasStoredAndSyncedUnseenSurvivesAPowerCut) {
  const auto path = files.map(open(O_RDWR).backing);
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    const std::string word = "msync" + std::to_string(seed);
    files.store(path, 0, word, true);
    world.cut_client_power(0, seed);
    files.unmap(path);
    ASSERT_TRUE(world.start_client(0)) << world.last_error;
    ASSERT_TRUE(world.run_until_quiet());
    EXPECT_EQ(on_server(word.size()), word);
    EXPECT_EQ(files.map(open(O_RDWR).backing), path);
  }
}

TEST_F(PassthroughTest, WhileTheDiskTakesItsTimeTheLinkServesOthers) {
  QueueExecutor disk;
  world.end_client(0);
  world.machine().executor = &disk;
  ASSERT_TRUE(world.start_client(0)) << world.last_error;
  const auto path = files.map(open(O_RDWR).backing);
  files.store(path, 0, "slow", false);
  world.pass(std::chrono::seconds(5));
  EXPECT_NE(on_server(4), "slow");
  ASSERT_TRUE(world.write(0, "docs/b", "quick"));
  world.pass(std::chrono::seconds(5));
  EXPECT_EQ(world.depot.content("docs/b").value_or("?"), "quick");
  ASSERT_TRUE(disk.run_one());
  world.client().advance();
  world.pass(std::chrono::seconds(5));
  EXPECT_EQ(on_server(4), "slow");
}

TEST_F(PassthroughTest, AMappingThatOutlivesTheClientIsWatchedByTheNext) {
  const auto path = files.map(open(O_RDWR).backing);
  world.kill_client(0);
  ASSERT_TRUE(world.start_client(0)) << world.last_error;
  ASSERT_TRUE(world.run_until_quiet());
  files.store(path, 0, "outlived", false);
  world.pass(std::chrono::seconds(5));
  EXPECT_EQ(on_server(8), "outlived");
}

TEST_F(PassthroughTest, AnotherClientsVersionLeavesOpenHandlesTheirFile) {
  const auto before = world.find(0, "big");
  const auto opened = open(O_RDONLY);
  ASSERT_TRUE(world.write(1, "big", text(100, 'n')));
  ASSERT_TRUE(world.run_until_quiet());
  EXPECT_EQ(world.read(0, "big").value_or("?"), text(100, 'n'));
  EXPECT_NE(world.find(0, "big").value_or(NodeId()), before.value_or(NodeId()));
  EXPECT_EQ(world.read_all(0, opened.handle).value_or("?"), text(3 << 20));
}

TEST_F(PassthroughTest, UnseenChangesAndAnotherClientsVersionAreBothKept) {
  const auto path = files.map(open(O_RDWR).backing);
  world.plug(0, false);
  ASSERT_TRUE(world.write(1, "big", text(100, 'n')));
  world.pass(std::chrono::seconds(5));
  files.store(path, 0, "mine", false);
  world.plug(0, true);
  world.pass(std::chrono::seconds(20));
  files.unmap(path);
  ASSERT_TRUE(world.run_until_quiet());
  std::set<std::string> kept;
  const auto entries = world.list(0, kRootNode);
  ASSERT_TRUE(entries);
  for (const auto& entry : *entries) {
    if (entry.name.starts_with("big")) {
      kept.insert(world.read(0, entry.name).value_or("?").substr(0, 4));
    }
  }
  EXPECT_EQ(kept, (std::set<std::string>{"mine", text(100, 'n').substr(0, 4)}));
}

}  // namespace
}  // namespace ebb::test
