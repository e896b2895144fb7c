// A store on a disk that was full, torn, damaged, taken, or not ours: an error, never a crash,
// never silence about what had been synced.
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>

#include <fmt/format.h>
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

/// The bytes of a file that are not zero, 16 in a line.
std::string dump(const std::string& name, const Bytes& file) {
  std::string out;
  for (std::size_t at = 0; at < file.size(); at += 16) {
    const auto line = ByteView(file).subspan(at, std::min<std::size_t>(16, file.size() - at));
    if (std::all_of(line.begin(), line.end(), [](std::byte b) { return b == std::byte{0}; }))
      continue;
    out += fmt::format("{} {:06x}:", name, at);
    for (const auto byte : line) out += fmt::format(" {:02x}", static_cast<unsigned>(byte));
    out += "\n";
  }
  return out + fmt::format("{} ends at {}\n", name, file.size());
}

struct FixedRandom final : Random {
  std::uint64_t next() override { return 0x0123456789abcdef; }
};

// What a store of this format has on disk, whoever writes it: one that was written before is read
// after.  Where the format changes, kFormat does, and EBB_GOLDEN=FILE writes the new bytes there.
TEST(StoreDamage, TheBytesOfASmallStoreAreThoseOfTheGoldenFile) {
  FakeFileIo io;
  FixedRandom random;
  StoreOptions options;
  options.random = &random;
  options.tree.bytes = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
  auto store = std::move(*Store::open(io, "data", options));
  {
    Transaction t(*store);
    const auto folder = *t.make_node(Kind::folder);
    const auto file = *t.make_node(Kind::file);
    Node node;
    node.kind = Kind::file;
    node.status = Status::sync;
    node.pin = Pin::keep;
    node.flags = kWhole | kQueued;
    node.mode = 0640;
    node.uid = 1000;
    node.gid = 100;
    node.size = 0x1122334455;
    node.mtime = 1'700'000'000'123'456'789;
    node.ctime = -1;
    node.entry = EntryId{77};
    node.content_base = Version{5};
    node.content_server = Version{6};
    node.attributes_base = Version{7};
    node.attributes_server = Version{8};
    node.content_local = 9;
    node.attributes_local = 10;
    node.content = 11;
    node.hash = 0xfedcba9876543210;
    node.hash_known = true;
    node.queue_seq = t.next_sequence();
    ASSERT_TRUE(t.put(file, node));
    ASSERT_TRUE(t.bind(kRootNode, "folder", Side::local, folder));
    ASSERT_TRUE(t.bind(kRootNode, "folder", Side::server, folder));
    ASSERT_TRUE(t.bind(folder, "short", Side::local, file));
    ASSERT_TRUE(t.bind(folder, std::string(200, 'n'), Side::local, file));
    ASSERT_TRUE(t.bind(folder, "elsewhere", Side::server, file));
    ASSERT_TRUE(t.set_name_flags(folder, "elsewhere", kAbsent));
    ASSERT_TRUE(t.set_text(file, Text::reason, as_bytes("because")));
    ASSERT_TRUE(t.set_text(file, Text::xattrs, Bytes(150, std::byte{0x58})));
    ASSERT_TRUE(t.put_cell(Table::queue, 0, node.queue_seq, Cell{std::byte{3}}));
    ASSERT_TRUE(t.commit());
  }
  ASSERT_TRUE(store->checkpoint());
  ASSERT_TRUE(make_file(*store, "in the journal"));
  std::string found = fmt::format("format {}\n", kFormat);
  for (const auto* name : {"super", "mdt", "fname", "dirmap", "journal.2"}) {
    found += dump(name, io.content(std::string("data/") + name));
  }
  if (const char* to = std::getenv("EBB_GOLDEN")) std::ofstream(to) << found;
  std::ifstream file(EBB_SOURCE_DIR "/tests/unit/golden/store.txt");
  const std::string golden{std::istreambuf_iterator<char>(file), {}};
  EXPECT_EQ(found, golden);
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
