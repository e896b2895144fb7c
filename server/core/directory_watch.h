// What other programs do in folders of a directory, as the kernel tells it (inotify).
#pragma once

#include <cstdint>
#include <mutex>
#include <unordered_map>

#include "server/core/beneath.h"
#include "server/core/depot.h"

namespace ebb::server {

/// Any thread.
class DirectoryWatch {
 public:
  DirectoryWatch();

  /// ENOSPC where the kernel watches no more folders for this user.
  Result<> add(const Fd& folder, std::uint64_t tag);
  Notices take();
  int fd() const { return inotify_.get(); }

 private:
  void note(int watch, std::uint32_t what, const char* name, Notices& notices);

  Fd inotify_;
  std::mutex mutex_;
  std::unordered_map<int, std::uint64_t> tags_;  // by watch; mutex_
};

}  // namespace ebb::server
