#include "fusefs/fuse/passthrough_files.h"

#include <cerrno>
#include <csignal>
#include <cstring>

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"

namespace ebb::fusefs {
namespace {

/// linux/fuse.h of Linux 6.9; Debian 12's is older.  libfuse's own calls need a request in hand.
struct BackingMap {
  std::int32_t descriptor;
  std::uint32_t flags;
  std::uint64_t padding;
};
constexpr unsigned long kBackingOpen = _IOW(229, 1, BackingMap);
constexpr unsigned long kBackingClose = _IOW(229, 2, std::uint32_t);

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  const int fd_;
};

WallNs wall_of(const timespec& time) {
  return WallNs{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

enum class Lease { free, held_off, unsupported };

/// The kernel gives a lease for reading only where nobody has the file open for writing.  Whoever
/// opens it while we have the lease waits until it is closed; the signal about that is one that
/// does nothing.
Lease read_lease(const std::string& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  // What cannot be asked may be so.
  if (file.get() < 0) return errno == ENOENT ? Lease::free : Lease::held_off;
  if (::fcntl(file.get(), F_SETSIG, SIGURG) != 0) return Lease::held_off;
  if (::fcntl(file.get(), F_SETLEASE, F_RDLCK) == 0) return Lease::free;
  return errno == EAGAIN ? Lease::held_off : Lease::unsupported;
}

/// A store into the mapped page is seen in the file's mtime, each time after it was synced.
bool tells_of_stores(int fd, volatile char* page) {
  for (int round = 0; round < 2; ++round) {
    const timespec past[2] = {{1, 0}, {1, 0}};
    struct stat now {};
    if (::futimens(fd, past) != 0 || ::fsync(fd) != 0) return false;
    *page = static_cast<char>(*page + 1);
    if (::fstat(fd, &now) != 0 || now.st_mtim.tv_sec == past[1].tv_sec) return false;
  }
  return true;
}

/// Whether the filesystem beneath shows what we rely on; tried with a file of one page.
bool can_be_watched(const std::string& path) {
  constexpr std::size_t kPage = 4096;
  void* page = MAP_FAILED;
  bool fine = false;
  {
    const Descriptor file(
        ::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (file.get() < 0 || ::ftruncate(file.get(), kPage) != 0) return false;
    page = ::mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
    fine = page != MAP_FAILED && tells_of_stores(file.get(), static_cast<volatile char*>(page));
  }
  fine = fine && read_lease(path) == Lease::held_off;
  if (page != MAP_FAILED) ::munmap(page, kPage);
  fine = fine && read_lease(path) == Lease::free;
  ::unlink(path.c_str());
  return fine;
}

void say_without(std::string_view why) {
  log_info("files are read and written through the daemon: {}", why);
}

}  // namespace

void PassthroughFiles::attach(fuse_session* session, const std::string& folder) {
  constexpr bool kLibfuseCan = FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17);
  if (!kLibfuseCan) return say_without("libfuse is older than 3.17");
  if (::geteuid() != 0) return say_without("only root may do otherwise");
  if (!can_be_watched(folder + "/probe")) {
    return say_without("the filesystem of the state folder does not tell who writes a file");
  }
  std::lock_guard lock(mutex_);
  device_ = fuse_session_fd(session);
}

void PassthroughFiles::detach() {
  std::lock_guard lock(mutex_);
  device_ = -1;
}

int PassthroughFiles::add(const std::string& path) {
  std::lock_guard lock(mutex_);
  if (device_ < 0) return 0;
  // For reading: a descriptor for writing would stay with the kernel and be in the way of leases.
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (file.get() < 0) return 0;
  BackingMap map{file.get(), 0, 0};
  const int number = ::ioctl(device_, kBackingOpen, &map);
  if (number > 0) return number;
  // Want of memory passes; everything else stays as it is for this mount.
  if (errno == ENOMEM || errno == ENOSPC || errno == ENFILE) return 0;
  say_without(std::strerror(errno));
  device_ = -1;
  return 0;
}

void PassthroughFiles::remove(int number) {
  std::lock_guard lock(mutex_);
  if (device_ < 0) return;
  auto id = static_cast<std::uint32_t>(number);
  if (::ioctl(device_, kBackingClose, &id) != 0) {
    log_warn("a file stays registered with the kernel: {}", std::strerror(errno));
  }
}

std::optional<FileStamp> PassthroughFiles::stamp(const std::string& path) const {
  struct stat now {};
  if (::lstat(path.c_str(), &now) != 0) return std::nullopt;
  return FileStamp{static_cast<std::uint64_t>(now.st_size), wall_of(now.st_mtim),
                   now.st_blocks * 512 < now.st_size};
}

bool PassthroughFiles::open_for_writing(const std::string& path) const {
  return read_lease(path) == Lease::held_off;
}

}  // namespace ebb::fusefs
