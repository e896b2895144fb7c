// A store on a disk that was full, torn, damaged, taken, or not ours: an error, never a crash,
// never silence about what had been synced.
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <random>

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/hash.h"
#include "store/check.h"
#include "store/errors.h"
#include "store/layout.h"
#include "store/store.h"
#include "tests/support/fake_file_io.h"

namespace ebb::store {
namespace {

using test::FakeFileIo;

std::unique_ptr<Store> open_store(FileIo& io, const std::string& folder = "data") {
  auto store = Store::open(io, folder, {});
  EXPECT_TRUE(store) << (store ? "" : store.error().message());
  return store ? std::move(*store) : nullptr;
}

Result<NodeId> make_file(Store& store, const std::string& name) {
  Transaction t(store);
  auto id = t.make_node(Kind::file);
  if (!id) return id;
  if (auto r = t.bind(kRootNode, name, Side::local, *id); !r) return pass(r.error());
  if (auto r = t.set_text(*id, Text::reason, as_bytes(name + " has a reason")); !r) {
    return pass(r.error());
  }
  if (auto r = t.commit(); !r) return pass(r.error());
  return id;
}

/// A process that dies with a store open.
void die(FakeFileIo& io, std::unique_ptr<Store>& store) {
  io.kill_process();
  store.reset();
}

std::size_t count_names(const Store& store) {
  std::size_t count = 0;
  EXPECT_TRUE(store.list(kRootNode, 0, [&](const Name&) { return ++count > 0; }));
  return count;
}

/// Everything that can be read; what fails is an error value.
void read_all(const Store& store) {
  std::vector<NodeId> nodes;
  (void)store.list(kRootNode, 0, [&](const Name& name) {
    nodes.push_back(name.local);
    return nodes.size() < 10000;
  });
  for (const auto id : nodes) {
    (void)store.node(id);
    (void)store.names_of(id);
    for (int i = 0; i < kTexts; ++i) (void)store.text(id, static_cast<Text>(i));
  }
  (void)check(store);
}

TEST(StoreDamage, AJournalCutAtAnyByteIsTheTransactionsBeforeTheCut) {
  FakeFileIo io;
  auto store = open_store(io);
  std::vector<std::size_t> ends = {io.content("data/journal.1").size()};
  for (int i = 0; i < 6; ++i) {
    ASSERT_TRUE(make_file(*store, "name " + std::to_string(i)));
    ends.push_back(io.content("data/journal.1").size());
  }
  die(io, store);
  const auto journal = io.content("data/journal.1");
  for (std::size_t cut = ends[0]; cut <= journal.size(); ++cut) {
    auto disk = io.clone();
    disk->set_content("data/journal.1", ByteView(journal).first(cut));
    auto cut_store = open_store(*disk);
    ASSERT_TRUE(cut_store) << cut;
    std::size_t expected = 0;
    while (expected + 1 < ends.size() && ends[expected + 1] <= cut + 7) ++expected;
    // The zeros that fill the last record up to 8 bytes may be missing.
    const auto found = count_names(*cut_store);
    ASSERT_TRUE(found == expected || (expected > 0 && found == expected - 1)) << cut;
    ASSERT_TRUE(check(*cut_store).clean());
    ASSERT_TRUE(make_file(*cut_store, "another"));
  }
}

TEST(StoreDamage, ADamagedRecordThatHadBeenSyncedIsCorruptionAndNotATornTail) {
  FakeFileIo io;
  auto store = open_store(io);
  ASSERT_TRUE(make_file(*store, "one"));
  const auto begin = io.content("data/journal.1").size();
  ASSERT_TRUE(make_file(*store, "two"));
  ASSERT_TRUE(store->sync());
  const auto synced = io.content("data/journal.1").size();
  ASSERT_TRUE(make_file(*store, "three"));
  die(io, store);
  const auto journal = io.content("data/journal.1");
  for (auto at = begin; at < synced - 8; ++at) {
    auto damaged = journal;
    damaged[at] ^= std::byte{0x40};
    auto disk = io.clone();
    disk->set_content("data/journal.1", damaged);
    auto opened = Store::open(*disk, "data", {});
    ASSERT_FALSE(opened) << at;
    ASSERT_EQ(opened.error().code, Errc::corrupt) << opened.error().message();
    ASSERT_NE(opened.error().detail.find("data/journal.1 at "), std::string::npos);
  }
}

TEST(StoreDamage, WrongBytesAnywhereInTheFilesAreErrorsAndNoCrash) {
  FakeFileIo io;
  auto store = open_store(io);
  for (int i = 0; i < 200; ++i) {
    const auto n = static_cast<std::size_t>(i);
    ASSERT_TRUE(make_file(*store, std::string(1 + n, 'a') + std::to_string(i)));
  }
  ASSERT_TRUE(store->checkpoint());
  die(io, store);
  std::mt19937_64 random(7);
  std::size_t refused = 0;
  std::size_t found = 0;
  constexpr int kRounds = 500;
  for (int i = 0; i < kRounds; ++i) {
    auto disk = io.clone();
    const auto path = std::string("data/") + kFileNames[random() % kFiles];
    auto bytes = disk->content(path);
    for (auto n = random() % 3 + 1; n > 0; --n) {
      // Half of the time in the first bytes of a page, where its head is.
      auto at = random() % bytes.size();
      if (random() % 2 == 0) at = at / kPageSize * kPageSize + at % 96;
      bytes[at] = static_cast<std::byte>(random());
    }
    disk->set_content(path, bytes);
    auto opened = Store::open(*disk, "data", {});
    if (!opened) {
      ++refused;
      continue;
    }
    read_all(**opened);
    found += check(**opened).clean() ? 0 : 1;
    (void)make_file(**opened, "one more");
    Transaction t(**opened);
    (void)t.bind(kRootNode, "aaa2", Side::local, NodeId{});
    (void)t.commit();
  }
  std::printf("%d damaged stores: %zu not opened, %zu found by check\n", kRounds, refused, found);
  EXPECT_GT(refused, 0U);
  EXPECT_GT(found, 0U);
}

TEST(StoreDamage, AFileThatIsMissingOrCutShortIsNamed) {
  FakeFileIo io;
  auto store = open_store(io);
  ASSERT_TRUE(make_file(*store, "one"));
  ASSERT_TRUE(store->checkpoint());
  die(io, store);
  for (const auto* file : {"mdt", "dirmap", "fname"}) {
    const auto path = std::string("data/") + file;
    auto disk = io.clone();
    ASSERT_TRUE(disk->remove(path));
    auto opened = Store::open(*disk, "data", {});
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().code, Errc::corrupt);
    EXPECT_NE(opened.error().detail.find(path), std::string::npos) << opened.error().detail;
    disk = io.clone();
    disk->set_content(path, as_bytes("short"));
    EXPECT_FALSE(Store::open(*disk, "data", {}));
  }
  auto disk = io.clone();
  ASSERT_TRUE(disk->remove("data/super"));
  auto opened = Store::open(*disk, "data", {});
  ASSERT_FALSE(opened) << "a store without its super must not be made anew over the rest";
  EXPECT_EQ(opened.error().code, Errc::corrupt);
}

TEST(StoreDamage, ANewerFormatIsRefusedAndLeftAlone) {
  FakeFileIo io;
  auto store = open_store(io);
  die(io, store);
  auto super = io.content("data/super");
  super[4] = std::byte{kFormat + 1};
  io.set_content("data/super", super);
  auto opened = Store::open(io, "data", {});
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Errc::newer_format);
  EXPECT_EQ(io.content("data/super"), super);
}

