// What every Depot promises; run on a real directory and on the fake.
#include "server/core/depot.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/conflict_name.h"
#include "base/xattrs.h"
#include "proto/errors.h"
#include "server/core/directory_depot.h"
#include "tests/support/fake_depot.h"

namespace ebb::test {
namespace {

using namespace server;
using proto::EntryKind;
namespace fs = std::filesystem;

/// A depot, and another program's hands on its tree.
class World {
 public:
  virtual ~World() = default;
  virtual Depot& depot() = 0;
  virtual void write(const std::string& path, const std::string& content) = 0;
  virtual void make_folder(const std::string& path) = 0;
  virtual void link(const std::string& from, const std::string& to) = 0;
  virtual std::optional<std::string> content(const std::string& path) = 0;
  virtual std::vector<std::string> history() = 0;
};

class FakeWorld final : public World {
 public:
  Depot& depot() override { return depot_; }
  void write(const std::string& path, const std::string& content) override {
    depot_.write(path, content);
  }
  void make_folder(const std::string& path) override { depot_.make_folder(path); }
  void link(const std::string& from, const std::string& to) override { depot_.hard_link(from, to); }
  std::optional<std::string> content(const std::string& path) override {
    return depot_.content(path);
  }
  std::vector<std::string> history() override { return depot_.history_contents(); }

 private:
  FakeDepot depot_;
};

class DirectoryWorld final : public World {
 public:
  explicit DirectoryWorld(bool exchanges) {
    char pattern[] = "/tmp/ebb-depot-XXXXXX";
    root_ = ::mkdtemp(pattern);
    auto opened = DirectoryDepot::open(root_);
    if (!opened) std::abort();
    depot_ = std::move(*opened);
    if (!exchanges) depot_->pretend_no_exchange();
  }
  ~DirectoryWorld() override { fs::remove_all(root_); }
  Depot& depot() override { return *depot_; }
  void write(const std::string& path, const std::string& content) override {
    std::ofstream(root_ + "/" + path) << content;
  }
  void make_folder(const std::string& path) override { fs::create_directory(root_ + "/" + path); }
  void link(const std::string& from, const std::string& to) override {
    fs::create_hard_link(root_ + "/" + from, root_ + "/" + to);
  }
  std::optional<std::string> content(const std::string& path) override {
    std::ifstream in(root_ + "/" + path);
    if (!in) return std::nullopt;
    return std::string(std::istreambuf_iterator<char>(in), {});
  }
  std::vector<std::string> history() override {
    std::vector<std::string> out;
    for (const auto& found : fs::recursive_directory_iterator(root_ + "/.ebbd/history")) {
      if (!found.is_regular_file()) continue;
      out.push_back(*content(fs::relative(found.path(), root_)));
    }
    return out;
  }
  const std::string& root() const { return root_; }

 private:
  std::string root_;
  std::unique_ptr<DirectoryDepot> depot_;
};

Spot at(const std::string& folder, const std::string& name) {
  return {{folder, {}}, name};
}

class DepotContract : public ::testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    if (GetParam() == 0) {
      world = std::make_unique<FakeWorld>();
    } else {
      world = std::make_unique<DirectoryWorld>(GetParam() == 1);
    }
    world->make_folder("folder");
    world->write("file", "old");
  }
  Depot& depot() { return world->depot(); }
  Identity stage(std::uint64_t number, const std::string& content) {
    auto file = depot().stage_file(number);
    EXPECT_TRUE(file);
    EXPECT_TRUE((*file)->write_at(0, as_bytes(content)));
    EXPECT_TRUE((*file)->sync());
    return (*file)->facts()->identity;
  }
  std::vector<std::string> names(const std::string& folder) {
    std::vector<std::string> out;
    auto read = depot().read_folder({folder, {}});
    EXPECT_TRUE(read);
    if (!read) return out;
    for (const auto& found : read->entries) out.push_back(found.name);
    std::sort(out.begin(), out.end());
    return out;
  }

  std::unique_ptr<World> world;
};

