#include "server/core/beneath.h"

#include <array>
#include <cerrno>
#include <climits>
#include <cstring>
#include <ctime>

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/log.h"
#include "base/xattrs.h"
#include "proto/errors.h"

namespace ebb::server {

using proto::EntryKind;

namespace {

constexpr std::string_view kUser = "user.";
constexpr std::size_t kHandleBytesMax = 128;

// Newer than Debian 12's headers; older kernels answer with an error.
struct FilesystemUuid {
  std::uint8_t size;
  std::uint8_t bytes[16];
};
constexpr unsigned long kGetFilesystemUuid = _IOR(0x15, 0, FilesystemUuid);
constexpr int kHandleToCompareOnly = 0x200;  // AT_HANDLE_FID

/// The handle of the inode, or empty where the filesystem has none.
std::string handle_of(const Fd& fd) {
  alignas(file_handle) std::array<char, sizeof(file_handle) + kHandleBytesMax> room{};
  auto* handle = reinterpret_cast<file_handle*>(room.data());
  for (const int flags : {AT_EMPTY_PATH, AT_EMPTY_PATH | kHandleToCompareOnly}) {
    handle->handle_bytes = kHandleBytesMax;
    int mount = 0;
    if (::name_to_handle_at(fd.get(), "", handle, &mount, flags) == 0) {
      std::string out(reinterpret_cast<const char*>(&handle->handle_type),
                      sizeof handle->handle_type);
      return out.append(room.data() + sizeof(file_handle), handle->handle_bytes);
    }
  }
  return {};
}

WallNs nanoseconds(const struct statx_timestamp& when) {
  return when.tv_sec * 1'000'000'000 + when.tv_nsec;
}

Result<Bytes> read_xattrs(const Fd& fd) {
  // Most have none, which is found out without room for the names; an O_PATH descriptor takes the
  // long way.
  ssize_t size = ::flistxattr(fd.get(), nullptr, 0);
  const std::string path = fd.proc_path();
  if (size < 0 && errno == EBADF) size = ::listxattr(path.c_str(), nullptr, 0);
  if (size == 0) return Bytes{};
  std::string names(kXattrsMax, '\0');
  if (size > 0) size = ::listxattr(path.c_str(), names.data(), names.size());
  if (size < 0) {
    if (errno == ENOTSUP || errno == E2BIG || errno == ERANGE) return Bytes{};
    return fail_errno(errno, "listxattr");
  }
  Xattrs xattrs;
  std::string value(kXattrValueMax, '\0');
  for (const char* name = names.data(); name < names.data() + size; name += std::strlen(name) + 1) {
    const std::string_view view(name);
    if (view.substr(0, kUser.size()) != kUser) continue;
    const ssize_t got = ::getxattr(path.c_str(), name, value.data(), value.size());
    if (got >= 0) xattrs[name] = value.substr(0, static_cast<std::size_t>(got));
  }
  Bytes packed = pack_xattrs(xattrs);
  return packed.size() <= kXattrsMax ? packed : Bytes{};
}

Result<> write_xattrs(const Fd& fd, ByteView packed) {
  auto wanted = unpack_xattrs(packed);
  if (!wanted) return pass(wanted.error());
  auto present_bytes = read_xattrs(fd);
  if (!present_bytes) return pass(present_bytes.error());
  auto present = unpack_xattrs(*present_bytes);
  if (!present) return pass(present.error());
  const std::string path = fd.proc_path();
  for (const auto& [name, value] : *present) {
    if (wanted->count(name) == 0 && ::removexattr(path.c_str(), name.c_str()) != 0 &&
        errno != ENODATA) {
      return fail_errno(errno, name);
    }
  }
  for (const auto& [name, value] : *wanted) {
    if (std::string_view(name).substr(0, kUser.size()) != kUser)
      return fail_errno(EOPNOTSUPP, name);
    if (auto it = present->find(name); it != present->end() && it->second == value) continue;
    if (::setxattr(path.c_str(), name.c_str(), value.data(), value.size(), 0) != 0) {
      return fail_errno(errno, name);
    }
  }
  return {};
}

Result<> change_owner(const Fd& fd, const proto::Attributes& attributes) {
  struct stat now {};
  if (::fstatat(fd.get(), "", &now, AT_EMPTY_PATH) != 0) return fail_errno(errno, "stat");
  if (now.st_uid == attributes.uid && now.st_gid == attributes.gid) return {};
  if (::fchownat(fd.get(), "", attributes.uid, attributes.gid, AT_EMPTY_PATH) == 0) return {};
  // Who asked is told by what the owner is afterwards.
  if (errno == EPERM || errno == EINVAL) return {};
  return fail_errno(errno, "chown");
}

Result<> change_mtime(const Fd& fd, WallNs mtime) {
  WallNs seconds = mtime / 1'000'000'000;
  WallNs rest = mtime % 1'000'000'000;
  if (rest < 0) {
    rest += 1'000'000'000;
    --seconds;
  }
  const timespec times[2] = {{0, UTIME_OMIT}, {seconds, rest}};
  if (::utimensat(fd.get(), "", times, AT_EMPTY_PATH) != 0) return fail_errno(errno, "utimensat");
  return {};
}

EntryKind kind_of(std::uint16_t mode) {
  if (S_ISREG(mode)) return EntryKind::file;
  if (S_ISDIR(mode)) return EntryKind::folder;
  if (S_ISLNK(mode)) return EntryKind::symlink;
  return EntryKind::none;
}

}  // namespace

Fd& Fd::operator=(Fd&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

Fd::~Fd() {
  if (fd_ >= 0) ::close(fd_);
}

std::string Fd::proc_path() const {
  return fmt::format("/proc/self/fd/{}", fd_);
}

namespace {

Result<Fd> open_piece(int folder, const std::string& path, int flags) {
  open_how how{};
  how.flags = static_cast<std::uint64_t>(flags | O_CLOEXEC | O_NOFOLLOW);
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS;
  // O_PATH with O_NOFOLLOW stands for a symlink itself; the kernel allows that at the end of a path
  // only without RESOLVE_NO_SYMLINKS, so a last name that may be one is opened by a caller who has
  // its folder.
  const char* text = path.empty() ? "." : path.c_str();
  for (int attempt = 0;; ++attempt) {
    const long fd = ::syscall(SYS_openat2, folder, text, &how, sizeof how);
    if (fd >= 0) return Fd(static_cast<int>(fd));
    if ((errno != EAGAIN && errno != EINTR) || attempt == 100) return fail_errno(errno, path);
  }
}

}  // namespace

Result<Fd> open_beneath(int folder, const std::string& path, int flags) {
  // The kernel takes paths of less than PATH_MAX bytes; trees are deeper than that: piece by piece.
  Fd above;
  std::size_t begin = 0;
  while (path.size() - begin >= PATH_MAX) {
    const std::size_t slash = path.rfind('/', begin + PATH_MAX - 1);
    if (slash == std::string::npos || slash <= begin) return fail_errno(ENAMETOOLONG, path);
    const int from = begin == 0 ? folder : above.get();
    auto piece = open_piece(from, path.substr(begin, slash - begin), O_PATH | O_DIRECTORY);
    if (!piece) return piece;
    above = std::move(*piece);
    begin = slash + 1;
  }
  return open_piece(begin == 0 ? folder : above.get(), path.substr(begin), flags);
}

std::string filesystem_id(int fd) {
  FilesystemUuid uuid{};
  if (::ioctl(fd, kGetFilesystemUuid, &uuid) == 0 && uuid.size == sizeof uuid.bytes) {
    return {reinterpret_cast<const char*>(uuid.bytes), sizeof uuid.bytes};
  }
  struct statfs facts {};
  ::fstatfs(fd, &facts);
  return {reinterpret_cast<const char*>(&facts.f_fsid), sizeof facts.f_fsid};
}

bool is_local_filesystem(int fd) {
  struct statfs facts {};
  if (::fstatfs(fd, &facts) != 0) return false;
  constexpr std::uint32_t kBcachefs = 0xca451a4e;
  constexpr std::uint32_t kZfs = 0x2fc12fc1;
  switch (static_cast<std::uint32_t>(facts.f_type)) {
    case EXT4_SUPER_MAGIC:
    case XFS_SUPER_MAGIC:
    case BTRFS_SUPER_MAGIC:
    case F2FS_SUPER_MAGIC:
    case TMPFS_MAGIC:
    case kBcachefs:
    case kZfs:
      return true;
    default:
      return false;
  }
}

Result<Facts> facts_of(const Fd& fd, const std::string& filesystem, bool with_attributes,
                       bool mounted) {
  struct statx raw {};
  if (::statx(fd.get(), "", AT_EMPTY_PATH, STATX_BASIC_STATS, &raw) != 0) {
    return fail_errno(errno, "statx");
  }
  if (!mounted && (raw.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0) return fail_errno(EXDEV);
  Facts facts;
  facts.kind = kind_of(raw.stx_mode);
  if (facts.kind == EntryKind::none) return fail(proto::Errc::not_regular);
  const std::string handle = handle_of(fd);
  facts.identity = handle.empty()
                       ? fmt::format("I{}:{}:{}", raw.stx_dev_major, raw.stx_dev_minor, raw.stx_ino)
                       : "H" + filesystem + handle;
  facts.size = facts.kind == EntryKind::folder ? 0 : raw.stx_size;
  facts.links = facts.kind == EntryKind::folder ? 1 : raw.stx_nlink;
  facts.ctime = nanoseconds(raw.stx_ctime);
  facts.allocated = raw.stx_blocks * 512;
  facts.attributes.mode = raw.stx_mode & 07777u;
  facts.attributes.uid = raw.stx_uid;
  facts.attributes.gid = raw.stx_gid;
  facts.attributes.mtime = nanoseconds(raw.stx_mtime);
  if (facts.kind == EntryKind::symlink) {
    std::string target(raw.stx_size + 1, '\0');
    const ssize_t size = ::readlinkat(fd.get(), "", target.data(), target.size());
    if (size < 0) return fail_errno(errno, "readlink");
    facts.target = target.substr(0, static_cast<std::size_t>(size));
  } else if (with_attributes) {
    auto xattrs = read_xattrs(fd);
    if (!xattrs) return pass(xattrs.error());
    facts.attributes.xattrs = std::move(*xattrs);
  }
  return facts;
}

Result<> apply_attributes(const Fd& fd, EntryKind kind, std::uint8_t bits,
                          const proto::Attributes& attributes) {
  const bool symlink = kind == EntryKind::symlink;
  if ((bits & proto::kOwner) != 0) {
    if (auto ok = change_owner(fd, attributes); !ok) return ok;
  }
  if ((bits & proto::kMode) != 0 && !symlink) {
    const mode_t mode = attributes.mode & 07777u;
    const bool set = ::fchmod(fd.get(), mode) == 0 ||
                     (errno == EBADF && ::chmod(fd.proc_path().c_str(), mode) == 0);
    if (!set) return fail_errno(errno, "chmod");
  }
  if ((bits & proto::kXattrs) != 0 && !symlink) {
    if (auto ok = write_xattrs(fd, attributes.xattrs); !ok) return ok;
  }
  if ((bits & proto::kMtime) != 0) return change_mtime(fd, attributes.mtime);
  return {};
}

}  // namespace ebb::server
