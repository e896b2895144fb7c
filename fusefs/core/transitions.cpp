#include "fusefs/core/transitions.h"

#include <algorithm>
#include <cerrno>

#include "base/log.h"
#include "fusefs/core/core.h"

namespace ebb::fusefs {
namespace {

/// A setfattr is answered by then, and a writer has to be gone by then.
constexpr Duration kPatience = std::chrono::seconds(1);

bool keeps_local(Status status) {
  return status == Status::local || status == Status::untracked;
}

}  // namespace

void Transitions::load() {
  for (const auto& stored : core_.settings.transitions()) {
    if (!core_.tree->node(stored.node)) {
      end(stored.node, {});
      continue;
    }
    Transition transition;
    transition.to = stored.to;
    transition.began = core_.now();
    transition.recorded = true;
    table_.emplace(stored.node, std::move(transition));
  }
  poked_ = !table_.empty();
}

Result<> Transitions::check(NodeId id, Status to) const {
  const auto node = core_.tree->node(id);
  if (!node) return pass(node.error());
  if (!store::fits(node->kind, to)) return fail_errno(EINVAL, "no word for this kind of entry");
  if (to == Status::untracked && node->status != to) return fail_errno(EPERM);
  if (id == kRootNode && to != Status::syncless && to != Status::syncmore) {
    return fail_errno(EPERM, "the root is syncless or syncmore");
  }
  if (node->is_folder()) return {};
  const bool here_only = keeps_local(node->status);
  if (here_only && to == Status::remote) return fail_errno(EPERM, "the server does not have it");
  if (node->status == Status::remote && to == Status::local) {
    return fail_errno(EPERM, "it is not here");
  }
  if (here_only && to == Status::sync && node->kind != Kind::file && node->kind != Kind::symlink) {
    return fail_errno(EPERM, "its kind stays on this machine");
  }
  return {};
}

Ticket Transitions::begin(NodeId id, Status to, bool patience, Reply<> reply) {
  if (auto fine = check(id, to); !fine) return core_.answer(reply, std::move(fine)), 0;
  const auto node = core_.tree->node(id);
  const auto under_way = table_.find(id);
  if (under_way != table_.end() && under_way->second.to != to) {
    return core_.answer(reply, Result<>(fail_errno(EBUSY, "another transition is under way"))), 0;
  }
  if (under_way == table_.end()) {
    if (node->status == to && to != Status::remote) return core_.answer(reply, Result<>{}), 0;
    Transition transition;
    transition.to = to;
    transition.began = core_.now();
    Result<> error;
    const Outcome outcome = step(id, transition, error);
    if (outcome == Outcome::done) return core_.answer(reply, Result<>{}), 0;
    if (outcome == Outcome::refused) return core_.answer(reply, std::move(error)), 0;
    if (table_.size() >= kTransitionsMax) {
      return core_.answer(reply, Result<>(fail_errno(EAGAIN, "too many transitions"))), 0;
    }
    table_.emplace(id, std::move(transition));
  }
  const auto answered = [this, reply](Ticket, const Result<>& result) {
    const bool in_progress = !result && is_errno(result.error(), ETIMEDOUT);
    core_.answer(reply, in_progress ? Result<>(fail_errno(EINPROGRESS)) : result);
  };
  const Ticket ticket = core_.waits.add(patience ? kNever : table_[id].began + kPatience, answered);
  if (ticket != 0) table_[id].waiters.push_back(ticket);
  core_.effects.wake = true;
  return ticket;
}

Transitions::Outcome Transitions::step(NodeId id, Transition& transition, Result<>& error) {
  const auto node = core_.tree->node(id);
  if (!node) {
    error = pass(node.error());
    return Outcome::refused;
  }
  Outcome outcome = Outcome::done;
  if (node->is_folder() || (node->status == transition.to && transition.to == Status::local)) {
    error = node->status == transition.to ? Result<>{} : core_.tree->set_status(id, transition.to);
  } else if (transition.to == Status::remote) {
    outcome = to_remote(id, transition, error);
  } else if (transition.to == Status::local) {
    outcome = to_local(id, error);
  } else if (transition.to == Status::sync) {
    outcome = to_sync(id, error);
  }
  if (!error) return Outcome::refused;
  if (outcome != Outcome::goes_on || transition.recorded) return outcome;
  // Until the last check has been passed nothing is recorded: a refusal changes nothing.
  const bool may_be_refused = core_.inodes.writers(id) != 0 || !core_.link.ready();
  if (transition.to == Status::remote && may_be_refused) return outcome;
  error = core_.settings.add_transition({id, transition.to});
  transition.recorded = error.has_value();
  return error ? outcome : Outcome::refused;
}

Transitions::Outcome Transitions::to_remote(NodeId id, Transition& transition, Result<>& error) {
  const auto node = core_.tree->node(id);
  if (core_.inodes.writers(id) != 0) {
    const bool late = !transition.recorded && core_.now() >= transition.began + kPatience;
    if (late) error = fail_errno(EBUSY, "it is open for writing");
    return Outcome::goes_on;
  }
  if (node->has(store::kConflict) || node->has(store::kError)) {
    error = fail_errno(EBUSY, "its changes cannot be pushed");
    return Outcome::refused;
  }
  if (core_.tree->queued(id) || core_.pushes.pushing(id)) {
    // A link that has just broken may be back in a moment: refused when it is not.
    const bool late = core_.now() >= transition.began + kPatience;
    const bool out_of_reach = core_.link.away() || (late && !core_.link.ready());
    if (out_of_reach && !transition.recorded) {
      error = fail_errno(EHOSTDOWN, "its changes are not pushed, and the server is out of reach");
      return Outcome::refused;
    }
    core_.pushes.hurry(id);
    return Outcome::goes_on;
  }
  error = core_.tree->set_status(id, Status::remote);
  return Outcome::done;
}

Transitions::Outcome Transitions::to_local(NodeId id, Result<>& error) {
  const auto content = core_.contents.get(id);
  if (content && !(*content)->whole) {
    if (core_.link.away()) {
      error = fail_errno(EHOSTDOWN, "it is not all here, and the server is out of reach");
      return Outcome::refused;
    }
    core_.pulls.want_all(*content);
    return Outcome::goes_on;
  }
  error = core_.tree->set_status(id, Status::local);
  return Outcome::done;
}

Transitions::Outcome Transitions::to_sync(NodeId id, Result<>& error) {
  const auto node = core_.tree->node(id);
  if (node->status != Status::sync) {
    const bool pushed = keeps_local(node->status);
    error = core_.tree->set_status(id, Status::sync);
    if (pushed || !error) return Outcome::done;
  }
  const auto content = core_.contents.get(id);
  if (!content) return Outcome::done;  // a symlink
  const bool whole = (*content)->whole;
  core_.contents.tidy(id);
  if (whole) return Outcome::done;
  if (auto open = core_.contents.get(id); open) core_.pulls.want_all(*open);
  return Outcome::goes_on;
}

void Transitions::end(NodeId node, const Result<>& result) {
  const auto it = table_.find(node);
  const bool recorded = it == table_.end() || it->second.recorded;
  std::vector<Ticket> waiters;
  if (it != table_.end()) {
    waiters = std::move(it->second.waiters);
    table_.erase(it);
  }
  if (recorded) {
    if (auto done = core_.settings.remove_transition(node); !done) {
      log_warn("a finished transition stays recorded: {}", done.error().message());
    }
  }
  core_.pushes.unhurry(node);
  if (!result) log_warn("a transition ends: {}", result.error().message());
  for (const Ticket ticket : waiters) core_.waits.finish(ticket, result);
}

void Transitions::advance(Lock&) {
  const bool timed = next_deadline() <= core_.now();
  if (!poked_ && !timed) return;
  poked_ = false;
  std::vector<NodeId> nodes;
  for (const auto& [node, transition] : table_) nodes.push_back(node);
  for (const NodeId node : nodes) {
    const auto it = table_.find(node);
    if (it == table_.end()) continue;
    Result<> error;
    const Outcome outcome = step(node, it->second, error);
    if (outcome != Outcome::goes_on) end(node, error);
  }
  look_at_waits();
}

Time Transitions::next_deadline() const {
  Time next = kNever;
  for (const auto& [node, transition] : table_) {
    if (!transition.recorded) next = std::min(next, transition.began + kPatience);
  }
  return next;
}

Ticket Transitions::wait(NodeId node, Reply<> reply) {
  const auto answered = [this, reply](Ticket, const Result<>& result) {
    core_.answer(reply, Result<>(result));
  };
  const Ticket ticket = core_.waits.add(kNever, answered);
  if (ticket == 0) return 0;
  push_waits_.push_back({ticket, node});
  core_.pushes.hurry(node);
  look_at_waits();
  return core_.waits.waiting(ticket) ? ticket : 0;
}

void Transitions::look_at_waits() {
  const auto all = std::exchange(push_waits_, {});
  for (const auto& wait : all) {
    if (!core_.waits.waiting(wait.ticket)) {
      core_.pushes.unhurry(wait.node);
      continue;
    }
    bool goes_on = std::any_of(table_.begin(), table_.end(), [&](const auto& one) {
      return beneath(core_, one.first, wait.node);
    });
    std::string problem;
    core_.tree->queue([&](const Queued& queued) {
      if (!beneath(core_, queued.node, wait.node)) return true;
      const auto node = core_.tree->node(queued.node);
      if (!node) return true;
      const bool behind = core_.pushes.blocked(queued.node);
      const bool stuck = behind || node->has(store::kConflict) || node->has(store::kError);
      if (stuck && problem.empty()) {
        const char* const why = behind                        ? ": behind what is in conflict"
                                : node->has(store::kConflict) ? ": in conflict"
                                                              : ": in error";
        problem = core_.tree->path(queued.node) + why;
      }
      goes_on = goes_on || !stuck;
      return !goes_on;
    });
    if (goes_on) {
      push_waits_.push_back(wait);
      continue;
    }
    core_.pushes.unhurry(wait.node);
    core_.waits.finish(wait.ticket, problem.empty() ? Result<>{} : fail_errno(EIO, problem));
  }
}

}  // namespace ebb::fusefs
