// A damaged store is rebuilt from what can be read, says what it lost, and keeps the damaged one.
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>

#include <gtest/gtest.h>
#include <unistd.h>

#include "store/check.h"
#include "store/errors.h"
#include "store/layout.h"
#include "store/repair.h"
#include "store/store.h"
#include "tests/support/fake_file_io.h"

namespace ebb::store {
namespace {

constexpr std::size_t kCellsInPage = kPageSize / (sizeof(CellHead) + sizeof(LeafPage{}.slots[0]));

class StoreRepair : public ::testing::Test {
 protected:
  StoreRepair() {
    char name[] = "/tmp/ebb-repair-test-XXXXXX";
    EXPECT_NE(mkdtemp(name), nullptr);
    top_ = name;
    data_ = top_ + "/data";
  }
  ~StoreRepair() override { std::filesystem::remove_all(top_); }

  std::unique_ptr<Store> open() {
    auto store = Store::open(system_file_io(), data_, {});
    EXPECT_TRUE(store) << (store ? "" : store.error().message());
    return store ? std::move(*store) : nullptr;
  }

  /// Three folders of files, some with long names and texts; some were dropped, so that generations
  /// differ.
  void fill(int count) {
    auto store = open();
    std::vector<NodeId> folders;
    for (int i = 0; i < 3; ++i)
      folders.push_back(make(*store, kRootNode, "f" + std::to_string(i), Kind::folder));
    for (int i = 0; i < count; ++i) {
      const auto folder = folders[static_cast<std::size_t>(i % 3)];
      const auto name = std::to_string(i) + std::string(i % 7 == 0 ? 80 : 0, 'x');
      const auto id = make(*store, folder, name, Kind::file);
      if (i % 5 == 0) drop(*store, folder, name, id);
    }
    ASSERT_TRUE(store->checkpoint());
  }

  NodeId make(Store& store, NodeId folder, const std::string& name, Kind kind) {
    Transaction t(store);
    auto id = t.make_node(kind);
    EXPECT_TRUE(id);
    auto node = store.node(*id);
    EXPECT_TRUE(node);
    node->size = id->value;
    EXPECT_TRUE(t.put(*id, *node));
    EXPECT_TRUE(t.bind(folder, name, Side::local, *id));
    EXPECT_TRUE(t.bind(folder, name, Side::server, *id));
    EXPECT_TRUE(t.set_text(*id, Text::xattrs, as_bytes("of " + name)));
    (void)t.next_sequence();
    EXPECT_TRUE(t.commit());
    return *id;
  }

  void drop(Store& store, NodeId folder, const std::string& name, NodeId id) {
    Transaction t(store);
    for (const auto side : {Side::local, Side::server}) EXPECT_TRUE(t.bind(folder, name, side, {}));
    EXPECT_TRUE(t.drop_node(id));
    EXPECT_TRUE(t.commit());
  }

  /// Path -> node, with its text, of everything that names lead to.
  std::map<std::string, std::string> everything() {
    std::map<std::string, std::string> out;
    auto store = open();
    if (store) list(*store, kRootNode, "", out);
    return out;
  }
  void list(const Store& store, NodeId folder, const std::string& path,
            std::map<std::string, std::string>& out) {
    EXPECT_TRUE(store.list(folder, 0, [&](const Name& name) {
      const auto node = store.node(name.local);
      const auto text = store.text(name.local, Text::xattrs);
      if (!node || !text) return true;
      out[path + "/" + name.text] = std::to_string(name.local.value) + " " +
                                    std::to_string(node->size) + " " + std::string(as_text(*text));
      if (node->is_folder()) list(store, name.local, path + "/" + name.text, out);
      return true;
    }));
  }

  void overwrite(const std::string& file, std::uint64_t offset, std::size_t size, char with) {
    std::fstream stream(data_ + "/" + file, std::ios::in | std::ios::out | std::ios::binary);
    stream.seekp(static_cast<std::streamoff>(offset));
    stream << std::string(size, with);
    ASSERT_TRUE(stream.good());
  }

  void expect_sound() {
    auto report = check(system_file_io(), data_, top_ + "/content");
    ASSERT_TRUE(report) << report.error().message();
    EXPECT_TRUE(report->clean()) << report->problems.front();
  }

