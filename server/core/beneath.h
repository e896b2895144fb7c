// Files below one folder and nowhere else: no "..", no symlink on the way, no other filesystem, no
// magic link. Every path is walked by the kernel under these rules (openat2), so nobody can swap a
// folder for a symlink between a check and its use.
#pragma once

#include <string>
#include <utility>

#include "base/result.h"
#include "server/core/depot.h"

namespace ebb::server {

/// Owns a descriptor.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept;
  ~Fd();

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  /// Leads to the very inode, for calls that take paths only.
  std::string proc_path() const;

 private:
  int fd_ = -1;
};

/// Opens `path` below `folder` ("" is the folder itself) with open(2)'s flags.
Result<Fd> open_beneath(int folder, const std::string& path, int flags);

/// What makes two handles of two filesystems differ: the filesystem's UUID, or the like.
std::string filesystem_id(int fd);

/// Of a kind that only this machine's kernel writes to, so that it notices every change.
bool is_local_filesystem(int fd);

/// Facts of what an O_PATH descriptor stands for.  `with_attributes`: xattrs and a symlink's
/// target, too. proto::Errc::not_regular for what is not served; EXDEV, unless `mounted`, for the
/// root of another filesystem.
Result<Facts> facts_of(const Fd& fd, const std::string& filesystem, bool with_attributes,
                       bool mounted = true);

/// Sets attributes on the inode of any descriptor.  Owner first, times last, so that nothing undoes
/// them.  An owner that this process may not set stays as it is, without an error.
Result<> apply_attributes(const Fd& fd, proto::EntryKind kind, std::uint8_t bits,
                          const proto::Attributes& attributes);

}  // namespace ebb::server