TEST_P(DepotContract, a_folder_is_read_with_the_facts_of_its_entries_and_without_our_own) {
  EXPECT_EQ(names(""), (std::vector<std::string>{"file", "folder"}));
  const auto file = *depot().stat(at("", "file"));
  EXPECT_EQ(file.kind, EntryKind::file);
  EXPECT_EQ(file.size, 3u);
  EXPECT_FALSE(file.identity.empty());
  EXPECT_EQ(depot().stat(at("", "folder"))->kind, EntryKind::folder);
  EXPECT_FALSE(depot().stat(at("", "nothing")));
  EXPECT_FALSE(depot().stat(at("", ".ebbd")));
  EXPECT_FALSE(depot().read_folder({".ebbd", {}}));
  EXPECT_FALSE(depot().read_folder({".ebbd/tmp", {}}));
}

TEST_P(DepotContract, identity_stays_when_an_entry_moves_and_differs_between_entries) {
  const auto before = *depot().stat(at("", "file"));
  auto moved = depot().rename(at("", "file"), before.identity, at("folder", "moved"));
  ASSERT_TRUE(moved);
  EXPECT_EQ(moved->after.identity, before.identity);
  EXPECT_TRUE(same_content(moved->after, before));
  EXPECT_NE(depot().stat(at("", "folder"))->identity, before.identity);
  EXPECT_FALSE(depot().rename(at("folder", "moved"), "Hsomething else", at("", "file")));
}

TEST_P(DepotContract, a_folder_that_is_another_one_now_is_not_there) {
  const auto folder = *depot().stat(at("", "folder"));
  EXPECT_TRUE(depot().read_folder({"folder", folder.identity}));
  auto other = depot().read_folder({"folder", depot().stat(at("", "file"))->identity});
  ASSERT_FALSE(other);
  EXPECT_TRUE(is_errno(other.error(), ENOENT));
}

TEST_P(DepotContract, a_new_name_is_landed_only_where_nothing_stands) {
  const auto identity = stage(1, "new");
  auto taken = depot().land_new(1, at("", "file"));
  ASSERT_FALSE(taken);
  EXPECT_TRUE(is_errno(taken.error(), EEXIST));
  auto landed = depot().land_new(1, at("folder", "new"));
  ASSERT_TRUE(landed);
  EXPECT_EQ(landed->after.identity, identity);
  EXPECT_EQ(world->content("folder/new"), "new");
  EXPECT_TRUE(depot().list_staged()->empty());
}

TEST_P(DepotContract, a_replacement_lands_on_what_was_seen_and_the_old_goes_to_history) {
  const auto seen = *depot().stat(at("", "file"));
  const auto identity = stage(1, "new");
  auto landed = depot().land_over(1, at("", "file"), seen, 77);
  ASSERT_TRUE(landed) << landed.error().message();
  EXPECT_TRUE(landed->kept);
  EXPECT_EQ(landed->after.identity, identity);
  EXPECT_EQ(world->content("file"), "new");
  EXPECT_EQ(world->history(), std::vector<std::string>{"old"});
  EXPECT_TRUE(depot().list_staged()->empty());
  EXPECT_TRUE(depot().sync_staged());
  EXPECT_TRUE(depot().sync_all());
}

TEST_P(DepotContract, what_is_not_as_seen_is_not_replaced_or_removed) {
  const auto seen = *depot().stat(at("", "file"));
  world->write("file", "other");
  stage(1, "new");
  auto landed = depot().land_over(1, at("", "file"), seen, 77);
  ASSERT_FALSE(landed);
  EXPECT_EQ(landed.error().code, proto::make_error_code(proto::Errc::moved_on));
  auto removed = depot().remove(at("", "file"), seen, 78);
  ASSERT_FALSE(removed);
  EXPECT_EQ(removed.error().code, proto::make_error_code(proto::Errc::moved_on));
  EXPECT_EQ(world->content("file"), "other");
  EXPECT_EQ(depot().list_staged()->size(), 1u);
}

TEST_P(DepotContract, all_names_of_a_file_take_the_new_content) {
  world->link("file", "folder/second");
  const auto seen = *depot().stat(at("", "file"));
  EXPECT_EQ(seen.links, 2u);
  stage(1, "new");
  auto landed = depot().land_over(1, at("", "file"), seen, 77);
  ASSERT_TRUE(landed) << landed.error().message();
  ASSERT_TRUE(depot().land_link(at("", "file"), at("folder", "second"), landed->before, 2, 77));
  EXPECT_EQ(world->content("folder/second"), "new");
  EXPECT_EQ(depot().stat(at("folder", "second"))->identity, landed->after.identity);
}