TEST(StoreDamage, AnotherTreeIsRefused) {
  FakeFileIo io;
  StoreOptions options;
  options.tree.bytes[0] = 1;
  { ASSERT_TRUE(Store::open(io, "data", options)); }
  options.tree.bytes[0] = 2;
  auto opened = Store::open(io, "data", options);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Errc::other_tree);
  options.tree = {};
  opened = Store::open(io, "data", options);
  ASSERT_TRUE(opened);
  EXPECT_EQ((*opened)->tree().bytes[0], 1);
}

TEST(StoreDamage, ASecondOpenerIsRefusedAndToldWhoHasIt) {
  FakeFileIo io;
  StoreOptions options;
  options.purpose = "ebb mount /home/me/tree";
  auto store = Store::open(io, "data", options);
  ASSERT_TRUE(store);
  auto second = Store::open(io, "data", {});
  ASSERT_FALSE(second);
  EXPECT_TRUE(is_errno(second.error(), EBUSY));
  EXPECT_NE(second.error().detail.find("ebb mount /home/me/tree"), std::string::npos);
  store->reset();
  EXPECT_TRUE(Store::open(io, "data", {}));
}

TEST(StoreDamage, WhereNoneIsToBeMadeNoneIsMade) {
  FakeFileIo io;
  StoreOptions options;
  options.create = false;
  auto opened = Store::open(io, "data", options);
  ASSERT_FALSE(opened);
  EXPECT_TRUE(is_errno(opened.error(), ENOENT));
  EXPECT_TRUE(io.files().empty());
}

