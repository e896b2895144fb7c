// Operations that wait: for a folder's listing, for bytes, for a push.  One table, so that any of
// them can be interrupted, run out of time, or be ended with the client.
#pragma once

#include <functional>
#include <set>
#include <unordered_map>
#include <utility>

#include "base/clock.h"
#include "fusefs/core/client.h"

namespace ebb::fusefs {

/// More waiting operations than any kernel queues: applications cannot make us keep more.
inline constexpr std::size_t kWaitsMax = 65536;

/// Under the client's lock, all of it; `Resume` is called under it, too, exactly once.
class Waits {
 public:
  using Resume = std::function<void(Ticket, const Result<>&)>;

  /// `again`: the ticket of an operation that was resumed and has to wait once more; 0 = a new one.
  /// Answers 0, after resuming with ENOMEM, when too many wait.
  Ticket add(Time deadline, Resume resume, Ticket again = 0);
  /// Nothing happens when the ticket waits no more.
  void finish(Ticket ticket, const Result<>& result);
  void extend(Ticket ticket, Time deadline);
  bool waiting(Ticket ticket) const { return table_.count(ticket) != 0; }

  Time next_deadline() const;
  /// ETIMEDOUT to everything whose time is up.
  void expire(Time now);
  /// The same answer to all.
  void finish_all(const Result<>& result);

 private:
  struct Waiting {
    Time deadline;
    Resume resume;
  };
  std::unordered_map<Ticket, Waiting> table_;
  std::set<std::pair<Time, Ticket>> order_;
  Ticket last_ = 0;
};

}  // namespace ebb::fusefs