TEST_P(DepotContract, the_last_name_goes_to_history_another_one_only_goes) {
  world->link("file", "second");
  ASSERT_TRUE(depot().remove(at("", "second"), *depot().stat(at("", "second")), 1));
  EXPECT_TRUE(world->history().empty());
  ASSERT_TRUE(depot().remove(at("", "file"), *depot().stat(at("", "file")), 2));
  EXPECT_EQ(world->history(), std::vector<std::string>{"old"});
  world->write("folder/inner", "x");
  auto full = depot().remove(at("", "folder"), *depot().stat(at("", "folder")), 3);
  ASSERT_FALSE(full);
  EXPECT_TRUE(is_errno(full.error(), ENOTEMPTY));
}

TEST_P(DepotContract, links_and_exchanges_touch_names_alone) {
  const auto file = *depot().stat(at("", "file"));
  ASSERT_TRUE(depot().link(at("", "file"), file.identity, at("folder", "link")));
  EXPECT_EQ(depot().stat(at("", "file"))->links, 2u);
  EXPECT_FALSE(depot().link(at("", "file"), file.identity, at("folder", "link")));
  if (!depot().exchanges()) return;
  world->write("other", "other");
  const auto other = *depot().stat(at("", "other"));
  auto done = depot().exchange(at("", "file"), file.identity, at("", "other"), other.identity);
  ASSERT_TRUE(done);
  EXPECT_EQ(done->after.identity, file.identity);
  EXPECT_EQ(done->other.identity, other.identity);
  EXPECT_EQ(world->content("file"), "other");
  EXPECT_EQ(world->content("other"), "old");
}

TEST_P(DepotContract, attributes_are_set_and_read_back) {
  proto::Attributes wanted;
  wanted.mode = 0604;
  wanted.mtime = 1'234'567'890'123'456'789;
  wanted.xattrs = pack_xattrs({{"user.colour", "blue"}});
  const auto seen = *depot().stat(at("", "file"));
  auto set = depot().set_attributes(at("", "file"), seen.identity,
                                    proto::kMode | proto::kMtime | proto::kXattrs, wanted);
  ASSERT_TRUE(set) << set.error().message();
  EXPECT_TRUE(untouched(set->before, seen));
  const auto now = *depot().stat(at("", "file"));
  EXPECT_EQ(now.attributes.mode, 0604u);
  EXPECT_EQ(now.attributes.mtime, wanted.mtime);
  EXPECT_EQ(now.attributes.xattrs, wanted.xattrs);
  ASSERT_TRUE(depot().set_attributes(at("", "file"), seen.identity, proto::kXattrs, {}));
  EXPECT_TRUE(depot().stat(at("", "file"))->attributes.xattrs.empty());
}

TEST_P(DepotContract, folders_and_symlinks_are_staged_with_their_attributes) {
  proto::Attributes wanted;
  wanted.mode = 0711;
  ASSERT_TRUE(depot().stage_folder(1, proto::kMode, wanted));
  ASSERT_TRUE(depot().land_new(1, at("folder", "made")));
  EXPECT_EQ(depot().stat(at("folder", "made"))->attributes.mode, 0711u);
  wanted.mtime = 42;
  ASSERT_TRUE(depot().stage_symlink(2, "../file", proto::kMtime, wanted));
  ASSERT_TRUE(depot().land_new(2, at("folder", "sym")));
  const auto symlink = *depot().stat(at("folder", "sym"));
  EXPECT_EQ(symlink.kind, EntryKind::symlink);
  EXPECT_EQ(symlink.target, "../file");
  EXPECT_EQ(symlink.attributes.mtime, 42);
  EXPECT_FALSE(depot().open(at("folder", "sym")));
}

