// The transition of a folder with all that is beneath it: first a walk that finds every refusal and
// changes nothing, then, when it was recorded, a walk that changes entry by entry.  Both in slices,
// with nothing held in between but the place.
//
//   -> syncmore          from above: a folder, then what is in it; at last contents are waited for
//   -> remote, -> local  from below: a folder when nothing in it is otherwise any more
//
// Done again from the start after a crash: what has become so already is passed over.
// Threads: under the client's lock.
#pragma once

#include <cstddef>
#include <vector>

#include "fusefs/core/entry_steps.h"
#include "fusefs/core/folder_walk.h"

namespace ebb::fusefs {

struct Core;

class FolderJob {
 public:
  /// `checked`: it was accepted in an earlier run.
  FolderJob(Core& core, NodeId root, store::Plan plan, Status to, bool checked);

  enum class Progress {
    more,     // another slice can be done now
    waits,    // for something that happens elsewhere
    checked,  // nothing forbids it: to be recorded before the next slice
    refused,  // error(); nothing has changed
    done,     // error() tells what could not be done after all
  };
  /// `late`: what may pass by itself has had its time.
  Progress advance(bool late);
  bool is_checked() const { return phase_ != Phase::checking; }
  const Result<>& error() const { return error_; }
  store::Plan plan() const { return plan_; }

 private:
  enum class Phase { checking, beginning, working, filling };

  bool from_above() const;
  bool goes_into(const store::Node& folder) const;
  bool needs_names(const store::Node& folder) const;
  bool names_known();
  void enter(NodeId folder, const store::Node& node);
  Progress refuse(NodeId id, int number, const char* why);

  Progress check(bool late);
  bool check_entry(NodeId id);
  Progress check_doubtful(bool late);

  Progress begin();
  Progress work();
  Progress wait_here();
  Progress work_entry(NodeId id);
  Progress work_above(NodeId id, const store::Node& node);
  Progress work_below(NodeId id, const store::Node& node);
  Progress work_end(const FolderWalk::Place& place);
  Progress fill();
  void note(NodeId id, const Result<>& problem);

  Core& core_;
  EntrySteps steps_;
  const NodeId root_;
  const store::Plan plan_;
  const Status to_;
  Phase phase_;
  FolderWalk walk_;
  NodeId unlisted_;  // its names have to be known before the walk goes on
  bool asked_ = false;
  bool hurried_ = false;
  std::vector<NodeId> doubtful_;  // refused for now, for what may pass
  Result<> error_;
};

}  // namespace ebb::fusefs
