// What a transition of one entry needs, and its part that waits for others: for writers to close
// it, for its changes to be pushed, for its content to come.  One call takes it as far as it goes
// now.
#pragma once

#include "fusefs/core/client.h"
#include "store/node.h"
#include "store/transition.h"

namespace ebb::fusefs {

struct Core;

enum class Outcome { done, waits, refused };

/// Under the client's lock.  `error` says why where the outcome is `refused`.
class EntrySteps {
 public:
  explicit EntrySteps(Core& core) : core_(core) {}

  /// For the table of transitions, of the entry as it is now.
  store::TransitionFacts facts(NodeId id, const store::Node& node) const;
  /// Whether what refuses it now may be over in a moment: a writer, a link that comes back.
  bool may_pass(NodeId id, int refusal) const;

  Outcome to_remote(NodeId id, Result<>& error);
  /// `with_folder`: the folder becomes local as a whole, and hides all of it.
  Outcome to_local(NodeId id, bool with_folder, Result<>& error);
  Outcome to_sync(NodeId id, Result<>& error);

 private:
  Core& core_;
};

}  // namespace ebb::fusefs