TEST_P(DepotContract, a_partial_content_takes_ranges_of_the_present_one) {
  world->write("big", std::string(300'000, 'a'));
  auto base = depot().open(at("", "big"));
  ASSERT_TRUE(base);
  auto file = depot().stage_file(1);
  ASSERT_TRUE(file);
  ASSERT_TRUE((*file)->copy_from(**base, {0, 100'000}, 0));
  ASSERT_TRUE((*file)->copy_from(**base, {200'000, 300'000}, 200'000));
  ASSERT_TRUE((*file)->write_at(100'000, as_bytes(std::string(100'000, 'b'))));
  ASSERT_TRUE((*file)->inherit(**base));
  ASSERT_TRUE(depot().land_new(1, at("", "result")));
  EXPECT_EQ(world->content("result"),
            std::string(100'000, 'a') + std::string(100'000, 'b') + std::string(100'000, 'a'));
}

TEST_P(DepotContract, what_was_moved_in_a_content_is_taken_from_where_it_was) {
  world->write("base", "0123456789" + std::string(200'000, 'x') + "end");
  auto base = depot().open(at("", "base"));
  ASSERT_TRUE(base);
  auto file = depot().stage_file(1);
  ASSERT_TRUE(file);
  ASSERT_TRUE((*file)->copy_from(**base, {200'008, 200'013}, 0));
  ASSERT_TRUE((*file)->copy_from(**base, {3, 10}, 5));
  ASSERT_TRUE((*file)->copy_from(**base, {0, 4}, 12));
  ASSERT_TRUE(depot().land_new(1, at("", "result")));
  EXPECT_EQ(world->content("result"), "xxend34567890123");
}

TEST_P(DepotContract, names_that_are_none_are_refused) {
  for (const std::string& name :
       {std::string("."), std::string(".."), std::string("a/b"), std::string("a\0b", 3),
        std::string(256, 'x'), std::string(".ebbd")}) {
    stage(9, "x");
    EXPECT_FALSE(depot().land_new(9, at("", name))) << name;
    EXPECT_FALSE(depot().stat(at("", name))) << name;
    ASSERT_TRUE(depot().unstage(9));
  }
}

std::string kind_name(const ::testing::TestParamInfo<int>& which) {
  constexpr std::array kNames{"Fake", "Directory", "DirectoryNoExchange"};
  return kNames[static_cast<std::size_t>(which.param)];
}
INSTANTIATE_TEST_SUITE_P(All, DepotContract, ::testing::Values(0, 1, 2), kind_name);

// ---- what only a real directory can be attacked with

TEST(DirectoryDepotSafety, symlinks_lead_nowhere) {
  DirectoryWorld world(true);
  fs::create_directory_symlink("/etc", world.root() + "/out");
  fs::create_directory_symlink(".", world.root() + "/here");
  world.make_folder("folder");
  EXPECT_FALSE(world.depot().read_folder({"out", {}}));
  EXPECT_FALSE(world.depot().read_folder({"here", {}}));
  EXPECT_FALSE(world.depot().stat(at("out", "passwd")));
  EXPECT_FALSE(world.depot().open(at("out", "passwd")));
  EXPECT_FALSE(world.depot().stat(at("../..", "passwd")));
  EXPECT_FALSE(world.depot().stat(at("/etc", "passwd")));
  EXPECT_FALSE(world.depot().open(at("here/.ebbd", "lock")));
  auto file = world.depot().stage_file(1);
  ASSERT_TRUE(file);
  EXPECT_FALSE(world.depot().land_new(1, at("out", "escaped")));
  EXPECT_FALSE(fs::exists("/etc/escaped"));
  // It is served as the symlink that it is.
  EXPECT_EQ(world.depot().stat(at("", "out"))->target, "/etc");
}

TEST(DirectoryDepotSafety, devices_fifos_and_sockets_are_not_served) {
  DirectoryWorld world(true);
  ASSERT_EQ(::mkfifo((world.root() + "/fifo").c_str(), 0600), 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = world.root() + "/socket";
  std::copy(path.begin(), path.end(), address.sun_path);
  const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
  ASSERT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  auto read = world.depot().read_folder({"", {}});
  ASSERT_TRUE(read);
  EXPECT_TRUE(read->entries.empty());
  EXPECT_FALSE(world.depot().open(at("", "fifo")));
  EXPECT_FALSE(world.depot().stat(at("", "fifo")));
  ::close(fd);
}

TEST(ConflictName, keeps_the_suffix_and_fits_a_name) {
  const WallNs when = 1'700'000'000'000'000'000;
  EXPECT_EQ(conflict_name("a.txt", "host", when, 1), "a.conflict-host-20231114-221320.txt");
  EXPECT_EQ(conflict_name(".rc", "host", when, 2), ".rc.conflict-host-20231114-221320-2");
  const auto cut =
      conflict_name(std::string(200, 'a') + "\xC3\xBC" + std::string(50, 'b'), "host", when, 1);
  EXPECT_LE(cut.size(), 255u);
}

}  // namespace
}  // namespace ebb::test
