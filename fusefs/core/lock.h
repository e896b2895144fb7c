// The client's lock, as a function sees it that may release it for the time of some IO.
#pragma once

#include <mutex>

namespace ebb::fusefs {

using Lock = std::unique_lock<std::mutex>;

/// Releases the lock for its lifetime.  Everything that was read before has to be looked at again
/// after.
class Unlocked {
 public:
  explicit Unlocked(Lock& lock) : lock_(lock) { lock_.unlock(); }
  ~Unlocked() { lock_.lock(); }
  Unlocked(const Unlocked&) = delete;
  Unlocked& operator=(const Unlocked&) = delete;

 private:
  Lock& lock_;
};

}  // namespace ebb::fusefs
