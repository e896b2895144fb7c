#include "base/file_io.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <mutex>
#include <utility>

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/seams.h"
#include "base/sparse.h"

namespace ebb {
namespace {

/// An open descriptor, closed with the object.
class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  ~Fd() {
    if (fd_ >= 0) ::close(fd_);
  }
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

template <class Call>
auto retry(Call call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

Result<Fd> open_fd(const std::string& path, int flags, mode_t mode = 0600) {
  Fd fd(retry([&] { return ::open(path.c_str(), flags | O_CLOEXEC, mode); }));
  if (fd.get() < 0) return fail_errno(errno, path);
  return fd;
}

class SystemFile final : public File {
 public:
  SystemFile(std::string path, Fd fd) : path_(std::move(path)), fd_(std::move(fd)) {}
  ~SystemFile() override { unmap(); }

  Result<std::size_t> read_at(std::uint64_t offset, std::span<std::byte> out) const override {
    std::size_t done = 0;
    while (done < out.size()) {
      const auto n = retry([&] {
        return ::pread(fd_.get(), out.data() + done, out.size() - done,
                       static_cast<off_t>(offset + done));
      });
      if (n < 0) return fail_errno(errno, fmt::format("{} at {}", path_, offset + done));
      if (n == 0) break;
      done += static_cast<std::size_t>(n);
    }
    return done;
  }

  Result<> write_at(std::uint64_t offset, ByteView in) override {
    while (!in.empty()) {
      const auto n = retry(
          [&] { return ::pwrite(fd_.get(), in.data(), in.size(), static_cast<off_t>(offset)); });
      if (n < 0) return fail_errno(errno, fmt::format("{} at {}", path_, offset));
      if (n == 0) return fail_errno(EIO, fmt::format("{} at {}", path_, offset));
      offset += static_cast<std::uint64_t>(n);
      in = in.subspan(static_cast<std::size_t>(n));
    }
    return {};
  }

  Result<std::uint64_t> size() const override {
    struct stat st {};
    if (::fstat(fd_.get(), &st) < 0) return fail_errno(errno, path_);
    return static_cast<std::uint64_t>(st.st_size);
  }

  Result<> truncate(std::uint64_t size) override {
    return done(retry([&] { return ::ftruncate(fd_.get(), static_cast<off_t>(size)); }));
  }

  Result<> allocate(std::uint64_t size) override {
    // Where there are no holes only what is new: a filesystem may look at every block it is asked
    // for.
    struct stat st {};
    if (::fstat(fd_.get(), &st) < 0) return fail_errno(errno, path_);
    const off_t from = st.st_blocks * 512 >= st.st_size ? st.st_size : 0;
    const auto length = static_cast<off_t>(size) - from;
    if (length <= 0) return {};
    if (retry([&] { return ::fallocate(fd_.get(), 0, from, length); }) == 0) return {};
    if (errno != EOPNOTSUPP) return fail_errno(errno, path_);
    return allocate_by_writing(size);
  }

  Result<> punch(Range range) override {
    if (range.empty()) return {};
    constexpr int kMode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    return done(retry([&] {
      return ::fallocate(fd_.get(), kMode, static_cast<off_t>(range.begin),
                         static_cast<off_t>(range.size()));
    }));
  }

  Result<> reserve(Range range) override {
    if (range.empty()) return {};
    const int result = retry([&] {
      return ::fallocate(fd_.get(), FALLOC_FL_KEEP_SIZE, static_cast<off_t>(range.begin),
                         static_cast<off_t>(range.size()));
    });
    return result < 0 && errno == EOPNOTSUPP ? Result<>() : done(result);
  }

  std::vector<Range> data_in(Range range, std::size_t most) const override {
    return data_of(fd_.get(), range, most);
  }

  Result<std::uint64_t> allocated() const override {
    struct stat st {};
    if (::fstat(fd_.get(), &st) < 0) return fail_errno(errno, path_);
    return static_cast<std::uint64_t>(st.st_blocks) * 512;
  }

  Result<> sync() override {
    return done(retry([&] { return ::fdatasync(fd_.get()); }));
  }

  Result<std::span<std::byte>> map(std::uint64_t size) override {
    if (size == 0) {
      unmap();
      return mapping_;
    }
    // A mapping that grows keeps the pages that it has at hand.
    void* at = mapping_.empty()
                   ? ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd_.get(), 0)
                   : ::mremap(mapping_.data(), mapping_.size(), size, MREMAP_MAYMOVE);
    if (at == MAP_FAILED) return fail_errno(errno, path_);
    mapping_ = {static_cast<std::byte*>(at), static_cast<std::size_t>(size)};
    return mapping_;
  }

  int fd() const override { return fd_.get(); }

 private:
  Result<> done(int result) const {
    if (result < 0) return fail_errno(errno, path_);
    return {};
  }

  void unmap() {
    if (!mapping_.empty()) ::munmap(mapping_.data(), mapping_.size());
    mapping_ = {};
  }

  // A filesystem without fallocate: what lies past the end becomes blocks by writing zeros.  Holes
  // before the end stay: writing there could undo a store into a mapping that is made meanwhile.
  Result<> allocate_by_writing(std::uint64_t wanted) {
    static constexpr std::array<std::byte, 4096> kZeros{};
    auto end = size();
    if (!end) return pass(end.error());
    for (std::uint64_t at = *end; at < wanted;) {
      const auto n = std::min<std::uint64_t>(kZeros.size() - at % kZeros.size(), wanted - at);
      auto wrote = write_at(at, ByteView(kZeros).first(static_cast<std::size_t>(n)));
      if (!wrote) return wrote;
      at += n;
    }
    return {};
  }

  std::string path_;
  Fd fd_;
  std::span<std::byte> mapping_;
};

int open_flags(OpenMode mode) {
  switch (mode) {
    case OpenMode::read:
      return O_RDONLY;
    case OpenMode::write:
      return O_RDWR;
    case OpenMode::create:
      return O_RDWR | O_CREAT;
    case OpenMode::create_new:
      return O_RDWR | O_CREAT | O_EXCL;
  }
  return O_RDONLY;
}

std::string holder_of(const std::string& path) {
  std::array<char, 256> text{};
  auto fd = open_fd(path, O_RDONLY);
  if (!fd) return "another process";
  const auto n = retry([&] { return ::read(fd->get(), text.data(), text.size()); });
  std::string holder(text.data(), n > 0 ? static_cast<std::size_t>(n) : 0);
  while (!holder.empty() && holder.back() == '\n') holder.pop_back();
  return holder.empty() ? "another process" : "process " + holder;
}

class SystemFileIo final : public FileIo {
 public:
  Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode) override {
    auto fd = open_fd(path, open_flags(mode) | O_NOFOLLOW);
    if (!fd) return pass(fd.error());
    struct stat st {};
    if (::fstat(fd->get(), &st) < 0) return fail_errno(errno, path);
    if (!S_ISREG(st.st_mode)) return fail_errno(S_ISDIR(st.st_mode) ? EISDIR : EINVAL, path);
    return std::make_unique<SystemFile>(path, std::move(*fd));
  }

