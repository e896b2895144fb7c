#include "server/core/directory_watch.h"

#include <cerrno>

#include <sys/inotify.h>
#include <unistd.h>

namespace ebb::server {

namespace {

constexpr std::uint32_t kNoticed = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO |
                                   IN_CLOSE_WRITE | IN_MODIFY | IN_ATTRIB | IN_ONLYDIR |
                                   IN_EXCL_UNLINK;
constexpr std::size_t kTakenMax = 65536;  // names at a time; more is a look at everything

}  // namespace

DirectoryWatch::DirectoryWatch() : inotify_(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC)) {}

Result<> DirectoryWatch::add(const Fd& folder, std::uint64_t tag) {
  if (!inotify_) return fail_errno(EMFILE, "inotify");
  std::lock_guard lock(mutex_);
  const int watch = ::inotify_add_watch(inotify_.get(), folder.proc_path().c_str(), kNoticed);
  if (watch < 0) return fail_errno(errno, "inotify");
  tags_[watch] = tag;
  return {};
}

void DirectoryWatch::note(int watch, std::uint32_t what, const char* name, Notices& notices) {
  if ((what & IN_Q_OVERFLOW) != 0) {
    notices.all = true;
    return;
  }
  const auto it = tags_.find(watch);
  if (it == tags_.end()) return;
  if ((what & IN_IGNORED) != 0) {
    notices.unwatched.push_back(it->second);
    tags_.erase(it);
    return;
  }
  if (name == nullptr) return;  // of the folder itself: its own folder tells that
  notices.changed.push_back({it->second, name, what == IN_MODIFY});
}

Notices DirectoryWatch::take() {
  Notices notices;
  alignas(inotify_event) char buffer[16 * 1024];
  std::lock_guard lock(mutex_);
  while (notices.changed.size() < kTakenMax) {
    const ssize_t size = ::read(inotify_.get(), buffer, sizeof buffer);
    if (size <= 0) break;
    for (ssize_t at = 0; at < size;) {
      const auto* event = reinterpret_cast<const inotify_event*>(buffer + at);
      note(event->wd, event->mask, event->len != 0 ? event->name : nullptr, notices);
      at += static_cast<ssize_t>(sizeof *event + event->len);
    }
  }
  notices.all = notices.all || notices.changed.size() >= kTakenMax;
  return notices;
}

}  // namespace ebb::server
