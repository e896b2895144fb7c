#include "fusefs/core/entry_steps.h"

#include <cerrno>

#include "fusefs/core/core.h"

namespace ebb::fusefs {

store::TransitionFacts EntrySteps::facts(NodeId id, const store::Node& node) const {
  store::TransitionFacts facts;
  facts.is_root = id == kRootNode;
  facts.dirty = node.has(store::kQueued) || core_.pushes.pushing(id);
  facts.open_for_write = core_.inodes.writers(id) != 0;
  facts.stuck = node.has(store::kConflict) || node.has(store::kError);
  facts.whole = node.kind != Kind::file || node.size == 0 || node.has(store::kWhole);
  facts.names_on_server = !core_.tree->names_wait(id).value_or(false);
  facts.server_reachable = core_.link.ready();
  return facts;
}

bool EntrySteps::may_pass(NodeId id, int refusal) const {
  if (refusal == EBUSY) return core_.inodes.writers(id) != 0;
  return refusal == EHOSTDOWN && !core_.link.away();
}

Outcome EntrySteps::to_remote(NodeId id, Result<>& error) {
  const auto node = core_.tree->node(id);
  if (!node) return error = pass(node.error()), Outcome::refused;
  const bool written = core_.inodes.writers(id) != 0;
  // Nothing was written: there is nothing to do but to drop what is cached, and somebody uses that.
  if (written && node->status == Status::remote) return Outcome::done;
  if (written) return Outcome::waits;
  if (node->has(store::kConflict) || node->has(store::kError)) {
    error = fail_errno(EBUSY, "its changes cannot be pushed");
    return Outcome::refused;
  }
  if (core_.tree->queued(id) || core_.pushes.pushing(id)) return Outcome::waits;
  error = core_.tree->set_status(id, Status::remote);
  return error ? Outcome::done : Outcome::refused;
}

Outcome EntrySteps::to_local(NodeId id, bool with_folder, Result<>& error) {
  const auto content = core_.contents.get(id);
  if (content && !(*content)->whole) {
    core_.pulls.want_all(*content);
    return Outcome::waits;
  }
  error = with_folder ? core_.tree->detach(id) : core_.tree->set_status(id, Status::local);
  core_.contents.tidy(id);
  if (error) return Outcome::done;
  if (!is_errno(error.error(), EBUSY)) return Outcome::refused;
  error = {};
  return Outcome::waits;
}

Outcome EntrySteps::to_sync(NodeId id, Result<>& error) {
  const auto node = core_.tree->node(id);
  if (!node) return error = pass(node.error()), Outcome::refused;
  if (node->status != Status::sync) {
    const bool was_remote = node->status == Status::remote;
    error = core_.tree->set_status(id, Status::sync);
    if (!error) return Outcome::refused;
    if (!was_remote) return Outcome::done;
  }
  const auto content = core_.contents.get(id);
  if (!content) return Outcome::done;  // a symlink
  const bool whole = (*content)->whole;
  core_.contents.tidy(id);
  if (whole) return Outcome::done;
  if (auto open = core_.contents.get(id); open) core_.pulls.want_all(*open);
  return Outcome::waits;
}

}  // namespace ebb::fusefs
