#include "fusefs/core/transitions.h"

#include <algorithm>
#include <cerrno>

#include "base/log.h"
#include "fusefs/core/core.h"

namespace ebb::fusefs {
namespace {

/// A setfattr is answered by then, and a writer has to be gone by then.
constexpr Duration kPatience = std::chrono::seconds(1);
/// Before that, what may still be answered with EINPROGRESS is put on disk.
constexpr Duration kRecordBefore = std::chrono::milliseconds(700);
/// Slices of one folder in one go.
constexpr int kSlices = 4;
/// What a transition waits for is told; should it not be, it is looked at so often.
constexpr Duration kLookAgain = std::chrono::seconds(2);

}  // namespace

void Transitions::load() {
  for (const auto& stored : core_.settings.transitions()) {
    const auto node = core_.tree->node(stored.node);
    if (!node || stored.to == Status::untracked || (node->links == 0 && stored.node != kRootNode)) {
      end(stored.node, {});
      continue;
    }
    Transition transition;
    transition.to = stored.to;
    transition.began = core_.now();
    transition.recorded = transition.on_disk = true;
    if (node->is_folder()) {
      transition.job =
          std::make_unique<FolderJob>(core_, stored.node, stored.plan, stored.to, true);
    }
    start(stored.node, std::move(transition));
  }
  poked_ = !table_.empty();
}

// ---- what is asked for

Result<> Transitions::check(NodeId id, Status to) const {
  const auto node = core_.tree->node(id);
  if (!node) return pass(node.error());
  const auto plan = store::plan_transition(node->kind, node->status, to, steps_.facts(id, *node));
  if (plan.error == 0 || steps_.may_pass(id, plan.error)) return {};
  switch (plan.error) {
    case EINVAL:
      return fail_errno(EINVAL, "no word for this kind of entry");
    case EBUSY:
      return fail_errno(EBUSY, "its changes cannot be pushed");
    case EHOSTDOWN:
      return fail_errno(EHOSTDOWN, "it needs the server, which is out of reach");
    default:
      return fail_errno(plan.error, id == kRootNode ? "the root is syncless or syncmore"
                                                    : "there is no way from " +
                                                          std::string(word(node->status)) + " to " +
                                                          std::string(word(to)));
  }
}

/// One at a time in each part of the tree.
Result<> Transitions::check_others(NodeId id, bool recursive) const {
  for (const auto& [other, transition] : table_) {
    if (other == id) continue;
    const bool above = transition.job && beneath(core_, id, other);
    const bool below = recursive && beneath(core_, other, id);
    if (above || below) {
      return fail_errno(EBUSY, "another transition is under way: " + core_.tree->path(other));
    }
  }
  return {};
}

Ticket Transitions::begin(NodeId id, Status to, bool patience, Reply<> reply) {
  const auto answer = [&](Result<> result) -> Ticket {
    return core_.answer(reply, std::move(result)), 0;
  };
  if (auto fine = check(id, to); !fine) return answer(std::move(fine));
  const auto under_way = table_.find(id);
  if (under_way != table_.end()) {
    if (under_way->second.to == to) return await(id, patience, std::move(reply));
    return answer(fail_errno(EBUSY, "another transition is under way"));
  }
  const auto node = core_.tree->node(id);
  // Here only for what it asks for: whether that is allowed was seen above.
  const auto plan = store::plan_transition(node->kind, node->status, to, {}).plan;
  if (plan == store::Plan::nothing) return core_.answer(reply, Result<>{}), 0;
  const bool recursive = store::is_recursive(plan);
  if (auto fine = check_others(id, recursive); !fine) return answer(std::move(fine));
  if (table_.size() >= kTransitionsMax) return answer(fail_errno(EAGAIN, "too many transitions"));
  Transition transition;
  transition.to = to;
  transition.began = core_.now();
  if (recursive) transition.job = std::make_unique<FolderJob>(core_, id, plan, to, false);
  Result<> error;
  const Outcome outcome = begin_step(id, transition, error);
  if (outcome == Outcome::done) unkeep(id, to);
  if (outcome == Outcome::waits) return await(id, patience, std::move(reply));
  return answer(std::move(error));
}

/// As far as it goes at once; one that has to wait is in the table then.
Outcome Transitions::begin_step(NodeId id, Transition& transition, Result<>& error) {
  const Outcome outcome = step(id, transition, error);
  if (outcome == Outcome::waits) return start(id, std::move(transition)), outcome;
  core_.pushes.unhurry(id);
  if (!transition.recorded) return outcome;
  if (auto done = core_.settings.remove_transition(id); !done && error) error = done;
  return outcome;
}

Result<> Transitions::pin(NodeId id, Pin pin) {
  if (auto done = core_.tree->set_pin(id, pin); !done) return done;
  const auto node = core_.tree->node(id);
  if (!node || !core_.tree->kept(id) || under_way(id)) return {};
  const bool missing = node->is_folder() || node->status == Status::remote;
  if (!missing || !check_others(id, node->is_folder())) return {};
  Transition transition;
  transition.to = Status::sync;
  transition.began = core_.now();
  if (node->is_folder()) {
    transition.job =
        std::make_unique<FolderJob>(core_, id, store::Plan::keep_beneath, Status::sync, false);
  }
  Result<> error;
  begin_step(id, transition, error);
  return error;
}

Ticket Transitions::await(NodeId id, bool patience, Reply<> reply) {
  const bool impatient = !patience;
  const auto resume = [this, id, impatient, reply = std::move(reply)](Ticket,
                                                                      const Result<>& result) {
    answered(id, impatient, reply, result);
  };
  if (impatient) hush(id, 1);
  const Ticket ticket = core_.waits.add(impatient ? core_.now() + kPatience : kNever, resume);
  if (ticket == 0) return 0;
  auto& transition = table_[id];
  (impatient ? transition.impatient : transition.waiters).push_back(ticket);
  core_.effects.wake = true;
  return ticket;
}

void Transitions::answered(NodeId id, bool impatient, const Reply<>& reply,
                           const Result<>& result) {
  if (impatient) hush(id, -1);
  if (result) return core_.answer(reply, Result<>{});
  const bool timed_out = impatient && is_errno(result.error(), ETIMEDOUT);
  const bool given_up = timed_out || is_errno(result.error(), EINTR);
  const auto it = table_.find(id);
  const bool goes_on = it != table_.end() && it->second.recorded;
  if (given_up && !goes_on) give_up_unrecorded(id);
  if (!timed_out) return core_.answer(reply, result);
  core_.answer(reply, goes_on ? Result<>(fail_errno(EINPROGRESS))
                              : Result<>(fail_errno(EAGAIN, "too much is in it for now")));
}

/// Nobody has been promised anything, and nobody waits any more: it is as if it had not been asked
/// for.
void Transitions::give_up_unrecorded(NodeId id) {
  const auto it = table_.find(id);
  if (it == table_.end()) return;
  const auto waits = [&](Ticket ticket) { return core_.waits.waiting(ticket); };
  const auto& all = it->second;
  if (std::any_of(all.waiters.begin(), all.waiters.end(), waits)) return;
  if (std::any_of(all.impatient.begin(), all.impatient.end(), waits)) return;
  core_.tree->set_active(id, State::waiting, false);
  core_.pushes.unhurry(id);
  table_.erase(it);
}

void Transitions::hush(NodeId id, int by) {
  std::vector<NodeId> nodes{id};
  if (by > 0) {
    if (const auto names = core_.store->names_of(id)) {
      for (const auto& name : *names) nodes.push_back(name.folder);
    }
    hushes_[id].push_back(nodes);
  } else {
    auto& kept = hushes_[id];
    nodes = kept.back();
    kept.pop_back();
    if (kept.empty()) hushes_.erase(id);
  }
  for (const NodeId node : nodes) {
    if ((hushed_[node] += by) == 0) hushed_.erase(node);
  }
  if (hushed_.empty()) core_.release_held_notices();
}

std::string Transitions::reason(NodeId node) const {
  const auto it = table_.find(node);
  if (it == table_.end()) return {};
  const auto& job = it->second.job;
  if (job && job->plan() == store::Plan::keep_beneath) return "its content is coming, to be kept";
  return "becoming " + std::string(word(it->second.to));
}

// ---- going on

Outcome Transitions::step(NodeId id, Transition& transition, Result<>& error) {
  return transition.job ? step_folder(id, transition, error) : step_entry(id, transition, error);
}

Outcome Transitions::step_folder(NodeId id, Transition& transition, Result<>& error) {
  FolderJob& job = *transition.job;
  transition.ready = false;
  const bool late = core_.now() >= transition.began + kPatience;
  for (int i = 0; i < kSlices; ++i) {
    switch (job.advance(late)) {
      case FolderJob::Progress::more:
        break;
      case FolderJob::Progress::checked:
        error = record(id, transition);
        if (!error) return Outcome::refused;
        break;
      case FolderJob::Progress::waits:
        transition.look_again = core_.now() + kLookAgain;
        return Outcome::waits;
      case FolderJob::Progress::refused:
        error = job.error();
        return Outcome::refused;
      case FolderJob::Progress::done:
        error = job.error();
        return Outcome::done;
    }
  }
  transition.ready = true;
  core_.effects.wake = true;
  return Outcome::waits;
}

/// What is to be remote is not to be kept: a pin above it ends here.
void Transitions::unkeep(NodeId id, Status to) {
  if (to != Status::remote || !core_.tree->kept(id)) return;
  const auto node = core_.tree->node(id);
  if (!node || node->pin == Pin::keep) return;  // its own goes with its content
  if (auto done = core_.tree->set_pin(id, Pin::automatic); !done) {
    log_warn("a pin stays: {}", done.error().message());
  }
}

Outcome Transitions::step_entry(NodeId id, Transition& transition, Result<>& error) {
  const auto node = core_.tree->node(id);
  if (!node) return error = pass(node.error()), Outcome::refused;
  if (node->is_folder()) {
    error = core_.tree->set_status(id, transition.to);
    return error ? Outcome::done : Outcome::refused;
  }
  bool allowed = transition.recorded;
  if (!allowed) {
    const auto plan =
        store::plan_transition(node->kind, node->status, transition.to, steps_.facts(id, *node));
    const bool late = core_.now() >= transition.began + kPatience;
    allowed = plan.error == 0;
    if (!allowed && (late || !steps_.may_pass(id, plan.error))) {
      error = fail_errno(plan.error, plan.error == EBUSY ? "it is open for writing"
                                                         : "the server is out of reach");
      return Outcome::refused;
    }
  }
  Outcome outcome = Outcome::waits;
  if (transition.to == Status::remote) {
    outcome = steps_.to_remote(id, error);
  } else if (transition.to == Status::local) {
    outcome = steps_.to_local(id, false, error);
  } else {
    outcome = steps_.to_sync(id, error);
  }
  if (outcome != Outcome::waits) return outcome;
  if (transition.to != Status::sync && !transition.hurried) core_.pushes.hurry(id);
  transition.hurried = true;
  transition.look_again = core_.now() + kLookAgain;
  if (!allowed || transition.recorded) return outcome;
  error = record(id, transition);
  return error ? outcome : Outcome::refused;
}

Result<> Transitions::record(NodeId id, Transition& transition) {
  const auto plan = transition.job ? transition.job->plan() : store::Plan::refused;
  unkeep(id, transition.to);
  auto done = core_.settings.add_transition({id, transition.to, plan});
  transition.recorded = done.has_value();
  return done;
}

void Transitions::start(NodeId id, Transition transition) {
  table_.insert_or_assign(id, std::move(transition));
  core_.tree->set_active(id, State::waiting, true);
}

void Transitions::end(NodeId node, const Result<>& result) {
  const auto it = table_.find(node);
  const bool recorded = it == table_.end() || it->second.recorded;
  std::vector<Ticket> waiters;
  if (it != table_.end()) {
    waiters = std::move(it->second.waiters);
    waiters.insert(waiters.end(), it->second.impatient.begin(), it->second.impatient.end());
    table_.erase(it);
    core_.tree->set_active(node, State::waiting, false);
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

void Transitions::advance(Lock& lock) {
  const Time now = core_.now();
  if (next_deadline() > now) return;
  const bool all = std::exchange(poked_, false);
  std::vector<NodeId> nodes;
  for (const auto& [node, transition] : table_) nodes.push_back(node);
  for (const NodeId node : nodes) {
    const auto it = table_.find(node);
    if (it == table_.end()) continue;
    auto& one = it->second;
    const bool timed = one.look_again <= now;
    const bool late = !one.recorded && now >= one.began + kPatience;
    if (!all && !one.ready && !timed && !late) continue;
    one.look_again = kNever;
    Result<> error;
    const Outcome outcome = step(node, one, error);
    if (outcome != Outcome::waits) end(node, error);
  }
  sync_records(lock);
  look_at_waits();
}

/// Whoever is told that it goes on will find it going on after a power cut, too.
void Transitions::sync_records(Lock& lock) {
  std::vector<NodeId> recorded;
  for (const auto& [node, transition] : table_) {
    const bool asked = !transition.impatient.empty() && transition.recorded && !transition.on_disk;
    if (asked && core_.now() >= transition.began + kRecordBefore) recorded.push_back(node);
  }
  if (recorded.empty()) return;
  Result<> done;
  {
    const Unlocked open(lock);
    done = core_.store->sync();
  }
  if (!done) log_warn("the record of a transition is not on disk: {}", done.error().message());
  for (const NodeId node : recorded) {
    if (const auto it = table_.find(node); it != table_.end()) it->second.on_disk = true;
  }
}

Time Transitions::next_deadline() const {
  if (poked_) return Time{};  // long ago: whoever compares it with the clock finds it due
  Time next = kNever;
  for (const auto& [node, transition] : table_) {
    if (transition.ready) return Time{};
    next = std::min(next, transition.look_again);
    if (!transition.recorded) next = std::min(next, transition.began + kPatience);
    const bool asked = !transition.impatient.empty() && transition.recorded && !transition.on_disk;
    if (asked) next = std::min(next, transition.began + kRecordBefore);
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
