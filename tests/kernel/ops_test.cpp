// Requests as the kernel sends them, what the core is called with, and what goes back.
#include <cerrno>
#include <initializer_list>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "base/file_io.h"
#include "tests/kernel/fake_client.h"
#include "tests/kernel/kernel.h"

namespace ebb::test {
namespace {

using fusefs::Attributes;
using fusefs::Kind;

constexpr std::uint64_t kNode = 0x0000'0700'0000'002a;  // index 42, generation 7

Attributes some_file() {
  Attributes a;
  a.node = NodeId(kNode);
  a.kind = Kind::file;
  a.mode = 0640;
  a.links = 2;
  a.uid = 1000;
  a.gid = 1001;
  a.size = 12345678901;
  a.blocks = 24;
  a.mtime = 1'700'000'000'123'456'789;
  a.ctime = -1;  // the last nanosecond before 1970
  return a;
}

class Memory : public File {
 public:
  explicit Memory(std::string text) : text_(std::move(text)) {}
  Result<std::size_t> read_at(std::uint64_t offset, std::span<std::byte> out) const override {
    const auto part = text_.substr(offset, out.size());
    std::memcpy(out.data(), part.data(), part.size());
    return part.size();
  }
  Result<> write_at(std::uint64_t, ByteView) override { return fail_errno(EIO); }
  Result<std::uint64_t> size() const override { return text_.size(); }
  Result<> truncate(std::uint64_t) override { return fail_errno(EIO); }
  Result<> allocate(std::uint64_t) override { return fail_errno(EIO); }
  Result<> punch(Range) override { return fail_errno(EIO); }
  Result<> sync() override { return {}; }
  Result<std::span<std::byte>> map(std::uint64_t) override { return fail_errno(EIO); }
  int fd() const override { return -1; }

 private:
  std::string text_;
};

class Ops : public testing::Test {
 protected:
  Ops() {
    core.attributes = some_file();
    core.open.handle = 77;
    core.calls.clear();
  }
  std::unique_ptr<fusefs::Client> client = make_fake_client();
  FakeCore& core = fake_core();
  Kernel kernel{*client};