  Result<> make_folder(const std::string& path) override {
    if (path.empty() || path == "/") return {};
    if (::mkdir(path.c_str(), 0700) == 0) return {};
    if (errno == EEXIST) return expect_folder(path);
    if (errno != ENOENT) return fail_errno(errno, path);
    const auto slash = path.find_last_of('/');
    if (slash == std::string::npos) return fail_errno(ENOENT, path);
    if (auto above = make_folder(path.substr(0, slash)); !above) return above;
    if (::mkdir(path.c_str(), 0700) == 0 || errno == EEXIST) return {};
    return fail_errno(errno, path);
  }

  Result<std::vector<std::string>> list(const std::string& folder) override {
    DIR* dir = ::opendir(folder.c_str());
    if (dir == nullptr) return fail_errno(errno, folder);
    std::vector<std::string> names;
    errno = 0;
    while (const auto* entry = ::readdir(dir)) {
      const std::string name = entry->d_name;
      if (name != "." && name != "..") names.push_back(name);
      errno = 0;
    }
    const int error = errno;
    ::closedir(dir);
    if (error != 0) return fail_errno(error, folder);
    std::sort(names.begin(), names.end());
    return names;
  }

  Result<> rename(const std::string& from, const std::string& to) override {
    if (::rename(from.c_str(), to.c_str()) < 0) return fail_errno(errno, from + " -> " + to);
    return {};
  }

