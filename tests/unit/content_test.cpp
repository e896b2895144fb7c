#include "store/content.h"

#include <algorithm>
#include <cerrno>

#include <gtest/gtest.h>

#include "tests/support/fake_file_io.h"

namespace ebb::store {
namespace {

TEST(Content, AFileIsMadeOnceFoundAndRemoved) {
  test::FakeFileIo io;
  ContentFolder content(io, "content");
  EXPECT_TRUE(content.list()->empty());
  auto file = content.create(0x1234, 5000);
  ASSERT_TRUE(file);
  EXPECT_EQ(*(*file)->size(), 5000U);
  EXPECT_TRUE(is_errno(content.create(0x1234, 0).error(), EEXIST));
  ASSERT_TRUE((*file)->write_at(0, as_bytes("bytes")));
  auto again = content.open(0x1234);
  ASSERT_TRUE(again);
  Bytes out(5);
  ASSERT_TRUE((*again)->read_at(0, out));
  EXPECT_EQ(as_text(out), "bytes");
  ASSERT_TRUE(content.create(0x34, 0));
  EXPECT_EQ(*content.list(), (std::vector<std::uint64_t>{0x34, 0x1234}));
  ASSERT_TRUE(content.remove(0x1234));
  EXPECT_TRUE(content.remove(0x1234));
  EXPECT_TRUE(is_errno(content.open(0x1234).error(), ENOENT));
}

TEST(Content, WhatWasSyncedSurvivesAPowerLossWithItsName) {
  test::FakeFileIo io;
  ContentFolder content(io, "content");
  auto file = content.create(7, 0);
  ASSERT_TRUE(file);
  ASSERT_TRUE((*file)->write_at(0, as_bytes("synced")));
  ASSERT_TRUE((*file)->sync());
  io.crash(1, test::FakeFileIo::Crash::lose_unsynced);
  EXPECT_EQ(as_text(io.content(content.path(7))), "synced");
}

TEST(Content, MakingAFileSyncsNothingAndSyncingTheFirstSyncsTheFolders) {
  test::FakeFileIo io;
  std::size_t synced = 0;
  io.watch([&](std::uint64_t, const std::string& what) {
    synced += what == "sync_folder content" ? 1 : 0;
  });
  ContentFolder content(io, "content");
  auto first = content.create(1, 0);
  auto second = content.create(2, 0);
  ASSERT_TRUE(first && second);
  EXPECT_EQ(synced, 0u);
  ASSERT_TRUE((*first)->sync());
  ASSERT_TRUE((*second)->sync());
  EXPECT_EQ(synced, 1u) << "both folders were there";
  auto third = content.create(3, 0);
  ASSERT_TRUE(third && (*third)->sync());
  EXPECT_EQ(synced, 2u);
}

TEST(Content, AFullDiskLeavesNoFileBehind) {
  test::FakeFileIo io;
  ContentFolder content(io, "content");
  ASSERT_TRUE(content.create(1, 0));
  io.fail_nth(1, ENOSPC);  // the file is made, its size is not set
  EXPECT_TRUE(is_errno(content.create(0x101, 100).error(), ENOSPC));
  EXPECT_EQ(*content.list(), (std::vector<std::uint64_t>{1}));
}

TEST(Extents, ArePackedAndUnpacked) {
  Extents extents;
  EXPECT_TRUE(unpack_extents({})->here().empty());
  extents.settled.add({0, 100});
  extents.settled.add({200, 300});
  extents.recent.add({90, 250});
  auto back = unpack_extents(pack(extents));
  ASSERT_TRUE(back);
  EXPECT_EQ(back->settled, extents.settled);
  EXPECT_EQ(back->recent, extents.recent);
  EXPECT_EQ(back->here().list(), (std::vector<Range>{{0, 300}}));
}

TEST(Extents, BytesThatAreNoExtentsAreRefused) {
  Extents extents;
  extents.settled.add({0, 100});
  extents.settled.add({200, 300});
  extents.recent.add({400, 500});
  const auto good = pack(extents);
  for (std::size_t cut = 1; cut < good.size(); ++cut) {
    EXPECT_FALSE(unpack_extents(ByteView(good).first(cut))) << cut;
  }
  auto longer = good;
  longer.push_back(std::byte{0});
  EXPECT_FALSE(unpack_extents(longer));
  for (const std::size_t at : {0U, 2U, 4U, 8U}) {  // version, zero, counts
    auto bad = good;
    bad[at] = std::byte{0x7f};
    EXPECT_FALSE(unpack_extents(bad)) << at;
  }
  auto backwards = good;
  std::swap_ranges(backwards.begin() + 12, backwards.begin() + 28, backwards.begin() + 28);
  EXPECT_FALSE(unpack_extents(backwards));
}

}  // namespace
}  // namespace ebb::store
