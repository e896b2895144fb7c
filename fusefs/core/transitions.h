// Status transitions that take time, and waiting for pushes.  A transition is checked whole,
// recorded, then carried out; it goes on after a restart.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "fusefs/core/client.h"
#include "fusefs/core/entry_steps.h"
#include "fusefs/core/folder_job.h"
#include "fusefs/core/lock.h"
#include "fusefs/core/settings.h"

namespace ebb::fusefs {

struct Core;

/// Transitions under way that users may have at once.
inline constexpr std::size_t kTransitionsMax = 4096;

/// Under the client's lock.
class Transitions {
 public:
  explicit Transitions(Core& core) : core_(core), steps_(core) {}

  /// What was under way at the end of the last run.
  void load();
  /// Checks, records, begins.  `patience` false: the reply comes after a second at the latest:
  /// EINPROGRESS when the transition is on disk and goes on, EAGAIN when a second was too short to
  /// see whether it may (then nothing has happened).
  Ticket begin(NodeId node, Status to, bool patience, Reply<> reply);
  Ticket wait(NodeId node, Reply<> reply);
  /// keep: what is not here of it and beneath it is pulled, and so is what comes later.  Goes on by
  /// itself.
  Result<> pin(NodeId node, Pin pin);

  /// Something happened that may let one go on.  Cheap; the work is done by advance().
  void poke() { poked_ = true; }
  /// Releases the lock while a record of what is to be answered goes to the disk.
  void advance(Lock& lock);
  /// The server is known to be away.
  void away() { poked_ = true; }
  Time next_deadline() const;
  bool under_way(NodeId node) const { return table_.count(node) != 0; }
  /// The sentence for its state; empty where none is under way.
  std::string reason(NodeId node) const;
  /// While the kernel waits for the answer to a setxattr it holds the entry: nothing may be told to
  /// its caches about this node, or about names in it.
  bool hushes(NodeId node) const { return hushed_.count(node) != 0; }

 private:
  struct Transition {
    Status to = Status::untracked;
    Time began{};
    bool recorded = false;
    bool on_disk = false;  // the record of it
    bool hurried = false;
    std::unique_ptr<FolderJob> job;  // of a folder with all that is in it
    bool ready = false;              // another slice of the job can be done now
    Time look_again = kNever;        // whatever else happens
    std::vector<Ticket> waiters;
    std::vector<Ticket> impatient;  // those who cannot wait longer than a second
  };
  struct PushWait {
    Ticket ticket = 0;
    NodeId node;
  };

  Result<> check(NodeId node, Status to) const;
  Result<> check_others(NodeId node, bool recursive) const;
  Ticket await(NodeId node, bool patience, Reply<> reply);
  void answered(NodeId node, bool impatient, const Reply<>& reply, const Result<>& result);
  void hush(NodeId node, int by);
  void give_up_unrecorded(NodeId node);

  Outcome begin_step(NodeId node, Transition& transition, Result<>& error);
  Outcome step(NodeId node, Transition& transition, Result<>& error);
  Outcome step_folder(NodeId node, Transition& transition, Result<>& error);
  Outcome step_entry(NodeId node, Transition& transition, Result<>& error);
  void unkeep(NodeId node, Status to);
  Result<> record(NodeId node, Transition& transition);
  void start(NodeId node, Transition transition);
  void end(NodeId node, const Result<>& result);
  void sync_records(Lock& lock);
  void look_at_waits();

  Core& core_;
  EntrySteps steps_;
  std::map<NodeId, Transition> table_;
  std::map<NodeId, int> hushed_;
  std::map<NodeId, std::vector<std::vector<NodeId>>> hushes_;  // what each waiting setxattr hushes
  std::vector<PushWait> push_waits_;
  bool poked_ = false;
};

}  // namespace ebb::fusefs