  Result<> remove(const std::string& path) override {
    if (::unlink(path.c_str()) < 0) return fail_errno(errno, path);
    return {};
  }

  Result<bool> exists(const std::string& path) override {
    struct stat st {};
    if (::lstat(path.c_str(), &st) == 0) return true;
    if (errno == ENOENT || errno == ENOTDIR) return false;
    return fail_errno(errno, path);
  }

  Result<> sync_folder(const std::string& folder) override {
    auto fd = open_fd(folder, O_RDONLY | O_DIRECTORY);
    if (!fd) return pass(fd.error());
    if (retry([&] { return ::fsync(fd->get()); }) < 0) return fail_errno(errno, folder);
    return {};
  }

  Result<> sync_all(const std::string& folder) override {
    auto fd = open_fd(folder, O_RDONLY | O_DIRECTORY);
    if (!fd) return pass(fd.error());
    if (retry([&] { return ::syncfs(fd->get()); }) < 0) return fail_errno(errno, folder);
    return {};
  }

  Result<std::shared_ptr<void>> lock(const std::string& path, const std::string& holder) override {
    auto fd = open_fd(path, O_RDWR | O_CREAT);
    if (!fd) return pass(fd.error());
    if (retry([&] { return ::flock(fd->get(), LOCK_EX | LOCK_NB); }) < 0) {
      if (errno != EWOULDBLOCK) return fail_errno(errno, path);
      return fail_errno(EBUSY, path + ": held by " + holder_of(path));
    }
    // The text is for people; a disk too full for it does not keep anyone from the lock.
    const std::string text = fmt::format("{} ({})\n", ::getpid(), holder);
    if (::ftruncate(fd->get(), 0) == 0) {
      [[maybe_unused]] const auto n = ::pwrite(fd->get(), text.data(), text.size(), 0);
    }
    return std::shared_ptr<void>(std::make_shared<Fd>(std::move(*fd)));
  }

  std::string boot_id() override {
    std::array<char, 64> text{};
    auto fd = open_fd("/proc/sys/kernel/random/boot_id", O_RDONLY);
    // Without /proc every opening counts as one after a reboot: what is unsure is dropped.
    if (!fd) return fmt::format("unknown {:x}", system_random().next());
    const auto n = retry([&] { return ::read(fd->get(), text.data(), text.size()); });
    std::string id(text.data(), n > 0 ? static_cast<std::size_t>(n) : 0);
    while (!id.empty() && id.back() == '\n') id.pop_back();
    return id;
  }

  Result<std::uint64_t> free_space(const std::string& folder) override {
    struct statvfs st {};
    if (::statvfs(folder.c_str(), &st) < 0) return fail_errno(errno, folder);
    return static_cast<std::uint64_t>(st.f_bavail) * st.f_frsize;
  }

 private:
  static Result<> expect_folder(const std::string& path) {
    struct stat st {};
    if (::stat(path.c_str(), &st) < 0) return fail_errno(errno, path);
    if (!S_ISDIR(st.st_mode)) return fail_errno(ENOTDIR, path);
    return {};
  }
};

}  // namespace

FileIo& system_file_io() {
  static SystemFileIo io;
  return io;
}

Result<> replace_file(FileIo& io, const std::string& path, ByteView content) {
  const std::string partial = path + ".tmp";
  {
    auto file = io.open(partial, OpenMode::create);
    if (!file) return pass(file.error());
    if (auto r = (*file)->truncate(0); !r) return r;
    if (auto r = (*file)->write_at(0, content); !r) return r;
    if (auto r = (*file)->sync(); !r) return r;
  }
  if (auto r = io.rename(partial, path); !r) return r;
  const auto slash = path.find_last_of('/');
  if (slash == std::string::npos) return io.sync_folder(".");
  return io.sync_folder(slash == 0 ? "/" : path.substr(0, slash));
}

}  // namespace ebb
