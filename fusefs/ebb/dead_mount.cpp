#include "fusefs/ebb/dead_mount.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <spawn.h>
#include <sys/mount.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fusefs/ebb/control_client.h"
#include "fusefs/ebb/mounts.h"

extern char** environ;

namespace ebb::fusefs {
namespace {

/// Only a mount whose daemon does not listen is asked: one that is alive might not answer for long.
bool is_dead(const Mount& mount) {
  if (!mount.ours() || ControlClient::connect(mount)) return false;
  // Attributes may be answered from the kernel's cache; this is always asked for.
  struct statfs st {};
  return ::statfs(mount.point.c_str(), &st) != 0 && errno == ENOTCONN;
}

/// As a user may, too.
bool detach(const std::string& point) {
  if (::umount2(point.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) == 0) return true;
  std::string words[] = {"fusermount3", "-u", "-z", "--", point};
  char* arguments[] = {words[0].data(), words[1].data(), words[2].data(),
                       words[3].data(), words[4].data(), nullptr};
  pid_t child = 0;
  if (::posix_spawnp(&child, arguments[0], nullptr, nullptr, arguments, environ) != 0) return false;
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace

Outcome<> clean_dead_mount(Console& console, const std::string& mountpoint) {
  // Its own folder is resolved, not the mountpoint: that may answer nothing but errors.
  const auto resolved = resolve_path(mountpoint);
  if (!resolved) return {};
  const std::string& path = *resolved;
  while (true) {
    const auto mounts = read_mounts();
    const auto top = std::find_if(mounts.rbegin(), mounts.rend(),
                                  [&](const Mount& mount) { return mount.point == path; });
    if (top == mounts.rend() || !is_dead(*top)) return {};
    if (!detach(path)) {
      return refuse(
          "mountpoint {}: a mount of {} whose daemon is dead stands there and cannot be "
          "taken away; `umount -l {}` as root",
          path, top->source, path);
    }
    console.out << "ebb: mountpoint " << path << ": the daemon of the mount of " << top->source
                << " there is dead; that mount is taken away\n"
                << std::flush;
  }
}

}  // namespace ebb::fusefs
