// What the kernel's caches are told.
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/kernel/fake_client.h"
#include "tests/kernel/kernel.h"

namespace ebb::test {
namespace {

class Notifier : public testing::Test {
 protected:
  Notifier() { kernel.notifier().attach(kernel.session()); }

  std::vector<Answer> told() {
    kernel.notifier().drain();
    std::vector<Answer> all;
    while (auto one = kernel.receive()) all.push_back(*one);
    return all;
  }

  std::unique_ptr<fusefs::Client> client = make_fake_client();
  Kernel kernel{*client};
};

TEST_F(Notifier, attributes_leave_the_content_in_the_cache) {
  kernel.notifier().attributes_changed(NodeId(42));
  const auto all = told();
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].unique, 0u);
  EXPECT_EQ(all[0].error, FUSE_NOTIFY_INVAL_INODE);
  EXPECT_EQ(all[0].as<fuse_notify_inval_inode_out>().ino, 42u);
  EXPECT_LT(all[0].as<fuse_notify_inval_inode_out>().off, 0);
}

TEST_F(Notifier, a_name_is_told_with_the_listing_of_its_folder) {
  kernel.notifier().name_changed(NodeId(42), "name");
  const auto all = told();
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].error, FUSE_NOTIFY_INVAL_ENTRY);
  EXPECT_EQ(all[0].as<fuse_notify_inval_entry_out>().parent, 42u);
  EXPECT_EQ(all[0].text().substr(sizeof(fuse_notify_inval_entry_out)), std::string("name\0", 5));
  EXPECT_EQ(all[1].error, FUSE_NOTIFY_INVAL_INODE);
  EXPECT_EQ(all[1].as<fuse_notify_inval_inode_out>().off, 0);
  EXPECT_EQ(all[1].as<fuse_notify_inval_inode_out>().len, 0);
}

TEST_F(Notifier, every_change_is_told_at_least_once) {
  constexpr std::uint64_t kNodes = 100;
  for (int round = 0; round < 20; ++round) {
    for (std::uint64_t i = 0; i < kNodes; ++i) kernel.notifier().attributes_changed(NodeId(10 + i));
    std::set<std::uint64_t> seen;
    for (const Answer& one : told()) seen.insert(one.as<fuse_notify_inval_inode_out>().ino);
    EXPECT_EQ(seen.size(), kNodes);
  }
}

TEST_F(Notifier, nothing_is_told_before_the_mount_and_after_its_end) {
  kernel.notifier().stop();
  kernel.notifier().attributes_changed(NodeId(42));
  kernel.notifier().name_changed(NodeId(42), "name");
  EXPECT_TRUE(told().empty());
}

TEST_F(Notifier, a_kernel_that_has_forgotten_the_node_is_no_error) {
  kernel.break_answers();  // ENOENT
  kernel.notifier().name_changed(NodeId(42), "name");
  EXPECT_TRUE(told().empty());
}

}  // namespace
}  // namespace ebb::test