  void expect_calls(const std::vector<std::string>& calls) { EXPECT_EQ(core.calls, calls); }
  /// How often a request was answered, of all that has come back.
  int answers_to(std::uint64_t unique) {
    int count = 0;
    while (auto answer = kernel.receive()) count += answer->unique == unique;
    return count;
  }
  /// libfuse keeps an interrupt that came too late until another request has come.
  void settle() {
    for (int i = 0; i < 400; ++i) {
      kernel.send(FUSE_GETATTR, kNode, bytes(fuse_getattr_in{}));
      while (kernel.receive()) {
      }
    }
  }
};

void expect_attributes(const fuse_attr& a) {
  EXPECT_EQ(a.ino, kNode);
  EXPECT_EQ(a.mode, S_IFREG | 0640u);
  EXPECT_EQ(a.nlink, 2u);
  EXPECT_EQ(a.uid, 1000u);
  EXPECT_EQ(a.gid, 1001u);
  EXPECT_EQ(a.size, 12345678901u);
  EXPECT_EQ(a.blocks, 24u);
  EXPECT_EQ(a.mtime, 1'700'000'000u);
  EXPECT_EQ(a.mtimensec, 123'456'789u);
  EXPECT_EQ(static_cast<std::int64_t>(a.ctime), -1);
  EXPECT_EQ(a.ctimensec, 999'999'999u);
}

TEST_F(Ops, the_kernel_is_asked_for_what_the_design_needs) {
  const std::uint32_t flags = kernel.agreed.flags;
  for (std::uint32_t on :
       {FUSE_ASYNC_READ, FUSE_ATOMIC_O_TRUNC, FUSE_PARALLEL_DIROPS, FUSE_DO_READDIRPLUS,
        FUSE_READDIRPLUS_AUTO, FUSE_CACHE_SYMLINKS, FUSE_EXPLICIT_INVAL_DATA, FUSE_MAX_PAGES}) {
    EXPECT_TRUE(flags & on) << std::hex << on;
  }
  for (std::uint32_t off :
       {FUSE_WRITEBACK_CACHE, FUSE_POSIX_ACL, FUSE_EXPORT_SUPPORT, FUSE_AUTO_INVAL_DATA,
        FUSE_HANDLE_KILLPRIV, FUSE_POSIX_LOCKS, FUSE_FLOCK_LOCKS, FUSE_DONT_MASK}) {
    EXPECT_FALSE(flags & off) << std::hex << off;
  }
  EXPECT_EQ(kernel.agreed.max_write, 1u << 20);
  EXPECT_EQ(kernel.agreed.max_pages, 256u);
  EXPECT_EQ(kernel.agreed.max_background, 64u);
}

TEST_F(Ops, a_lookup_gives_the_entry_with_all_its_attributes_for_a_day) {
  const auto entry = kernel.ask(FUSE_LOOKUP, 1, bytes("name")).as<fuse_entry_out>();
  EXPECT_EQ(entry.nodeid, kNode);
  EXPECT_EQ(entry.generation, 0u);
  EXPECT_EQ(entry.entry_valid, 86400u);
  EXPECT_EQ(entry.attr_valid, 86400u);
  expect_attributes(entry.attr);
  expect_calls({"lookup 1 name"});
}

TEST_F(Ops, a_name_that_is_not_there_is_an_answer_to_keep) {
  core.error = ENOENT;
  const auto answer = kernel.ask(FUSE_LOOKUP, 1, bytes("none"));
  EXPECT_EQ(answer.error, 0);
  EXPECT_EQ(answer.as<fuse_entry_out>().nodeid, 0u);
  EXPECT_EQ(answer.as<fuse_entry_out>().entry_valid, 86400u);
}

TEST_F(Ops, names_are_bytes) {
  const std::string odd = "\x01 \xff\xfe'\"\\\n";
  kernel.ask(FUSE_LOOKUP, kNode, bytes(odd));
  expect_calls({"lookup " + std::to_string(kNode) + " " + odd});
}

TEST_F(Ops, attributes_are_asked_of_the_node_or_the_handle) {
  fuse_getattr_in in{};
  expect_attributes(kernel.ask(FUSE_GETATTR, kNode, bytes(in)).as<fuse_attr_out>().attr);
  in.getattr_flags = FUSE_GETATTR_FH;
  in.fh = 5;
  kernel.ask(FUSE_GETATTR, kNode, bytes(in));
  const std::string node = std::to_string(kNode);
  expect_calls({"attributes " + node, "attributes " + node + " handle 5"});
}

TEST_F(Ops, every_kind_has_its_type_bits) {
  const std::vector<std::pair<Kind, std::uint32_t>> kinds{
      {Kind::file, S_IFREG},        {Kind::folder, S_IFDIR},  {Kind::symlink, S_IFLNK},
      {Kind::fifo, S_IFIFO},        {Kind::socket, S_IFSOCK}, {Kind::character_device, S_IFCHR},
      {Kind::block_device, S_IFBLK}};
  for (const auto& [kind, bits] : kinds) {
    core.attributes.kind = kind;
    const auto out = kernel.ask(FUSE_GETATTR, kNode, bytes(fuse_getattr_in{})).as<fuse_attr_out>();
    EXPECT_EQ(out.attr.mode & S_IFMT, bits);
  }
}

TEST_F(Ops, setattr_passes_on_what_is_to_change_and_nothing_else) {
  fuse_setattr_in in{};
  in.mode = S_IFREG | 0600;
  in.uid = 5;
  in.gid = 6;
  in.size = 7;
  in.mtime = static_cast<std::uint64_t>(-2);
  in.mtimensec = 3;
  in.atime = 4;
  in.atimensec = 5;
  in.fh = 9;
  const std::vector<std::pair<std::uint32_t, std::string>> cases{
      {0, ""},
      {FATTR_MODE, " mode=600"},
      {FATTR_UID | FATTR_GID | FATTR_MODE, " mode=600 uid=5 gid=6"},
      {FATTR_SIZE | FATTR_MODE, " mode=600 size=7"},
      {FATTR_SIZE | FATTR_FH | FATTR_MODE, " handle 9 mode=600 size=7"},
      {FATTR_MTIME, " mtime=-1999999997"},
      {FATTR_ATIME, " atime=4000000005"},
      {FATTR_CTIME, ""}};
  for (const auto& [valid, change] : cases) {
    core.calls.clear();
    in.valid = valid;
    expect_attributes(kernel.ask(FUSE_SETATTR, kNode, bytes(in)).as<fuse_attr_out>().attr);
    expect_calls({"set_attributes " + std::to_string(kNode) + change});
  }
}

TEST_F(Ops, both_times_now_are_one_time) {
  fuse_setattr_in in{};
  in.valid = FATTR_MTIME | FATTR_MTIME_NOW | FATTR_ATIME | FATTR_ATIME_NOW;
  kernel.ask(FUSE_SETATTR, kNode, bytes(in));
  const std::string& call = core.calls.back();
  const auto number = [&](const std::string& name) {
    return std::stoll(call.substr(call.find(name) + name.size()));
  };
  EXPECT_EQ(number("mtime="), number("atime="));
}

TEST_F(Ops, mtime_now_is_now) {
  fuse_setattr_in in{};
  in.valid = FATTR_MTIME | FATTR_MTIME_NOW;
  const WallNs before = system_clock().wall();
  kernel.ask(FUSE_SETATTR, kNode, bytes(in));
  const std::string& call = core.calls.back();
  const WallNs said = std::stoll(call.substr(call.find("mtime=") + 6));
  EXPECT_GE(said, before);
  EXPECT_LE(said, system_clock().wall());
}

TEST_F(Ops, a_write_or_truncation_by_an_ordinary_user_takes_the_set_id_bits) {
  core.attributes.mode = 06755;
  fuse_write_in write{};
  write.fh = 77;
  write.size = 1;
  kernel.ask(FUSE_WRITE, kNode, bytes(write, 'x'));
  EXPECT_TRUE(core.called("set_attributes " + std::to_string(kNode) + " mode=755"));
  core.calls.clear();
  fuse_setattr_in cut{};
  cut.valid = FATTR_SIZE;
  kernel.ask(FUSE_SETATTR, kNode, bytes(cut));
  EXPECT_TRUE(core.called("set_attributes " + std::to_string(kNode) + " mode=755 size=0"));
  core.calls.clear();
  kernel.uid = 0;
  kernel.ask(FUSE_SETATTR, kNode, bytes(cut));
  EXPECT_TRUE(core.called("set_attributes " + std::to_string(kNode) + " size=0"));
  cut.valid = FATTR_UID;
  kernel.ask(FUSE_SETATTR, kNode, bytes(cut));
  EXPECT_TRUE(core.called("set_attributes " + std::to_string(kNode) + " mode=755 uid=0"));
}

TEST_F(Ops, a_new_owner_leaves_a_folders_bits_and_group_inheritance_alone) {
  core.attributes.kind = Kind::folder;
  core.attributes.mode = 02755;
  fuse_setattr_in in{};
  in.valid = FATTR_UID;
  in.uid = 3;
  kernel.ask(FUSE_SETATTR, kNode, bytes(in));
  EXPECT_TRUE(core.called("set_attributes " + std::to_string(kNode) + " uid=3"));
}

TEST_F(Ops, making_things) {
  fuse_mkdir_in folder{.mode = 0755, .umask = 022};
  EXPECT_EQ(kernel.ask(FUSE_MKDIR, 1, bytes(folder, "d")).as<fuse_entry_out>().nodeid, kNode);
  kernel.ask(FUSE_SYMLINK, 1, bytes("l", "to/there"));
  fuse_mknod_in special{};
  special.mode = S_IFIFO | 0600;
  kernel.ask(FUSE_MKNOD, 1, bytes(special, "fifo"));
  special.mode = S_IFSOCK | 0600;
  kernel.ask(FUSE_MKNOD, 1, bytes(special, "sock"));
  fuse_link_in link{.oldnodeid = kNode};
  kernel.ask(FUSE_LINK, 9, bytes(link, "again"));
  expect_calls({"make_folder 1 d 755 by 1000:1000", "make_symlink 1 l -> to/there by 1000:1000",
                "make_special 1 fifo kind 4 0 600 by 1000:1000",
                "make_special 1 sock kind 5 0 600 by 1000:1000",
                "link " + std::to_string(kNode) + " 9 again"});
}

TEST_F(Ops, mknod_of_a_regular_file_leaves_no_handle_open) {
  fuse_mknod_in in{};
  in.mode = S_IFREG | 0644;
  EXPECT_EQ(kernel.ask(FUSE_MKNOD, 1, bytes(in, "f")).as<fuse_entry_out>().nodeid, kNode);
  ASSERT_EQ(core.calls.size(), 2u);
  EXPECT_EQ(core.calls[1], "release 77");
}

TEST_F(Ops, devices_keep_their_number) {
  fuse_mknod_in in{};
  in.rdev = 0x0103;
  core.attributes.device = 0x0103;
  for (std::uint32_t type : {S_IFCHR, S_IFBLK}) {
    in.mode = type | 0600;
    const auto out = kernel.ask(FUSE_MKNOD, 1, bytes(in, "null")).as<fuse_entry_out>();
    EXPECT_EQ(out.attr.rdev, 0x0103u);
  }
  expect_calls({"make_special 1 null kind 6 259 600 by 1000:1000",
                "make_special 1 null kind 7 259 600 by 1000:1000"});
}

TEST_F(Ops, removing_and_moving) {
  kernel.ask(FUSE_UNLINK, 1, bytes("f"));
  kernel.ask(FUSE_RMDIR, 1, bytes("d"));
  fuse_rename_in plain{.newdir = 9};
  kernel.ask(FUSE_RENAME, 1, bytes(plain, "a", "b"));
  fuse_rename2_in flags{.newdir = 9, .flags = 2 /* RENAME_EXCHANGE */, .padding = 0};
  kernel.ask(FUSE_RENAME2, 1, bytes(flags, "a", "b"));
  expect_calls(
      {"unlink 1 f", "remove_folder 1 d", "rename 1 a 9 b flags 0", "rename 1 a 9 b flags 2"});
}

TEST_F(Ops, the_target_of_a_symlink) {
  core.text = "../there";
  EXPECT_EQ(kernel.ask(FUSE_READLINK, kNode).text(), "../there");
}

TEST_F(Ops, create_gives_entry_and_handle) {
  fuse_create_in in{};
  in.flags = O_CREAT | O_RDWR;
  in.mode = S_IFREG | 0600;
  const auto answer = kernel.ask(FUSE_CREATE, 1, bytes(in, "new"));
  EXPECT_EQ(answer.as<fuse_entry_out>().nodeid, kNode);
  EXPECT_EQ(answer.as<fuse_open_out>(sizeof(fuse_entry_out)).fh, 77u);
  ASSERT_EQ(core.calls.size(), 1u);
  EXPECT_EQ(core.calls[0].substr(0, 16), "create 1 new 600");
}

TEST_F(Ops, an_open_file_is_read_written_and_closed_by_its_handle) {
  fuse_open_in open{};
  open.flags = O_RDWR;
  EXPECT_EQ(kernel.ask(FUSE_OPEN, kNode, bytes(open)).as<fuse_open_out>().fh, 77u);
  core.piece = {.file = std::make_shared<Memory>("0123456789"), .offset = 2, .size = 5};
  fuse_read_in read{};
  read.fh = 77;
  read.offset = 1ull << 40;
  read.size = 4096;
  EXPECT_EQ(kernel.ask(FUSE_READ, kNode, bytes(read)).text(), "23456");
  fuse_write_in write{};
  write.fh = 77;
  write.offset = 1ull << 41;
  write.size = 4;
  EXPECT_EQ(
      kernel.ask(FUSE_WRITE, kNode, bytes(write, 'd', 'a', 't', 'a')).as<fuse_write_out>().size,
      4u);
  kernel.ask(FUSE_FLUSH, kNode,
             bytes(fuse_flush_in{.fh = 77, .unused = 0, .padding = 0, .lock_owner = 0}));
  fuse_fsync_in sync{};
  sync.fh = 77;
  kernel.ask(FUSE_FSYNC, kNode, bytes(sync));
  sync.fsync_flags = FUSE_FSYNC_FDATASYNC;
  kernel.ask(FUSE_FSYNC, kNode, bytes(sync));
  fuse_release_in release{};
  release.fh = 77;
  kernel.ask(FUSE_RELEASE, kNode, bytes(release));
  for (const char* call : {"read 77 1099511627776 4096", "write 77 2199023255552 data", "flush 77",
                           "fsync 77", "fsync 77 data", "release 77"}) {
    EXPECT_TRUE(core.called(call)) << call;
  }
}

TEST_F(Ops, content_with_a_descriptor_is_read_from_it) {
  char path[] = "/tmp/ebb-kernel-test-XXXXXX";
  const int fd = ::mkstemp(path);
  ::close(fd);
  auto file = system_file_io().open(path, OpenMode::write);
  ASSERT_TRUE(file);
  const std::string content(100'000, 'c');
  ASSERT_TRUE((*file)->write_at(3, as_bytes(content)));
  core.piece = {.file = std::move(*file), .offset = 3, .size = content.size()};
  fuse_read_in read{};
  read.fh = 77;
  read.size = 131072;
  EXPECT_EQ(kernel.ask(FUSE_READ, kNode, bytes(read)).text(), content);
  ::unlink(path);
}

TEST_F(Ops, the_end_of_a_file_is_an_empty_answer) {
  fuse_read_in read{};
  read.fh = 77;
  read.size = 10;
  const auto answer = kernel.ask(FUSE_READ, kNode, bytes(read));
  EXPECT_EQ(answer.error, 0);
  EXPECT_TRUE(answer.body.empty());
}

TEST_F(Ops, an_append_is_told_as_one) {
  fuse_write_in write{};
  write.fh = 77;
  write.offset = 3;
  write.size = 1;
  write.flags = O_WRONLY | O_APPEND;
  kernel.ask(FUSE_WRITE, kNode, bytes(write, 'x'));
  EXPECT_TRUE(core.called("write 77 3 x append"));
}

TEST_F(Ops, what_open_tells_the_kernel) {
  fuse_open_in in{};
  for (const bool keep : {false, true}) {
    for (const int flags : {O_RDONLY, O_WRONLY, O_RDWR}) {
      core.open.keep_cache = keep;
      core.open.flush = !keep;
      in.flags = static_cast<std::uint32_t>(flags);
      const auto out = kernel.ask(FUSE_OPEN, kNode, bytes(in)).as<fuse_open_out>();
      EXPECT_EQ((out.open_flags & FOPEN_KEEP_CACHE) != 0, keep);
      EXPECT_EQ((out.open_flags & FOPEN_NOFLUSH) != 0, keep);
      EXPECT_EQ((out.open_flags & FOPEN_DIRECT_IO) != 0, flags == O_WRONLY)
          << "who only writes needs no pages";
    }
  }
}

#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
TEST_F(Ops, what_open_tells_the_kernel_of_a_file_that_it_reads_and_writes_by_itself) {
  constexpr std::uint32_t kPassthrough = 1u << 7;  // newer than Debian's linux/fuse.h
  core.open.backing = 5;
  fuse_open_in in{};
  for (const int flags : {O_RDONLY, O_WRONLY, O_RDWR}) {
    in.flags = static_cast<std::uint32_t>(flags);
    const auto out = kernel.ask(FUSE_OPEN, kNode, bytes(in)).as<fuse_open_out>();
    // With any other flag it refuses the open.
    EXPECT_EQ(out.open_flags & ~static_cast<std::uint32_t>(FOPEN_NOFLUSH), kPassthrough);
  }
}
#endif

TEST_F(Ops, allocate_and_seek) {
  fuse_fallocate_in allocate{.fh = 77, .offset = 10, .length = 20, .mode = 3, .padding = 0};
  EXPECT_EQ(kernel.ask(FUSE_FALLOCATE, kNode, bytes(allocate)).error, 0);
  EXPECT_TRUE(core.called("allocate 77 3 10 20"));
  allocate.length = 0;
  EXPECT_EQ(kernel.ask(FUSE_FALLOCATE, kNode, bytes(allocate)).error, EINVAL);
  core.number = 4096;
  fuse_lseek_in seek{.fh = 77, .offset = 5, .whence = 3, .padding = 0};
  EXPECT_EQ(kernel.ask(FUSE_LSEEK, kNode, bytes(seek)).as<fuse_lseek_out>().offset, 4096u);
  EXPECT_TRUE(core.called("seek 77 5 3"));
}

TEST_F(Ops, the_filesystems_figures) {
  core.space = {
      .bytes_total = 1u << 30, .bytes_free = 1u << 20, .files_total = 1000, .files_free = 900,
      .bytes_available = 1u << 19};
  const auto st = kernel.ask(FUSE_STATFS, 1).as<fuse_statfs_out>().st;
  EXPECT_EQ(std::uint64_t{st.bsize} * st.blocks, 1u << 30);
  EXPECT_EQ(std::uint64_t{st.bsize} * st.bfree, 1u << 20);
  EXPECT_EQ(std::uint64_t{st.bsize} * st.bavail, 1u << 19);
  EXPECT_EQ(st.files, 1000u);
  EXPECT_EQ(st.ffree, 900u);
  EXPECT_EQ(st.namelen, 255u);
}

TEST_F(Ops, extended_attributes_keep_getxattrs_rules_of_size) {
  core.text = std::string("va\0lue", 6);
  fuse_getxattr_in in{};
  EXPECT_EQ(kernel.ask(FUSE_GETXATTR, kNode, bytes(in, "user.a")).as<fuse_getxattr_out>().size, 6u);
  in.size = 5;
  EXPECT_EQ(kernel.ask(FUSE_GETXATTR, kNode, bytes(in, "user.a")).error, ERANGE);
  in.size = 6;
  EXPECT_EQ(kernel.ask(FUSE_GETXATTR, kNode, bytes(in, "user.a")).text(), core.text);
  core.names = {"user.a", "user.bc"};
  in.size = 0;
  EXPECT_EQ(kernel.ask(FUSE_LISTXATTR, kNode, bytes(in)).as<fuse_getxattr_out>().size, 15u);
  in.size = 15;
  EXPECT_EQ(kernel.ask(FUSE_LISTXATTR, kNode, bytes(in)).text(),
            std::string("user.a\0user.bc\0", 15));
}

TEST_F(Ops, extended_attributes_are_set_and_removed) {
  struct {
    std::uint32_t size = 4;
    std::uint32_t flags = 1;
  } in;
  kernel.ask(FUSE_SETXATTR, kNode, bytes(in, "user.ebb.status", 's', 'y', 'n', 'c'));
  kernel.ask(FUSE_REMOVEXATTR, kNode, bytes("user.a"));
  const std::string node = std::to_string(kNode);
  expect_calls(
      {"set_xattr " + node + " user.ebb.status=sync flags 1", "remove_xattr " + node + " user.a"});
}

TEST_F(Ops, forget_says_how_many) {
  kernel.send(FUSE_FORGET, kNode, bytes(fuse_forget_in{.nlookup = 3}));
  const fuse_batch_forget_in batch{.count = 2, .dummy = 0};
  const fuse_forget_one one{.nodeid = 5, .nlookup = 1};
  const fuse_forget_one two{.nodeid = 6, .nlookup = 4};
  kernel.send(FUSE_BATCH_FORGET, 0, bytes(batch, one, two));
  EXPECT_FALSE(kernel.receive()) << "a forget has no answer";
  expect_calls({"forget " + std::to_string(kNode) + " 3", "forget 5 1", "forget 6 4"});
}

// ---- errors

TEST_F(Ops, an_errno_of_the_core_is_the_errno_of_the_kernel) {
  const fuse_rename_in rename{.newdir = 1};
  const fuse_getxattr_in xattr{.size = 10, .padding = 0};
  const std::vector<std::pair<std::uint32_t, Bytes>> requests{
      {FUSE_LOOKUP, bytes("n")},
      {FUSE_GETATTR, bytes(fuse_getattr_in{})},
      {FUSE_SETATTR, bytes(fuse_setattr_in{})},
      {FUSE_READLINK, {}},
      {FUSE_MKDIR, bytes(fuse_mkdir_in{}, "n")},
      {FUSE_SYMLINK, bytes("n", "t")},
      {FUSE_UNLINK, bytes("n")},
      {FUSE_RMDIR, bytes("n")},
      {FUSE_RENAME, bytes(rename, "a", "b")},
      {FUSE_LINK, bytes(fuse_link_in{}, "n")},
      {FUSE_OPEN, bytes(fuse_open_in{})},
      {FUSE_CREATE, bytes(fuse_create_in{}, "n")},
      {FUSE_READ, bytes(fuse_read_in{})},
      {FUSE_WRITE, bytes(fuse_write_in{})},
      {FUSE_FLUSH, bytes(fuse_flush_in{})},
      {FUSE_FSYNC, bytes(fuse_fsync_in{})},
      {FUSE_OPENDIR, bytes(fuse_open_in{})},
      {FUSE_FSYNCDIR, bytes(fuse_fsync_in{})},
      {FUSE_GETXATTR, bytes(xattr, "user.n")},
      {FUSE_LISTXATTR, bytes(xattr)},
      {FUSE_REMOVEXATTR, bytes("user.n")},
  };
  for (const int error :
       {EIO, ENOTEMPTY, EXDEV, EHOSTDOWN, ETIMEDOUT, ESTALE, EINPROGRESS, ENOSPC}) {
    core.error = error;
    for (const auto& [opcode, body] : requests) {
      EXPECT_EQ(kernel.ask(opcode, kNode, body).error, error) << "opcode " << opcode;
    }
  }
}

TEST_F(Ops, unknown_requests_are_enosys) {
  for (const std::uint32_t opcode : std::initializer_list<std::uint32_t>{
           FUSE_ACCESS, FUSE_IOCTL, FUSE_POLL, FUSE_COPY_FILE_RANGE, FUSE_GETLK,
           FUSE_SETLK, FUSE_SETLKW, FUSE_BMAP, 4000, 77}) {
    EXPECT_EQ(kernel.ask(opcode, kNode, Bytes(200)).error, ENOSYS) << opcode;
  }
  expect_calls({});
}

// ---- answers that are lost

TEST_F(Ops, a_lost_entry_takes_back_its_lookup) {
  kernel.break_answers();
  kernel.send(FUSE_LOOKUP, 1, bytes("n"));
  expect_calls({"lookup 1 n", "forget " + std::to_string(kNode) + " 1"});
}

TEST_F(Ops, a_lost_open_takes_back_its_handle) {
  kernel.break_answers();
  kernel.send(FUSE_OPEN, kNode, bytes(fuse_open_in{}));
  kernel.send(FUSE_OPENDIR, kNode, bytes(fuse_open_in{}));
  EXPECT_TRUE(core.called("release 77"));
  EXPECT_TRUE(core.called("close_folder 77"));
}

TEST_F(Ops, a_lost_create_takes_back_both) {
  kernel.break_answers();
  kernel.send(FUSE_CREATE, 1, bytes(fuse_create_in{}, "n"));
  EXPECT_TRUE(core.called("release 77"));
  EXPECT_TRUE(core.called("forget " + std::to_string(kNode) + " 1"));
}

// ---- answers that come later

TEST_F(Ops, an_answer_may_come_after_the_request) {
  core.hold = true;
  const auto unique = kernel.send(FUSE_LOOKUP, 1, bytes("n"));
  EXPECT_FALSE(kernel.receive());
  core.answer(1);
  const auto answer = kernel.receive();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->unique, unique);
  EXPECT_EQ(answer->as<fuse_entry_out>().nodeid, kNode);
}

TEST_F(Ops, an_answer_of_another_thread_may_come_before_the_call_has_returned) {
  core.hold = true;
  core.inside = [this] { std::thread([this] { core.answer(core.last_ticket); }).join(); };
  EXPECT_EQ(kernel.ask(FUSE_LOOKUP, 1, bytes("n")).as<fuse_entry_out>().nodeid, kNode);
}

TEST_F(Ops, an_interrupted_read_answers_eintr) {
  core.hold = true;
  fuse_read_in read{};
  read.fh = 77;
  const auto unique = kernel.send(FUSE_READ, kNode, bytes(read));
  kernel.interrupt(unique);
  EXPECT_TRUE(core.called("interrupt 1"));
  const auto answer = kernel.receive();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->unique, unique);
  EXPECT_EQ(answer->error, EINTR);
  core.answer(1);
  EXPECT_FALSE(kernel.receive()) << "answered once";
}

TEST_F(Ops, an_interrupt_that_overtakes_its_request_is_not_lost) {
  core.hold = true;
  fuse_in_header header{};
  fuse_read_in read{};
  header.len = sizeof header + sizeof read;
  header.opcode = FUSE_READ;
  header.unique = 1000;
  header.nodeid = kNode;
  kernel.interrupt(1000);
  kernel.send_raw(bytes(header, read));
  bool answered = false;
  while (auto answer = kernel.receive()) {
    answered = answered || (answer->unique == 1000 && answer->error == EINTR);
  }
  EXPECT_TRUE(answered);
}

TEST_F(Ops, an_interrupt_of_what_is_answered_already_does_nothing) {
  const auto unique = kernel.send(FUSE_LOOKUP, 1, bytes("n"));
  kernel.interrupt(unique);
  EXPECT_FALSE(core.called("interrupt 1"));
  settle();
}

TEST_F(Ops, answers_and_interrupts_may_meet_in_any_order) {
  core.hold = true;
  for (fusefs::Ticket ticket = 1; ticket <= 300; ++ticket) {
    fuse_read_in read{};
    const auto unique = kernel.send(FUSE_READ, kNode, bytes(read));
    std::thread other([this, ticket] { core.answer(ticket); });
    kernel.interrupt(unique);
    other.join();
    EXPECT_EQ(answers_to(unique), 1);
  }
  settle();
}

// ---- nonsense

TEST_F(Ops, malformed_requests_are_harmless) {
  for (std::uint32_t opcode = 0; opcode < 60; ++opcode) {
    if (opcode == FUSE_INIT || opcode == FUSE_DESTROY || opcode == FUSE_INTERRUPT) continue;
    if (opcode == FUSE_NOTIFY_REPLY) continue;  // never answered, and libfuse forgets to free it
    // A body of that size, all zero but for its end: every string in it ends.
    for (const std::size_t size : {0u, 1u, 8u, 40u, 200u}) {
      if (size < 8 && opcode != FUSE_FORGET)
        continue;  // libfuse trusts the kernel with the fixed parts
      kernel.send(opcode, kNode, Bytes(256 + size));
      while (kernel.receive()) {
      }
    }
  }
}

TEST_F(Ops, a_packet_that_is_no_request_is_dropped) {
  kernel.send_raw(Bytes(10));
  EXPECT_FALSE(kernel.receive());
}

TEST_F(Ops, a_negative_size_or_offset_is_refused) {
  fuse_setattr_in cut{};
  cut.valid = FATTR_SIZE;
  cut.size = 1ull << 63;
  EXPECT_EQ(kernel.ask(FUSE_SETATTR, kNode, bytes(cut)).error, EINVAL);
  fuse_fallocate_in allocate{.fh = 1, .offset = 1ull << 63, .length = 1, .mode = 0, .padding = 0};
  EXPECT_EQ(kernel.ask(FUSE_FALLOCATE, kNode, bytes(allocate)).error, EINVAL);
  expect_calls({});
}

}  // namespace
}  // namespace ebb::test
