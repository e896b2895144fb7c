// Status transitions that take time, and waiting for pushes.  A transition is checked whole,
// recorded, then carried out; it goes on after a restart.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "fusefs/core/client.h"
#include "fusefs/core/lock.h"

namespace ebb::fusefs {

struct Core;

/// Transitions under way that users may have at once.
inline constexpr std::size_t kTransitionsMax = 4096;

/// Under the client's lock.
class Transitions {
 public:
  explicit Transitions(Core& core) : core_(core) {}

  /// What was under way at the end of the last run.
  void load();
  /// Checks, records, begins.  `patience` false: the reply comes after a second at the latest,
  /// EINPROGRESS.
  Ticket begin(NodeId node, Status to, bool patience, Reply<> reply);
  Ticket wait(NodeId node, Reply<> reply);

  /// Something happened that may let one go on.  Cheap; the work is done by advance().
  void poke() { poked_ = true; }
  void advance(Lock& lock);
  /// The server is known to be away.
  void away() { poked_ = true; }
  Time next_deadline() const;
  bool under_way(NodeId node) const { return table_.count(node) != 0; }

 private:
  struct Transition {
    Status to = Status::untracked;
    Time began{};
    bool recorded = false;
    std::vector<Ticket> waiters;
  };
  struct PushWait {
    Ticket ticket = 0;
    NodeId node;
  };
  enum class Outcome { done, goes_on, refused };

  Result<> check(NodeId node, Status to) const;
  Outcome step(NodeId node, Transition& transition, Result<>& error);
  Outcome to_remote(NodeId node, Transition& transition, Result<>& error);
  Outcome to_local(NodeId node, Result<>& error);
  Outcome to_sync(NodeId node, Result<>& error);
  void end(NodeId node, const Result<>& result);
  void look_at_waits();

  Core& core_;
  std::map<NodeId, Transition> table_;
  std::vector<PushWait> push_waits_;
  bool poked_ = false;
};

}  // namespace ebb::fusefs