TEST(StoreDamage, AFullDiskIsENOSPCAndLosesNothing) {
  FakeFileIo io;
  auto store = open_store(io);
  io.set_capacity(io.used() + 600 * 1024);
  std::size_t made = 0;
  Error error;
  for (;; ++made) {
    auto r = make_file(*store, "file " + std::to_string(made));
    if (r) continue;
    error = r.error();
    break;
  }
  EXPECT_TRUE(is_errno(error, ENOSPC)) << error.message();
  EXPECT_GT(made, 100U);
  EXPECT_EQ(count_names(*store), made);
  EXPECT_TRUE(check(*store).clean());
  io.set_capacity(1u << 30);
  EXPECT_TRUE(make_file(*store, "there is room again"));
  die(io, store);
  store = open_store(io);
  EXPECT_EQ(count_names(*store), made + 1);
  EXPECT_TRUE(check(*store).clean());
}

TEST(StoreDamage, AfterAFailedSyncNothingIsCommittedUntilReopened) {
  FakeFileIo io;
  auto store = open_store(io);
  ASSERT_TRUE(make_file(*store, "one"));
  io.fail_nth(0);
  EXPECT_FALSE(store->sync());
  EXPECT_TRUE(io.fault_fired());
  EXPECT_FALSE(store->sync()) << "a second sync proves nothing about the first";
  EXPECT_FALSE(make_file(*store, "two"));
  EXPECT_TRUE(store->name(kRootNode, "one"));
  store.reset();
  store = open_store(io);
  EXPECT_TRUE(make_file(*store, "two"));
  ASSERT_TRUE(store->sync());
  io.crash(1, FakeFileIo::Crash::lose_unsynced);
  store.reset();
  store = open_store(io);
  EXPECT_EQ(count_names(*store), 2U);
}

/// A folder on the real disk, gone with the test.
class RealFolder {
 public:
  RealFolder() {
    char name[] = "/tmp/ebb-store-test-XXXXXX";
    EXPECT_NE(mkdtemp(name), nullptr);
    path = name;
  }
  ~RealFolder() { std::filesystem::remove_all(path); }
  std::string path;
};

TEST(StoreDamage, AMappedFileThatCannotBeReadIsAnErrorWithFileAndOffset) {
  const RealFolder folder;
  const auto data = folder.path + "/data";
  auto store = open_store(system_file_io(), data);
  std::vector<NodeId> ids;
  for (int i = 0; i < 500; ++i) {
    auto id = make_file(*store, "file " + std::to_string(i));
    ASSERT_TRUE(id);
    ids.push_back(*id);
  }
  ASSERT_TRUE(store->checkpoint());
  const auto size = std::filesystem::file_size(data + "/mdt");
  ASSERT_EQ(::truncate((data + "/mdt").c_str(), 2 * kPageSize), 0);
  auto node = store->node(ids.back());
  ASSERT_FALSE(node);
  EXPECT_TRUE(is_errno(node.error(), EIO));
  EXPECT_NE(node.error().detail.find(data + "/mdt at "), std::string::npos) << node.error().detail;
  EXPECT_TRUE(store->node(ids.front())) << "what can be read is read";
  {
    Transaction t(*store);
    Node changed;
    changed.kind = Kind::file;
    EXPECT_FALSE(t.put(ids.back(), changed));
  }
  ASSERT_EQ(::truncate((data + "/mdt").c_str(), static_cast<off_t>(size)), 0);
}

TEST(StoreDamage, TheRealDiskKeepsWhatWasCommitted) {
  const RealFolder folder;
  const auto data = folder.path + "/data";
  for (int round = 0; round < 3; ++round) {
    auto store = open_store(system_file_io(), data);
    EXPECT_EQ(count_names(*store), static_cast<std::size_t>(round) * 300);
    for (int i = 0; i < 300; ++i) {
      ASSERT_TRUE(make_file(*store, std::to_string(round) + " " + std::to_string(i)));
    }
    if (round == 0) {
      ASSERT_TRUE(store->checkpoint());
    }
    if (round == 1) {
      ASSERT_TRUE(store->sync());
    }
    auto second = Store::open(system_file_io(), data, {});
    ASSERT_FALSE(second);
    EXPECT_TRUE(is_errno(second.error(), EBUSY));
    EXPECT_NE(second.error().detail.find(std::to_string(::getpid())), std::string::npos);
  }
  auto report = check(system_file_io(), data);
  ASSERT_TRUE(report);
  EXPECT_TRUE(report->clean()) << report->problems.front();
  EXPECT_EQ(report->names, 900U);
}

}  // namespace
}  // namespace ebb::store
