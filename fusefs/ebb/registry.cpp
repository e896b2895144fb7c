#include "fusefs/ebb/registry.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <vector>

#include <sys/stat.h>
#include <unistd.h>

#include "base/folder_lock.h"

namespace ebb::fusefs {
namespace {

/// Where a user's registry may lie, the best place first.
std::vector<std::string> places(std::uint32_t user) {
  if (user == 0) return {"/run/ebbfs", "/tmp/ebbfs-0"};
  return {fmt::format("/run/user/{}/ebbfs", user), fmt::format("/tmp/ebbfs-{}", user)};
}

/// In /tmp anybody can make anything: a folder counts only as its owner's own, closed to all
/// others.
bool is_sound(const std::string& folder, std::uint32_t user) {
  struct stat st {};
  return ::lstat(folder.c_str(), &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == user &&
         (st.st_mode & 0022u) == 0;
}

Outcome<std::string> own_folder() {
  const std::uint32_t user = ::getuid();
  for (const std::string& folder : places(user)) {
    ::mkdir(folder.c_str(), 0700);
    if (is_sound(folder, user)) return folder;
  }
  return refuse(
      "{}: not a folder of this user's alone; remove it, the mount's commands are found through it",
      places(user).back());
}

std::string lock_beside(const std::string& link) {
  return link.substr(0, link.rfind('/')) + "/lock";
}

}  // namespace

Outcome<Registration> Registration::make(const std::string& device, const std::string& socket) {
  auto folder = own_folder();
  if (!folder) return tl::unexpected(folder.error());
  const std::string link = *folder + "/" + device;
  const FolderLock lock(lock_beside(link));
  ::unlink(link.c_str());  // of a mount that ended without a word; device numbers are used again
  if (::symlink(socket.c_str(), link.c_str()) != 0)
    return refuse("{}: {}", link, std::strerror(errno));
  return Registration(link, socket);
}

/// A mount that came after this one had gone may have its device number, and its place here.
Registration::~Registration() {
  if (link_.empty()) return;
  const FolderLock lock(lock_beside(link_));
  std::error_code ignored;
  if (std::filesystem::read_symlink(link_, ignored) == socket_) ::unlink(link_.c_str());
}

Outcome<std::string> control_of(const Mount& mount) {
  for (const std::string& folder : places(mount.user)) {
    const std::string link = folder + "/" + mount.device;
    struct stat st {};
    if (is_sound(folder, mount.user) && ::lstat(link.c_str(), &st) == 0) return link;
  }
  return refuse(
      "{}: its daemon is not to be found; unmount it with `fusermount3 -u` and mount it again",
      mount.point);
}

bool is_mounted_state(const std::string& socket) {
  for (const Mount& mount : read_mounts()) {
    if (!mount.ours()) continue;
    auto link = control_of(mount);
    std::error_code ignored;
    if (link && std::filesystem::read_symlink(*link, ignored) == socket) return true;
  }
  return false;
}

Outcome<std::string> device_of(const std::string& mountpoint) {
  const auto mounts = read_mounts();
  const Mount* mount = mount_of(mounts, mountpoint);
  if (mount && mount->ours() && mount->point == mountpoint) return mount->device;
  return refuse("mountpoint {}: the mount is gone", mountpoint);
}

}  // namespace ebb::fusefs