  std::string top_;
  std::string data_;
};

TEST_F(StoreRepair, ASoundStoreIsLeftAlone) {
  fill(100);
  const auto before = everything();
  auto report = repair(system_file_io(), data_, true);
  ASSERT_TRUE(report) << report.error().message();
  EXPECT_TRUE(report->done.empty()) << report->done.front();
  EXPECT_TRUE(report->kept_as.empty());
  EXPECT_EQ(everything(), before);
}

TEST_F(StoreRepair, WithoutAnyCheckpointEveryNameAndNodeIsFoundAgain) {
  fill(300);
  const auto before = everything();
  const auto sequence = open()->sequence();
  overwrite("super", 0, kSuperPages * kPageSize, '\0');
  ASSERT_FALSE(Store::open(system_file_io(), data_, {}));
  auto report = repair(system_file_io(), data_, true);
  ASSERT_TRUE(report) << report.error().message();
  EXPECT_FALSE(report->done.empty());
  EXPECT_EQ(report->kept_as, data_ + ".damaged");
  EXPECT_TRUE(std::filesystem::exists(data_ + ".damaged/mdt"));
  expect_sound();
  EXPECT_EQ(everything(), before);
  EXPECT_GE(open()->sequence(), sequence) << "no sequence number may be given twice";
}

TEST_F(StoreRepair, APageThatIsLostCostsWhatWasOnItAndNothingElse) {
  struct Case {
    const char* file;
    std::size_t most;  // that a page can take with it
  };
  for (const auto& [file, most] :
       {Case{"mdt", kNodesInPage}, Case{"dirmap", kCellsInPage}, Case{"fname", kTextSlotsInPage}}) {
    SCOPED_TRACE(file);
    std::filesystem::remove_all(top_);
    fill(400);
    const auto before = everything();
    overwrite(file, 3 * kPageSize, kPageSize, 'x');
    auto report = repair(system_file_io(), data_, true);
    ASSERT_TRUE(report) << report.error().message();
    EXPECT_FALSE(report->done.empty()) << "what was lost is said";
    expect_sound();
    const auto after = everything();
    EXPECT_GE(after.size() + most, before.size());
    std::size_t same = 0;
    for (const auto& [path, what] : after)
      same += before.count(path) != 0 && before.at(path) == what;
    EXPECT_GE(same + most, before.size());
  }
}

TEST_F(StoreRepair, AFileWithChangesThatLostItsNameGetsOneAndStaysHere) {
  fill(50);
  NodeId lost;
  {
    auto store = open();
    const auto folder = make(*store, kRootNode, "gone", Kind::folder);
    lost = make(*store, folder, "precious", Kind::file);
    Transaction t(*store);
    auto node = store->node(lost);
    node->content = 77;
    node->entry = EntryId{900};
    node->status = Status::sync;
    node->set(kContentDirty);
    ASSERT_TRUE(t.put(lost, *node));
    ASSERT_TRUE(t.commit());
    ASSERT_TRUE(store->checkpoint());
  }
  // The record of the folder that holds it.
  const auto index = NodeId(lost).index() - 1;
  overwrite("mdt",
            (1 + index / kNodesInPage) * kPageSize + index % kNodesInPage * sizeof(NodeRecord),
            sizeof(NodeRecord), '\0');
  auto report = repair(system_file_io(), data_, true);
  ASSERT_TRUE(report) << report.error().message();
  auto store = open();
  std::size_t found = 0;
  ASSERT_TRUE(store->list(kRootNode, 0, [&](const Name& name) {
    const auto node = store->node(name.local);
    if (name.text.rfind("found-", 0) != 0 || !node) return true;
    ++found;
    EXPECT_EQ(node->content, 77U);
    EXPECT_EQ(node->status, Status::local);
    EXPECT_FALSE(node->entry);
    return true;
  }));
  EXPECT_EQ(found, 1U);
}

TEST_F(StoreRepair, FlagsAndTablesThatContradictEachOtherAreMadeToAgree) {
  fill(20);
  {
    auto store = open();
    const auto id = make(*store, kRootNode, "queued", Kind::file);
    Transaction t(*store);
    auto node = store->node(id);
    node->set(kQueued);
    node->set(kPulling);
    ASSERT_TRUE(t.put(id, *node));
    Cell stray{};
    stray[0] = std::byte{2};
    ASSERT_TRUE(t.put_cell(Table::orphans, 0, 2, stray));
    ASSERT_TRUE(t.commit());
  }
  auto found = check(system_file_io(), data_, top_ + "/content");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->problems.size(), 3U);
  auto report = repair(system_file_io(), data_, true);
  ASSERT_TRUE(report);
  EXPECT_EQ(report->done.size(), 3U);
  EXPECT_TRUE(report->kept_as.empty());
  expect_sound();
}

/// A small store on a disk of the test's own, damaged so that it does not open.
std::unique_ptr<test::FakeFileIo> damaged_disk() {
  auto io = std::make_unique<test::FakeFileIo>();
  {
    auto store = std::move(*Store::open(*io, "state/data", {}));
    for (int i = 0; i < 60; ++i) {
      Transaction t(*store);
      const auto id = t.make_node(Kind::file);
      EXPECT_TRUE(id && t.bind(kRootNode, "file" + std::to_string(i), Side::local, *id));
      EXPECT_TRUE(t.commit());
    }
    EXPECT_TRUE(store->checkpoint());
  }
  io->set_content("state/data/super", Bytes(kSuperPages * kPageSize));
  return io;
}

/// Repaired, or repaired now, whatever a crash left: nothing that could be read before is missing.
void expect_repairable(FileIo& io) {
  auto again = repair(io, "state/data", true);
  ASSERT_TRUE(again) << again.error().message();
  auto report = check(io, "state/data");
  ASSERT_TRUE(report && report->clean());
  ASSERT_EQ(report->names, 60U);
}

TEST_F(StoreRepair, ADamagedGenerationMakesNoRepairEndless) {
  const auto last = (1 + 61 / kNodesInPage) * kPageSize + 61 % kNodesInPage * sizeof(NodeRecord);
  for (const auto high :
       {std::byte{0x7e}, std::byte{0xfe}}) {  // one that a record can have, and none
    auto disk = damaged_disk();
    auto records = disk->content("state/data/mdt");
    std::fill_n(records.begin() + last + 1, 3, high);  // above the kind, of the last file
    disk->set_content("state/data/mdt", records);
    auto report = repair(*disk, "state/data", true);
    ASSERT_TRUE(report) << report.error().message();
    auto sound = check(*disk, "state/data");
    ASSERT_TRUE(sound && sound->clean());
    EXPECT_EQ(sound->names, 59U);  // the name of the last one led to another generation
  }
}

TEST_F(StoreRepair, ACrashAtAnyInstantOfARepairLeavesAStoreThatIsRepairedOrCanBe) {
  auto disk = damaged_disk();
  std::uint64_t crashes = 0;
  disk->watch([&](std::uint64_t number, const std::string& what) {
    if (::testing::Test::HasFatalFailure()) return;
    SCOPED_TRACE("a crash after " + what);
    using Crash = test::FakeFileIo::Crash;
    for (const auto mode : {Crash::lose_unsynced, Crash::torn, Crash::keep_all}) {
      auto left = disk->clone();
      left->crash(number, mode);
      expect_repairable(*left);
      ++crashes;
    }
  });
  ASSERT_TRUE(repair(*disk, "state/data", true));
  disk->watch(nullptr);
  expect_repairable(*disk);
  std::printf("%llu crashes of a repair\n", static_cast<unsigned long long>(crashes));
}

TEST_F(StoreRepair, AnErrorOfTheDiskAtAnyCallOfARepairLeavesAStoreThatIsRepairedOrCanBe) {
  const auto disk = damaged_disk();
  for (std::uint64_t n = 0;; ++n) {
    SCOPED_TRACE(n);
    auto failing = disk->clone();
    failing->fail_nth(n, n % 2 == 0 ? EIO : ENOSPC);
    const auto result = repair(*failing, "state/data", true);
    const bool fired = failing->fault_fired();
    failing->clear_faults();
    expect_repairable(*failing);
    if (fired) continue;
    ASSERT_TRUE(result);
    break;
  }
}

TEST_F(StoreRepair, ANewerFormatAndAStoreInUseAreRefused) {
  fill(5);
  {
    auto store = open();
    auto report = repair(system_file_io(), data_, true);
    ASSERT_FALSE(report);
    EXPECT_TRUE(is_errno(report.error(), EBUSY));
  }
  overwrite("super", 4, 1, static_cast<char>(kFormat + 1));
  overwrite("super", kPageSize + 4, 1, static_cast<char>(kFormat + 1));
  auto report = repair(system_file_io(), data_, true);
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code, Errc::newer_format);
  EXPECT_FALSE(std::filesystem::exists(data_ + ".damaged"));
}

}  // namespace
}  // namespace ebb::store
