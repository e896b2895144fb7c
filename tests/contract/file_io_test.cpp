// What every FileIo promises, held to the machine's own and to the fake of the tests.
#include "base/file_io.h"

#include <cerrno>
#include <filesystem>

#include <gtest/gtest.h>

#include "tests/support/fake_file_io.h"

namespace ebb {
namespace {

struct Place {
  virtual ~Place() = default;
  virtual FileIo& io() = 0;
  std::string folder;
};

struct RealPlace final : Place {
  RealPlace() {
    char name[] = "/tmp/ebb-file-io-XXXXXX";
    EXPECT_NE(mkdtemp(name), nullptr);
    folder = name;
  }
  ~RealPlace() override { std::filesystem::remove_all(folder); }
  FileIo& io() override { return system_file_io(); }
};

struct FakePlace final : Place {
  FakePlace() {
    folder = "/fake";
    EXPECT_TRUE(fake.make_folder(folder));
  }
  FileIo& io() override { return fake; }
  test::FakeFileIo fake;
};

class FileIoContract : public ::testing::TestWithParam<bool> {
 protected:
  FileIoContract() {
    if (GetParam()) {
      place_ = std::make_unique<RealPlace>();
    } else {
      place_ = std::make_unique<FakePlace>();
    }
  }
  FileIo& io() { return place_->io(); }
  std::string path(const std::string& name) const { return place_->folder + "/" + name; }
  std::unique_ptr<File> open(const std::string& name, OpenMode mode = OpenMode::create) {
    auto file = io().open(path(name), mode);
    EXPECT_TRUE(file) << (file ? "" : file.error().message());
    return file ? std::move(*file) : nullptr;
  }
  static std::string read(const File& file, std::uint64_t offset, std::size_t n) {
    Bytes out(n);
    auto got = file.read_at(offset, out);
    EXPECT_TRUE(got);
    return std::string(as_text(ByteView(out).first(got ? *got : 0)));
  }
  std::unique_ptr<Place> place_;
};

TEST_P(FileIoContract, WhatIsWrittenIsReadAndEndsAtTheEndOfTheFile) {
  auto file = open("a");
  ASSERT_TRUE(file->write_at(0, as_bytes("hello")));
  ASSERT_TRUE(file->write_at(8, as_bytes("world")));
  EXPECT_EQ(read(*file, 0, 100), std::string("hello\0\0\0world", 13));
  EXPECT_EQ(read(*file, 9, 2), "or");
  EXPECT_EQ(read(*file, 13, 5), "");
  EXPECT_EQ(read(*file, 1000, 5), "");
  EXPECT_EQ(*file->size(), 13U);
  ASSERT_TRUE(file->truncate(3));
  ASSERT_TRUE(file->truncate(10));
  EXPECT_EQ(read(*file, 0, 100), std::string("hel\0\0\0\0\0\0\0", 10));
  EXPECT_TRUE(file->sync());
}

TEST_P(FileIoContract, ModesOfOpening) {
  EXPECT_TRUE(is_errno(io().open(path("x"), OpenMode::read).error(), ENOENT));
  EXPECT_TRUE(is_errno(io().open(path("x"), OpenMode::write).error(), ENOENT));
  EXPECT_TRUE(is_errno(io().open(path("no/x"), OpenMode::create).error(), ENOENT));
  ASSERT_TRUE(open("x", OpenMode::create_new)->write_at(0, as_bytes("kept")));
  auto again = io().open(path("x"), OpenMode::create_new);
  ASSERT_FALSE(again);
  EXPECT_TRUE(is_errno(again.error(), EEXIST));
  EXPECT_NE(again.error().detail.find("x"), std::string::npos);
  EXPECT_EQ(read(*open("x"), 0, 10), "kept");
  auto reader = open("x", OpenMode::read);
  EXPECT_FALSE(reader->write_at(0, as_bytes("no")));
  EXPECT_EQ(read(*reader, 0, 10), "kept");
  ASSERT_TRUE(io().make_folder(path("folder")));
  EXPECT_FALSE(io().open(path("folder"), OpenMode::write));
}

TEST_P(FileIoContract, AllocatedRoomReadsAsZeroAndKeepsWhatIsThere) {
  auto file = open("a");
  ASSERT_TRUE(file->write_at(0, as_bytes("abc")));
  ASSERT_TRUE(file->allocate(10000));
  EXPECT_EQ(*file->size(), 10000U);
  EXPECT_EQ(read(*file, 0, 4), std::string("abc\0", 4));
  ASSERT_TRUE(file->allocate(100));
  EXPECT_EQ(*file->size(), 10000U);
  ASSERT_TRUE(file->punch({0, 4096}));
  EXPECT_EQ(read(*file, 0, 3), std::string(3, '\0'));
  EXPECT_EQ(*file->size(), 10000U);
}

TEST_P(FileIoContract, AMappingAndTheFileAreOne) {
  auto file = open("a");
  ASSERT_TRUE(file->allocate(8192));
  ASSERT_TRUE(file->write_at(5000, as_bytes("written")));
  auto memory = file->map(8192);
  ASSERT_TRUE(memory);
  EXPECT_EQ(as_text(memory->subspan(5000, 7)), "written");
  std::memcpy(memory->data() + 4096, "stored", 6);
  EXPECT_EQ(read(*file, 4096, 6), "stored");
  ASSERT_TRUE(file->write_at(0, as_bytes("later")));
  EXPECT_EQ(as_text(memory->first(5)), "later");
  ASSERT_TRUE(file->allocate(16384));
  memory = file->map(16384);
  ASSERT_TRUE(memory);
  EXPECT_EQ(as_text(memory->subspan(4096, 6)), "stored");
  EXPECT_EQ((*memory)[16383], std::byte{0});
  ASSERT_TRUE(file->sync());
  file.reset();
  EXPECT_EQ(read(*open("a"), 4096, 6), "stored");
}

TEST_P(FileIoContract, NamesAreListedRenamedAndRemoved) {
  ASSERT_TRUE(io().make_folder(path("d/e/f")));
  ASSERT_TRUE(io().make_folder(path("d/e/f")));
  open("d/b");
  auto a = open("d/a");
  ASSERT_TRUE(a->write_at(0, as_bytes("a")));
  EXPECT_EQ(*io().list(path("d")), (std::vector<std::string>{"a", "b", "e"}));
  ASSERT_TRUE(io().rename(path("d/a"), path("d/b")));
  EXPECT_EQ(*io().list(path("d")), (std::vector<std::string>{"b", "e"}));
  EXPECT_EQ(read(*open("d/b"), 0, 5), "a");
  EXPECT_TRUE(is_errno(io().rename(path("d/a"), path("d/b")).error(), ENOENT));
  ASSERT_TRUE(io().remove(path("d/b")));
  EXPECT_EQ(read(*a, 0, 5), "a") << "an open file outlives its name";
  EXPECT_TRUE(is_errno(io().remove(path("d/b")).error(), ENOENT));
  EXPECT_FALSE(*io().exists(path("d/b")));
  EXPECT_TRUE(*io().exists(path("d/e")));
  EXPECT_TRUE(is_errno(io().list(path("no")).error(), ENOENT));
  EXPECT_TRUE(io().sync_folder(path("d")));
  EXPECT_TRUE(io().sync_all(path("d")));
  EXPECT_GT(*io().free_space(path("d")), 0U);
  EXPECT_FALSE(io().boot_id().empty());
  EXPECT_EQ(io().boot_id(), io().boot_id());
}

TEST_P(FileIoContract, ALockIsHeldOnceAndSaysByWhom) {
  auto lock = io().lock(path("lock"), "the first");
  ASSERT_TRUE(lock);
  auto second = io().lock(path("lock"), "the second");
  ASSERT_FALSE(second);
  EXPECT_TRUE(is_errno(second.error(), EBUSY));
  EXPECT_NE(second.error().detail.find("the first"), std::string::npos) << second.error().detail;
  lock->reset();
  EXPECT_TRUE(io().lock(path("lock"), "the third"));
}

TEST_P(FileIoContract, AReplacedFileIsTheNewOne) {
  ASSERT_TRUE(replace_file(io(), path("conf"), as_bytes("one, long")));
  ASSERT_TRUE(replace_file(io(), path("conf"), as_bytes("two")));
  EXPECT_EQ(read(*open("conf"), 0, 100), "two");
  EXPECT_FALSE(*io().exists(path("conf.tmp")));
}

INSTANTIATE_TEST_SUITE_P(All, FileIoContract, ::testing::Values(true, false),
                         [](const auto& at) { return at.param ? "System" : "Fake"; });

// ---------------------------------------------------------------------------------------- the fake
// alone

TEST(FakeDisk, AReplacedFileIsTheOldOrTheNewOneAfterAPowerLossAtAnyCall) {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    test::FakeFileIo io;
    ASSERT_TRUE(io.make_folder("/d"));
    const std::string old(1500, 'o');
    const std::string now(2500, 'n');
    ASSERT_TRUE(replace_file(io, "/d/f", as_bytes(old)));
    std::uint64_t calls = 0;
    io.watch([&](std::uint64_t, const std::string& what) {
      auto disk = io.clone();
      disk->crash(seed * 100 + ++calls);
      const auto found = disk->content("/d/f");
      EXPECT_TRUE(as_text(found) == old || as_text(found) == now) << what;
    });
    ASSERT_TRUE(replace_file(io, "/d/f", as_bytes(now)));
    EXPECT_GE(calls, 5U);
    io.watch(nullptr);
    io.crash(seed);
    EXPECT_EQ(as_text(io.content("/d/f")), now);
  }
}

TEST(FakeDisk, ItLosesTearsAndFailsAsItSays) {
  test::FakeFileIo io;
  ASSERT_TRUE(io.make_folder("/d"));
  auto file = *io.open("/d/f", OpenMode::create);
  ASSERT_TRUE(file->write_at(0, as_bytes(std::string(8192, 'a'))));
  ASSERT_TRUE(file->sync());
  {
    auto disk = io.clone();
    disk->crash(1, test::FakeFileIo::Crash::lose_unsynced);
    EXPECT_TRUE(disk->files().empty()) << "the name was not synced";
  }
  ASSERT_TRUE(io.sync_folder("/d"));
  ASSERT_TRUE(file->write_at(0, as_bytes(std::string(8192, 'b'))));
  bool torn = false;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    auto disk = io.clone();
    disk->crash(seed);
    const auto found = disk->content("/d/f");
    ASSERT_EQ(found.size(), 8192U);
    for (std::size_t i = 0; i < found.size(); ++i) ASSERT_EQ(found[i], found[i / 512 * 512]);
    torn = torn || found.front() != found.back();
  }
  EXPECT_TRUE(torn);
  io.fail_nth(0, ENOSPC);
  EXPECT_TRUE(is_errno(file->write_at(0, as_bytes("c")).error(), ENOSPC));
  EXPECT_TRUE(io.fault_fired());
  const auto boot = io.boot_id();
  io.crash(3, test::FakeFileIo::Crash::lose_unsynced);
  EXPECT_NE(io.boot_id(), boot);
  EXPECT_EQ(as_text(io.content("/d/f")), std::string(8192, 'a'));
  EXPECT_FALSE(file->write_at(0, as_bytes("from the grave")));
}

}  // namespace
}  // namespace ebb
