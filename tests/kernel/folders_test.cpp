// Listings as the kernel asks for them.
#include <cerrno>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "tests/kernel/fake_client.h"
#include "tests/kernel/kernel.h"

namespace ebb::test {
namespace {

struct Listed {
  std::uint64_t node = 0;  // readdirplus: what counts as a lookup
  std::uint64_t offset = 0;
  std::string name;
};

std::vector<Listed> parse(const Answer& answer, bool plus) {
  std::vector<Listed> all;
  std::size_t at = 0;
  while (at + sizeof(fuse_dirent) <= answer.body.size()) {
    Listed one;
    if (plus) {
      one.node = answer.as<fuse_entry_out>(at).nodeid;
      at += sizeof(fuse_entry_out);
    }
    const auto entry = answer.as<fuse_dirent>(at);
    one.offset = entry.off;
    one.name = answer.text().substr(at + FUSE_NAME_OFFSET, entry.namelen);
    at += FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + entry.namelen);
    all.push_back(one);
  }
  return all;
}

class Folders : public testing::Test {
 protected:
  Folders() {
    core.open.handle = 7;
    for (std::uint64_t i = 0; i < 100; ++i) {
      fusefs::FolderEntry entry;
      entry.name = "entry" + std::to_string(i);
      entry.cookie = 16 + 3 * i;
      entry.attributes.node = NodeId(1000 + i);
      entry.attributes.kind = fusefs::Kind::file;
      core.entries.push_back(entry);
    }
  }

  Answer read(bool plus, std::uint64_t offset, std::uint32_t size) {
    fuse_read_in in{};
    in.fh = 7;
    in.offset = offset;
    in.size = size;
    return kernel.ask(plus ? FUSE_READDIRPLUS : FUSE_READDIR, 1, bytes(in));
  }

  std::unique_ptr<fusefs::Client> client = make_fake_client();
  FakeCore& core = fake_core();
  Kernel kernel{*client};
};

TEST_F(Folders, the_kernel_may_keep_a_listing) {
  const auto out = kernel.ask(FUSE_OPENDIR, 1, bytes(fuse_open_in{})).as<fuse_open_out>();
  EXPECT_EQ(out.fh, 7u);
  EXPECT_TRUE(out.open_flags & FOPEN_CACHE_DIR);
  EXPECT_TRUE(out.open_flags & FOPEN_KEEP_CACHE);
}

TEST_F(Folders, every_entry_is_listed_once_however_small_the_buffer) {
  for (const bool plus : {false, true}) {
    for (const std::uint32_t size : {200u, 333u, 1000u, 4096u, 65536u}) {
      std::vector<std::string> names;
      std::uint64_t offset = 0;
      while (true) {
        const auto page = parse(read(plus, offset, size), plus);
        if (page.empty()) break;
        for (const Listed& entry : page) names.push_back(entry.name);
        offset = page.back().offset;
      }
      ASSERT_EQ(names.size(), 102u) << plus << " " << size;
      EXPECT_EQ(names[0], ".");
      EXPECT_EQ(names[1], "..");
      EXPECT_EQ(names[2], "entry0");
      EXPECT_EQ(names[101], "entry99");
    }
  }
}

TEST_F(Folders, a_listing_goes_on_behind_any_entry) {
  EXPECT_EQ(parse(read(false, 0, 4096), false).front().name, ".");
  EXPECT_EQ(parse(read(false, 1, 4096), false).front().name, "..");
  EXPECT_EQ(parse(read(false, 2, 4096), false).front().name, "entry0");
  EXPECT_EQ(parse(read(false, 16, 4096), false).front().name, "entry1");
  EXPECT_TRUE(parse(read(false, 16 + 3 * 99, 4096), false).empty());
}

TEST_F(Folders, dots_count_as_no_lookup) {
  const auto page = parse(read(true, 0, 4096), true);
  ASSERT_GT(page.size(), 3u);
  EXPECT_EQ(page[0].node, 0u);
  EXPECT_EQ(page[1].node, 0u);
  EXPECT_EQ(page[2].node, 1000u);
  EXPECT_TRUE(core.called("read_folder 7 0 counted"));
}

TEST_F(Folders, a_lost_listing_takes_back_exactly_the_lookups_that_were_in_it) {
  const auto seen = parse(read(true, 2, 1000), true).size();
  core.calls.clear();
  kernel.break_answers();
  fuse_read_in in{};
  in.fh = 7;
  in.offset = 2;
  in.size = 1000;
  kernel.send(FUSE_READDIRPLUS, 1, bytes(in));
  ASSERT_EQ(core.calls.size(), 1 + seen);
  EXPECT_EQ(core.calls[1], "forget 1000 1");
  EXPECT_EQ(core.calls.back(), "forget " + std::to_string(1000 + seen - 1) + " 1");
}

TEST_F(Folders, an_error_is_told_when_nothing_was_listed_before_it) {
  core.error = EIO;
  core.entries.clear();
  EXPECT_EQ(read(false, 2, 4096).error, EIO);
  EXPECT_EQ(parse(read(false, 0, 4096), false).size(), 2u);
}

TEST_F(Folders, an_offset_of_nowhere_lists_nothing) {
  EXPECT_TRUE(parse(read(false, 1ull << 63, 4096), false).empty());
}

TEST_F(Folders, a_folder_is_synced_and_closed_by_its_handle) {
  fuse_fsync_in sync{};
  sync.fh = 7;
  EXPECT_EQ(kernel.ask(FUSE_FSYNCDIR, 1, bytes(sync)).error, 0);
  fuse_release_in release{};
  release.fh = 7;
  EXPECT_EQ(kernel.ask(FUSE_RELEASEDIR, 1, bytes(release)).error, 0);
  EXPECT_TRUE(core.called("fsync_folder 7"));
  EXPECT_TRUE(core.called("close_folder 7"));
}

}  // namespace
}  // namespace ebb::test
