// Names of a folder, opened under rules that no swapped symlink gets around.
#pragma once

#include <cstdint>
#include <utility>

namespace ebb::store {

/// Owns a descriptor.
class OpenFile {
 public:
  explicit OpenFile(int fd = -1) : fd_(fd) {}
  OpenFile(OpenFile&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  OpenFile& operator=(OpenFile&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~OpenFile();

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_;
};

/// A name of this folder, on this filesystem, that is no symlink; with open(2)'s flags.  -1 and
/// errno: ELOOP for a symlink, EXDEV for what is mounted there.
int open_here(int folder, const char* name, std::uint64_t flags, std::uint32_t mode = 0);

}  // namespace ebb::store
