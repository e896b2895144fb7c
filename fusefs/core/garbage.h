// Content files that nothing refers to any more.  They are unlinked only after the store's change
// that gave them up is on disk: a power cut may take that change back, and then the file is needed
// again.
#pragma once

#include <cstdint>
#include <vector>

#include "base/clock.h"
#include "fusefs/core/lock.h"

namespace ebb::fusefs {

struct Core;

/// Under the client's lock.
class Garbage {
 public:
  explicit Garbage(Core& core) : core_(core) {}

  void add(std::uint64_t content);
  /// One of them is kept by nobody any more.
  void hurry();
  Time next_deadline() const { return at_; }
  /// Syncs the store and unlinks, both without the lock, when it is time (or `now_all`).
  void collect(Lock& lock, bool now_all = false);

 private:
  Core& core_;
  std::vector<std::uint64_t> contents_;
  Time at_ = kNever;
};

}  // namespace ebb::fusefs
