#include "fusefs/ebb/mount_checks.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string_view>

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fusefs/ebb/mounts.h"

namespace ebb::fusefs {
namespace {

std::string absolute(const std::string& path) {
  std::error_code ignored;
  std::string text = std::filesystem::absolute(path, ignored).lexically_normal().string();
  while (text.size() > 1 && text.back() == '/') text.pop_back();
  return text;
}

Outcome<> check_not_mounted(const std::string& path) {
  for (const Mount& mount : read_mounts()) {
    if (mount.point != path) continue;
    return refuse("mountpoint {}: {} is mounted there already; `fusermount3 -u {}` first", path,
                  mount.source.empty() ? mount.type : mount.source, path);
  }
  return {};
}

Outcome<> check_empty(const std::string& path) {
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(::opendir(path.c_str()), ::closedir);
  if (!folder) return refuse("mountpoint {}: {}", path, std::strerror(errno));
  while (const dirent* entry = ::readdir(folder.get())) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") {
      return refuse(
          "mountpoint {}: not empty; mount on an empty folder, what is in it would be covered",
          path);
    }
  }
  return {};
}

}  // namespace

Outcome<std::string> check_mountpoint(const std::string& path) {
  // Before it is looked at: a mount whose daemon is dead answers nothing but errors.
  if (auto free = check_not_mounted(absolute(path)); !free) return tl::unexpected(free.error());
  struct stat st {};
  if (::stat(path.c_str(), &st) != 0) {
    const bool missing = errno == ENOENT;
    return refuse("mountpoint {}: {}{}", path, std::strerror(errno),
                  missing ? "; make it with mkdir first" : "");
  }
  if (!S_ISDIR(st.st_mode)) return refuse("mountpoint {}: not a folder", path);
  std::error_code error;
  const std::string real = std::filesystem::canonical(path, error).string();
  if (error) return refuse("mountpoint {}: {}", path, error.message());
  if (auto free = check_not_mounted(real); !free) return tl::unexpected(free.error());
  if (auto empty = check_empty(real); !empty) return tl::unexpected(empty.error());
  return real;
}

Outcome<> check_source(const Source& source, const std::string& mountpoint) {
  if (source.address) return {};
  struct stat st {};
  if (::stat(source.folder.c_str(), &st) != 0)
    return refuse("source {}: {}", source.folder, std::strerror(errno));
  if (!S_ISDIR(st.st_mode)) {
    return refuse("source {}: not a directory; for a server's socket write unix:{}", source.folder,
                  source.folder);
  }
  if (::access(source.folder.c_str(), R_OK | X_OK) != 0) {
    return refuse("source {}: cannot be read: {}", source.folder, std::strerror(errno));
  }
  if (is_within(mountpoint, source.folder)) {
    return refuse("mountpoint {}: lies inside the tree that it would show, {}; mount beside it",
                  mountpoint, source.folder);
  }
  const auto mounts = read_mounts();
  const Mount* mount = mount_of(mounts, source.folder);
  if (mount && mount->ours()) {
    return refuse("source {}: lies in the EbbFS mount {}; serve the directory beneath it",
                  source.folder, mount->point);
  }
  return {};
}

}  // namespace ebb::fusefs
