// Landings on a real directory while another program is at the same names: nothing of either side
// is lost, and nothing outside the tree is touched.
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <thread>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/errors.h"
#include "server/core/directory_depot.h"

namespace ebb::test {
namespace {

using namespace server;
namespace fs = std::filesystem;

class LandingRace : public ::testing::Test {
 protected:
  void SetUp() override {
    char pattern[] = "/tmp/ebb-race-XXXXXX";
    top = ::mkdtemp(pattern);
    root = top + "/root";
    fs::create_directory(root);
    auto opened = DirectoryDepot::open(root);
    ASSERT_TRUE(opened);
    depot = std::move(*opened);
  }
  void TearDown() override {
    stop();
    fs::remove_all(top);
  }
  void stop() {
    enough = true;
    if (other.joinable()) other.join();
  }
  bool stage(std::uint64_t number, const std::string& content) {
    auto file = depot->stage_file(number);
    return file && (*file)->write_at(0, as_bytes(content));
  }
  /// In the other program's loop: now and then it lets us have some undisturbed tries.
  void give_way(int turn) {
    if (turn % 8 != 0) return;
    for (const auto until = tries + 4; tries < until && !enough;) std::this_thread::yield();
  }
  static void write(const std::string& path, const std::string& content) {
    std::ofstream(path) << content;
  }
  /// Every content beneath a folder.
  static std::multiset<std::string> contents(const std::string& folder) {
    std::multiset<std::string> out;
    for (const auto& found : fs::recursive_directory_iterator(folder)) {
      if (!found.is_regular_file() || found.is_symlink()) continue;
      std::ifstream in(found.path());
      out.insert(std::string(std::istreambuf_iterator<char>(in), {}));
    }
    return out;
  }

