// What the program ebb reads: options, sources, the mount table, names in JSON; and its exit codes.
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <unistd.h>

#include "fusefs/ebb/console.h"
#include "fusefs/ebb/control.h"
#include "fusefs/ebb/mounts.h"
#include "fusefs/ebb/options.h"
#include "fusefs/ebb/program.h"
#include "fusefs/ebb/registry.h"
#include "fusefs/ebb/source.h"
#include "fusefs/ebb/state_folder.h"

namespace ebb::fusefs {
namespace {

TEST(MountOptions, say_what_they_say) {
  MountSettings settings;
  ASSERT_TRUE(parse_mount_options(
      "delay=0.5,root=syncless,hydrate=range,timeout=7,fsync=server,ro,insecure,"
      "allow_other,list_xattrs,no_passthrough,passthrough=2m,default_permissions,cache=10G,state=/"
      "s",
      settings));
  EXPECT_EQ(settings.delay, std::chrono::milliseconds(500));
  EXPECT_EQ(settings.root, Status::syncless);
  EXPECT_EQ(settings.hydrate, Hydrate::range);
  EXPECT_EQ(settings.timeout, std::chrono::seconds(7));
  EXPECT_TRUE(settings.fsync_server && settings.read_only && settings.insecure &&
              settings.allow_other && settings.list_xattrs);
  EXPECT_EQ(settings.state, "/s");
  EXPECT_TRUE(settings.passthrough);
  EXPECT_EQ(settings.passthrough_from, 2u << 20);
}

TEST(MountOptions, files_are_handed_to_the_kernel_unless_that_is_forbidden) {
  MountSettings settings;
  EXPECT_TRUE(settings.passthrough);
  ASSERT_TRUE(parse_mount_options("no_passthrough", settings));
  EXPECT_FALSE(settings.passthrough);
}

TEST(MountOptions, what_fstab_puts_in_between_means_nothing) {
  MountSettings settings;
  EXPECT_TRUE(parse_mount_options("defaults,rw,nofail,_netdev,noauto,x-systemd.automount,,nosuid",
                                  settings));
  EXPECT_FALSE(settings.read_only);
}

TEST(MountOptions, the_last_of_ro_and_rw_counts) {
  MountSettings settings;
  ASSERT_TRUE(parse_mount_options("ro,rw", settings));
  EXPECT_FALSE(settings.read_only);
  ASSERT_TRUE(parse_mount_options("rw,ro", settings));
  EXPECT_TRUE(settings.read_only);
}

TEST(MountOptions, wrong_ones_are_misuse) {
  for (const char* wrong : {"no_such",
                            "delay",
                            "delay=",
                            "delay=soon",
                            "delay=-1",
                            "delay=1e9",
                            "delay=nan",
                            "delay=1s",
                            "root=local",
                            "root=remote",
                            "timeout=0",
                            "hydrate=all",
                            "fsync=never",
                            "cache=much",
                            "cache=1X",
                            "state=",
                            "ro=yes",
                            "suid",
                            "dev",
                            "passthrough",
                            "passthrough=all",
                            "passthrough=99999999T"}) {
    MountSettings settings;
    const auto parsed = parse_mount_options(wrong, settings);
    ASSERT_FALSE(parsed) << wrong;
    EXPECT_EQ(parsed.error().exit_code, kUsage) << wrong;
    EXPECT_EQ(parsed.error().line.find('\n'), std::string::npos);
  }
}

TEST(Sources, are_addresses_or_folders) {
  EXPECT_EQ(parse_source("ebb://localhost/", true)->text(), "ebb://localhost:11000/");
  EXPECT_EQ(parse_source("ebb://[::1]:5", true)->text(), "ebb://[::1]:5/");
  EXPECT_EQ(parse_source("ebb://localhost/a/part", true)->text(), "ebb://localhost:11000/a/part");
  EXPECT_EQ(parse_source("unix:/a/../b.sock", false)->text(), "unix:/b.sock");
  EXPECT_EQ(parse_source("/srv//tree/", false)->text(), "/srv/tree");
  EXPECT_FALSE(parse_source("/srv/tree", false)->address);
  const auto invited = parse_source("ebb://example.org/#print.secret", false);
  EXPECT_EQ(invited->address->invitation, "print.secret");
  EXPECT_EQ(invited->text(), "ebb://example.org:11000/") << "a secret is not shown";
}

TEST(Sources, that_cannot_be_are_one_line) {
  const std::vector<std::pair<const char*, int>> wrong{{"", kUsage},
                                                       {"ebb://", kUsage},
                                                       {"ebb://h:x/", kUsage},
                                                       {"unix:", kUsage},
                                                       {"ebb://example.org/", kFailed},
                                                       {"ebb://localhost/#secret", kUsage}};
  for (const auto& [text, code] : wrong) {
    const auto source = parse_source(text, true);
    ASSERT_FALSE(source) << text;
    EXPECT_EQ(source.error().exit_code, code) << text;
    EXPECT_EQ(source.error().line.find("secret"), std::string::npos) << "a secret is not printed";
  }
}

TEST(MountTable, lines_are_read_with_their_escapes) {
  const auto mount = parse_mount_line(
      R"(523 29 0:61 /sub /mnt/a\040b\134c rw,nosuid,nodev,relatime shared:7 - fuse.ebb unix:/a\040b rw,user_id=1000,group_id=5,default_permissions)");
  ASSERT_TRUE(mount);
  EXPECT_TRUE(mount->ours());
  EXPECT_EQ(mount->device, "0:61");
  EXPECT_EQ(mount->root, "/sub");
  EXPECT_EQ(mount->point, "/mnt/a b\\c");
  EXPECT_EQ(mount->source, "unix:/a b");
  EXPECT_EQ(mount->user, 1000u);
}

TEST(MountTable, every_cut_line_is_none_or_harmless) {
  const std::string line = "523 29 0:61 / /m rw shared:7 - fuse.ebb src rw,user_id=0";
  for (std::size_t i = 0; i < line.size(); ++i) parse_mount_line(line.substr(0, i));
  EXPECT_FALSE(parse_mount_line(""));
  EXPECT_FALSE(parse_mount_line("1 2 3"));
}

TEST(MountTable, the_innermost_and_topmost_mount_has_the_path) {
  std::vector<Mount> mounts(4);
  mounts[0].point = "/";
  mounts[1].point = "/a";
  mounts[2].point = "/a/b";
  mounts[3].point = "/a/b";
  EXPECT_EQ(mount_of(mounts, "/x"), &mounts[0]);
  EXPECT_EQ(mount_of(mounts, "/ab"), &mounts[0]);
  EXPECT_EQ(mount_of(mounts, "/a/c"), &mounts[1]);
  EXPECT_EQ(mount_of(mounts, "/a/b/c"), &mounts[3]);
}

TEST(Names, pass_through_json_byte_for_byte) {
  std::string every;
  for (int i = 1; i < 256; ++i) every.push_back(static_cast<char>(i));
  const Json sent = {{"path", bytes_to_json(every)}};
  const Json got = parse_json(to_line(sent));
  EXPECT_EQ(bytes_from_json(got["path"].get<std::string>()), every);
  for (std::size_t i = 0; i < 300; ++i) bytes_from_json(std::string(i % 5, '\xc3'));
}

TEST(Names, write_nothing_on_a_terminal_but_themselves) {
  EXPECT_EQ(printable("a\x1b[2Jb\n\x7f"), "a\\033[2Jb\\012\\177");
}

TEST(Sizes, are_readable) {
  EXPECT_EQ(human_size(0), "0 B");
  EXPECT_EQ(human_size(1023), "1023 B");
  EXPECT_EQ(human_size(1536), "1.5 KiB");
  EXPECT_EQ(human_size(~std::uint64_t{0}), "16384.0 PiB");
}

TEST(Trees, have_names_of_32_digits) {
  TreeId tree;
  tree.bytes[0] = 0xab;
  tree.bytes[15] = 1;
  EXPECT_EQ(to_text(tree), "ab000000000000000000000000000001");
  EXPECT_EQ(parse_tree(to_text(tree) + "\n"), tree);
  EXPECT_FALSE(parse_tree(""));
  EXPECT_FALSE(parse_tree("xb000000000000000000000000000001"));
  EXPECT_FALSE(parse_tree(std::string(32, '0')));
}

struct Ran {
  int code;
  std::string out;
  std::string err;
};
Ran ran(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "ebb");
  std::ostringstream out;
  std::ostringstream err;
  const int code = run(arguments, out, err);
  return {code, out.str(), err.str()};
}

TEST(Program, wrong_usage_is_2_and_one_line) {
  const std::vector<std::vector<std::string>> wrong{{},
                                                    {"no-such-command", "x"},
                                                    {"history"},
                                                    {"mount"},
                                                    {"mount", "/a"},
                                                    {"mount", "/a", "/b", "-o", "no_such"},
                                                    {"status", "--no-such"},
                                                    {"status", "--to", "best", "x"},
                                                    {"status", "--to", "sync"},
                                                    {"status", "--json", "--to", "sync", "x"},
                                                    {"wait", "--timeout", "soon"},
                                                    {"wait", "--timeout", "-1"},
                                                    {"sync"},
                                                    {"check"}};
  for (const auto& arguments : wrong) {
    const Ran it = ran(arguments);
    EXPECT_EQ(it.code, kUsage) << it.err;
    EXPECT_EQ(it.err.find('\n'), it.err.size() - 1) << it.err;
    EXPECT_TRUE(it.err.starts_with("ebb: ")) << it.err;
  }
}

TEST(Program, help_and_version_are_no_errors) {
  EXPECT_EQ(ran({"--help"}).code, kDone);
  EXPECT_NE(ran({"--help"}).out.find("Usage"), std::string::npos);
  EXPECT_EQ(ran({"--version"}).code, kDone);
  EXPECT_EQ(ran({"mount", "--help"}).code, kDone);
}

TEST(Program, a_path_in_no_mount_fails_with_what_to_do) {
  const Ran it = ran({"status", "/"});
  EXPECT_EQ(it.code, kFailed);
  EXPECT_EQ(it.err, "ebb: /: not in an EbbFS mount; `ebb status` alone lists the mounts\n");
  EXPECT_EQ(ran({"status", "/nowhere/at/all"}).code, kFailed);
  EXPECT_EQ(ran({"check", "/nowhere"}).code, kFailed);
}

// The kernel gives a device number again as soon as a mount has gone, perhaps before its daemon
// has.
TEST(Registry, who_ends_late_leaves_the_next_mount_of_its_device_number_alone) {
  Mount mount;
  mount.device = "0:" + std::to_string(1'000'000'000 + ::getpid());
  mount.user = ::getuid();
  auto former = std::make_unique<Registration>(*Registration::make(mount.device, "/former"));
  auto next = std::make_unique<Registration>(*Registration::make(mount.device, "/next"));
  former.reset();
  EXPECT_TRUE(control_of(mount));
  next.reset();
  EXPECT_FALSE(control_of(mount));
}

}  // namespace
}  // namespace ebb::fusefs
