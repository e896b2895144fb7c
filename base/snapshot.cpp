#include "base/snapshot.h"

#include <algorithm>
#include <cerrno>
#include <ctime>

#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace ebb {
namespace {

/// A larger one is not copied, only shared.
constexpr off_t kCopyMax = off_t{256} << 20;
/// Where times of files move in steps of the clock's tick, what changes within one looks unchanged.
constexpr std::int64_t kTickMostNs = 20'000'000;
constexpr std::int64_t kTickLeastNs = 1'000'000;

std::int64_t nanoseconds(const timespec& time) {
  return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

Result<struct stat> state_of(int fd) {
  struct stat now {};
  if (::fstat(fd, &now) != 0) return fail_errno(errno);
  return now;
}

/// Changes the mode to what it is: waits for the write that is going on, and moves ctime.
Result<struct stat> touched(int fd) {
  const auto now = state_of(fd);
  if (!now) return now;
  if (::fchmod(fd, now->st_mode & 07777) != 0) return fail_errno(errno);
  return state_of(fd);
}

struct Settled {
  struct stat state {};
  bool comparable = false;  // a change from now on has another time
};

/// Everything that was begun before is in the file and in its times afterwards, and the next store
/// to a mapped page is one that is noticed.
Result<Settled> settle(int fd) {
  const auto first = touched(fd);
  const auto second = first ? touched(fd) : first;
  if (!second) return pass(second.error());
  if (::fdatasync(fd) != 0) return fail_errno(errno);
  const auto state = state_of(fd);
  if (!state) return pass(state.error());
  const auto step = nanoseconds(second->st_ctim) - nanoseconds(first->st_ctim);
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  const bool old = nanoseconds(now) - nanoseconds(state->st_mtim) > kTickMostNs;
  return Settled{*state, old || (step > 0 && step < kTickLeastNs / 2)};
}

Result<> copy_range(int from, int to, off_t begin, off_t end) {
  for (off_t in = begin, out = begin; in < end;) {
    const auto left = static_cast<std::size_t>(end - in);
    const ssize_t moved = ::copy_file_range(from, &in, to, &out, left, 0);
    if (moved < 0) return fail_errno(errno);
    if (moved == 0) break;  // it became shorter
  }
  return {};
}

Result<> copy_content(int from, int to, off_t size) {
  if (::ioctl(to, FICLONE, from) == 0) return {};
  if (size > kCopyMax) return fail_errno(EFBIG, "too large to be copied");
  // Holes stay holes.
  if (::ftruncate(to, size) != 0) return fail_errno(errno);
  for (off_t at = 0; at < size;) {
    const off_t data = ::lseek(from, at, SEEK_DATA);
    if (data < 0 && errno == ENXIO) break;
    const off_t hole = data < 0 ? data : ::lseek(from, data, SEEK_HOLE);
    if (hole < 0) return fail_errno(errno);
    if (auto done = copy_range(from, to, data, std::min(hole, size)); !done) return done;
    at = hole;
  }
  return {};
}

bool same(const struct stat& a, const struct stat& b) {
  return a.st_size == b.st_size && nanoseconds(a.st_mtim) == nanoseconds(b.st_mtim);
}

}  // namespace

Result<Snapshot> take_snapshot(FileIo& io, const std::string& path, const std::string& copy) {
  const auto from = io.open(path, OpenMode::read);
  if (!from) return pass(from.error());
  if ((*from)->fd() < 0) return fail_errno(EOPNOTSUPP, path);
  auto to = io.open(copy, OpenMode::create);
  if (!to) return pass(to.error());
  if (auto done = io.remove(copy); !done) return pass(done.error());
  const auto before = settle((*from)->fd());
  if (!before) return pass(before.error());
  auto done = copy_content((*from)->fd(), (*to)->fd(), before->state.st_size);
  if (!done) return pass(done.error());
  const auto after = state_of((*from)->fd());
  const auto size = (*to)->size();
  if (!after) return pass(after.error());
  if (!size) return pass(size.error());
  return Snapshot{std::move(*to), *size, before->comparable && same(before->state, *after)};
}

}  // namespace ebb