  std::string top;
  std::string root;
  std::unique_ptr<DirectoryDepot> depot;
  std::atomic<bool> enough = false;
  std::atomic<int> turns = 0;
  std::atomic<int> tries = 0;
  std::thread other;
};

/// The program puts aside what it finds before it puts its next content there.
TEST_F(LandingRace, nothing_is_lost_when_a_program_replaces_the_same_name) {
  const std::string path = root + "/file";
  write(path, "at first");
  std::set<std::string> of_program;
  other = std::thread([&] {
    for (int i = 0; !enough; ++i) {
      const std::string content = "program " + std::to_string(i);
      write(path + ".tmp", content);
      of_program.insert(content);
      // One step: its content stands there, and what stood there is its own name's.
      ::renameat2(AT_FDCWD, (path + ".tmp").c_str(), AT_FDCWD, path.c_str(), RENAME_EXCHANGE);
      ::rename((path + ".tmp").c_str(), (path + ".kept" + std::to_string(i)).c_str());
      give_way(i);
    }
  });
  std::set<std::string> of_clients{"at first"};
  int landed = 0;
  const Spot spot{{"", {}}, "file"};
  for (std::uint64_t i = 1; landed < 200; ++i, ++tries) {
    ASSERT_LT(i, 1'000'000u);
    const std::string content = "client " + std::to_string(i);
    auto seen = depot->stat(spot);
    if (!seen) continue;
    ASSERT_TRUE(stage(i, content));
    auto done = depot->land_over(i, spot, *seen, i);
    if (done) {
      ++landed;
      of_clients.insert(content);
    } else {
      ASSERT_EQ(done.error().code, proto::Errc::moved_on) << done.error().message();
      ASSERT_TRUE(depot->unstage(i));
    }
  }
  stop();
  const auto found = contents(root);
  for (const auto& content : of_clients) EXPECT_EQ(found.count(content), 1u) << content;
  for (const auto& content : of_program) EXPECT_EQ(found.count(content), 1u) << content;
}

TEST_F(LandingRace, nothing_is_lost_when_a_program_replaces_what_is_being_removed) {
  const std::string path = root + "/file";
  write(path, "at first");
  std::set<std::string> all{"at first"};
  other = std::thread([&] {
    for (int i = 0; !enough; ++i) {
      const std::string content = "program " + std::to_string(i);
      write(path + ".tmp", content);
      all.insert(content);
      if (::renameat2(AT_FDCWD, (path + ".tmp").c_str(), AT_FDCWD, path.c_str(), RENAME_EXCHANGE) ==
          0) {
        ::rename((path + ".tmp").c_str(), (path + ".kept" + std::to_string(i)).c_str());
      } else {
        ::renameat2(AT_FDCWD, (path + ".tmp").c_str(), AT_FDCWD, path.c_str(), RENAME_NOREPLACE);
        ::rename((path + ".tmp").c_str(), (path + ".kept" + std::to_string(i)).c_str());
      }
      give_way(i);
    }
  });
  const Spot spot{{"", {}}, "file"};
  int removed = 0;
  for (std::uint64_t i = 1; removed < 100; ++i, ++tries) {
    ASSERT_LT(i, 1'000'000u);
    auto seen = depot->stat(spot);
    if (!seen) continue;
    if (depot->remove(spot, *seen, i)) ++removed;
  }
  stop();
  const auto found = contents(root);
  for (const auto& content : all) EXPECT_EQ(found.count(content), 1u) << content;
}

/// A folder that turns into a symlink to a place outside, and back, all the time.
TEST_F(LandingRace, nothing_goes_through_a_symlink_swapped_in) {
  const std::string outside = top + "/outside";
  fs::create_directory(outside);
  write(outside + "/victim", "not ours");
  fs::create_directory(root + "/folder");
  write(root + "/folder/victim", "ours");
  write(root + "/mine", "mine");
  fs::create_symlink(outside, root + "/trap");
  other = std::thread([&] {
    while (!enough) {
      ::renameat2(AT_FDCWD, (root + "/folder").c_str(), AT_FDCWD, (root + "/trap").c_str(),
                  RENAME_EXCHANGE);
      ++turns;
    }
  });
  const FolderRef folder{"folder", {}};
  const Spot victim{folder, "victim"}, mine{{"", {}}, "mine"}, moved{{"", {}}, "moved"};
  // What has gone away comes back in the end, when the folder is one.
  const auto insist = [](const auto& step) {
    bool done = step();
    for (int again = 0; !done && again < 100'000; ++again) done = step();
    EXPECT_TRUE(done);
  };
  proto::Attributes attributes;
  attributes.mode = 0777;
  std::uint64_t done = 0;
  for (std::uint64_t i = 1; i < 1000 || turns < 100 || done == 0; ++i) {
    ASSERT_LT(i, 1'000'000u);
    auto seen = depot->stat(victim);
    if (seen) {
      EXPECT_EQ(seen->size, 4u);
    }
    if (auto read = depot->read_folder(folder)) {
      for (const auto& one : read->entries) EXPECT_NE(one.facts.size, 8u) << one.name;
    }
    if (auto file = depot->open(victim)) {
      EXPECT_EQ((*file)->facts()->size, 4u);
    }
    if (!seen) continue;
    (void)depot->set_attributes(victim, seen->identity, proto::kMode, attributes);
    if (auto now = depot->stat(victim)) {
      ASSERT_TRUE(stage(i, "ours"));
      auto landed = depot->land_over(i, victim, *now, i);
      landed ? ++done : 0;
      if (!landed) (void)depot->unstage(i);
    }
    const Spot linked{folder, "linked"};
    if (depot->link(victim, seen->identity, linked)) {
      insist([&] {
        auto there = depot->stat(linked);
        return there && depot->remove(linked, *there, i | (1u << 29)).has_value();
      });
    }
    const auto now = depot->stat(victim);
    if (now && depot->rename(victim, now->identity, moved)) {
      insist([&] { return depot->rename(moved, now->identity, victim).has_value(); });
    }
    const auto ours = depot->stat(mine);
    if (now && ours && depot->exchange(victim, now->identity, mine, ours->identity)) {
      insist(
          [&] { return depot->exchange(victim, ours->identity, mine, now->identity).has_value(); });
    }
    const Spot fresh{folder, "fresh"};
    ASSERT_TRUE(stage(i | (1u << 30), "new"));
    if (auto made = depot->land_new(i | (1u << 30), fresh)) {
      (void)depot->remove(fresh, made->after, i | (1u << 30));
      for (int again = 0; again < 1000 && depot->stat(fresh); ++again) {
        if (auto there = depot->stat(fresh)) (void)depot->remove(fresh, *there, i | (1u << 30));
      }
    }
    (void)depot->unstage(i | (1u << 30));
  }
  stop();
  std::vector<std::string> names;
  for (const auto& found : fs::directory_iterator(outside)) {
    names.push_back(found.path().filename());
  }
  EXPECT_EQ(names, std::vector<std::string>{"victim"});
  EXPECT_EQ(contents(outside), std::multiset<std::string>{"not ours"});
  struct stat facts {};
  ASSERT_EQ(::stat((outside + "/victim").c_str(), &facts), 0);
  EXPECT_NE(facts.st_mode & 0777u, 0777u);
}

}  // namespace
}  // namespace ebb::test
