#include "fusefs/core/pushes.h"

#include <algorithm>

#include "base/log.h"
#include "fusefs/core/core.h"

namespace ebb::fusefs {
namespace {

/// A node that changes all the time is pushed after this many delays all the same, and not before a
/// minute.
constexpr int kDelaysMost = 10;
constexpr Duration kDeadlineLeast = std::chrono::seconds(60);
constexpr Duration kRetryFirst = std::chrono::milliseconds(500);
constexpr Duration kRetryMost = std::chrono::seconds(60);
/// As deep as a chain of "that one first" is followed in one go.
constexpr int kDepthMax = 64;
/// The queue is not searched more often, unless an operation ended while more were waiting for it.
constexpr Duration kScanPause = std::chrono::milliseconds(20);

}  // namespace

bool beneath(const Core& core, NodeId node, NodeId root) {
  if (root == kRootNode) return true;
  // Bounded by the depth of the tree; a damaged store must not make it endless.
  for (int depth = 0; node && depth < 4096; ++depth) {
    if (node == root) return true;
    const auto record = core.tree->node(node);
    if (!record) return false;
    NodeId up = record->parent;
    if (!up) {
      // Deleted here: it stands where the server still has it.
      const auto names = core.store->names_of(node);
      if (names && !names->empty()) up = names->front().folder;
    }
    node = up;
  }
  return false;
}

void Pushes::load() {
  core_.tree->queue([&](const Queued& queued) {
    if (!queued.operation) return true;
    outstanding_.insert(queued.operation);
    unanswered_.emplace(queued.operation, core_.tree->unanswered(queued.node).value_or(Step{}));
    return true;
  });
  scan_at_ = core_.now();
}

void Pushes::ready() {
  queue_changed();
}

void Pushes::lost() {
  for (const auto& [id, operation] : operations_) {
    if (operation->phase == Operation::Phase::sent) {
      operation->phase = Operation::Phase::recorded;
      operation->repeated = true;
    }
    operation->session = 0;
    operation->hash.reset();
    operation->passed = operation->whole_at = 0;
    operation->early.reset();
    operation->resume_at = 0;
    operation->match.reset();
    operation->whole_known.reset();
    operation->delta_done = false;
    operation->may_send = operation->hash_sent = operation->froze = false;
  }
  // The receipts are kept; that the server may forget them is said by the next operation.
  finishes_.clear();
}

void Pushes::begin_anew() {
  const auto all = operations_;
  for (const auto& [id, operation] : all) forget(operation);
  unanswered_.clear();
  outstanding_.clear();
  retries_.clear();
  blocked_.clear();
}

void Pushes::hurry() {
  hurry_ = true;
  retries_.clear();
  scan_at_ = core_.now();
  core_.effects.wake = true;
}

void Pushes::hurry(NodeId node) {
  forced_.insert(node);
  retries_.clear();
  scan_at_ = core_.now();
  core_.effects.wake = true;
}

void Pushes::flushed(NodeId node) {
  if (core_.options.delay.count() > 0 || !core_.tree->queued(node)) return;
  flushed_.insert(node);
  scan_at_ = core_.now();
  core_.effects.wake = true;
}

void Pushes::content_came(NodeId node) {
  queue_changed();
  const auto it = retries_.find(node);
  if (it == retries_.end()) return;
  it->second.at = scan_at_ = core_.now();
  it->second.failures = 0;
  core_.effects.wake = true;
}

void Pushes::queue_changed() {
  // What changed just now is not due before it has rested, and a search costs as much as the queue
  // is long: a stream of changes must not begin one each time.
  const bool asked_for = hurry_ || !forced_.empty();
  const Duration rest = asked_for ? kScanPause : core_.options.delay;
  const Time at = core_.now() + rest;
  if (at >= scan_at_) return;
  scan_at_ = at;
  core_.effects.wake = true;
}

Time Pushes::next_deadline() const {
  if (!core_.link.ready() || !core_.watching.caught_up()) return kNever;
  return std::min(scan_at_, sync_at_);
}

void Pushes::pump(Lock& lock) {
  if (!core_.link.ready()) return;
  if (core_.watching.caught_up() && core_.now() >= scan_at_) begin_due();
  record(lock);
  send_recorded(lock);
  stream(lock);
}

bool Pushes::forced(NodeId node) const {
  if (hurry_) return true;
  return std::any_of(forced_.begin(), forced_.end(),
                     [&](NodeId root) { return beneath(core_, node, root); });
}

/// The wall clock may have been set back or forth: nothing waits longer than `rest` from now on.
/// `now` is the one that the answer is compared with: a clock that has gone on in between would put
/// everything into the future for ever.
Time Pushes::rested(Time now, WallNs changed, Duration rest) const {
  const Duration left = Duration(changed - core_.seams.clock.wall()) + rest;
  return now + std::clamp<Duration>(left, Duration{}, rest);
}

Time Pushes::due_at(Time now, const Queued& queued, const store::Node& node) const {
  const Duration delay = core_.options.delay;
  const Duration most = std::max<Duration>(kDeadlineLeast, delay * kDelaysMost);
  const Time deadline = rested(now, queued.first_change, most);
  const bool being_written = delay.count() == 0 && node.is_folder() == false &&
                             core_.inodes.writers(queued.node) != 0 &&
                             flushed_.count(queued.node) == 0;
  if (being_written) return deadline;
  return std::min(deadline, rested(now, queued.last_change, delay));
}

/// Operations that nobody will ask about again: what they were about has gone on without them.
void Pushes::forget_dead() {
  if (unanswered_.size() <= operations_.size()) return;
  std::set<OpId> alive;
  core_.tree->queue([&](const Queued& queued) {
    if (queued.operation) alive.insert(queued.operation);
    return true;
  });
  std::vector<OpId> dead;
  for (const auto& [id, step] : unanswered_) {
    if (operations_.count(id) == 0 && alive.count(id) == 0) dead.push_back(id);
  }
  for (const OpId id : dead) {
    unanswered_.erase(id);
    outstanding_.erase(id);
    core_.watching.operation_dead(id);
  }
}

void Pushes::begin_due() {
  forget_dead();
  const Time now = core_.now();
  scan_at_ = kNever;
  window_full_ = false;
  std::vector<NodeId> due;
  std::size_t length = 0;
  const bool all = hurry_ || !forced_.empty() || core_.options.delay.count() == 0;
  core_.tree->queue([&](const Queued& queued) {
    ++length;
    // The queue is in the order of first changes: behind one that cannot have rested none has.
    const Time rests_until = rested(now, queued.first_change, core_.options.delay);
    if (!all && !queued.operation && rests_until > now) {
      scan_at_ = std::min(scan_at_, rests_until);
      return false;
    }
    if (by_node_.count(queued.node) != 0) return true;
    if (operations_.size() + due.size() >= kOperationsMax) {
      window_full_ = true;
      return false;
    }
    const auto retry = retries_.find(queued.node);
    if (retry != retries_.end() && retry->second.at > now) {
      scan_at_ = std::min(scan_at_, retry->second.at);
      return true;
    }
    const auto node = core_.tree->node(queued.node);
    if (!node) return true;
    // What may have been done already is asked for even so.
    if (node->has(store::kError) && !queued.operation) return true;
    const Time at = queued.operation || forced(queued.node) ? now : due_at(now, queued, *node);
    if (at <= now) {
      due.push_back(queued.node);
    } else {
      scan_at_ = std::min(scan_at_, at);
    }
    return true;
  });
  if (length == 0) {
    hurry_ = false;
    forced_.clear();
    flushed_.clear();
    blocked_.clear();
    retries_.clear();
    if (operations_.empty() && answered_not_on_disk_.empty()) {
      outstanding_.clear();
      unanswered_.clear();
    }
  }
  // Many that fall due one after the other are found together.
  if (!window_full_) scan_at_ = std::max(scan_at_, now + kScanPause);
  for (const NodeId node : due) {
    blocked_.erase(node);
    if (begin_node(node, 0)) continue;
    blocked_.insert(node);
    later(node, kRetryFirst);
    core_.transitions.poke();
  }
}

/// Two steps that touch one name go one after the other: the first one's answer decides what the
/// second can be.
bool Pushes::waits_for_answer(const Step& step) const {
  const auto touches = [](const Step& other, NodeId folder, const std::string& name) {
    return (other.from_folder == folder && other.from.name == name) ||
           (other.place_folder == folder && other.place.name == name);
  };
  const auto own = core_.tree->queued(step.node);
  return std::any_of(unanswered_.begin(), unanswered_.end(), [&](const auto& one) {
    if (own && own->operation == one.first) return false;
    return (step.from_folder && touches(one.second, step.from_folder, step.from.name)) ||
           (step.place_folder && touches(one.second, step.place_folder, step.place.name));
  });
}

/// False when it stands behind something that is stuck.
bool Pushes::begin_node(NodeId node, int depth) {
  const bool full = operations_.size() >= 2 * kOperationsMax;
  if (by_node_.count(node) != 0 || depth > kDepthMax || full) return true;
  const auto step = core_.tree->next_step(node);
  if (!step) {
    log_warn("what to push next is not known: {}", step.error().message());
    return later(node, kRetryFirst), true;
  }
  switch (step->kind) {
    case StepKind::blocked:
      // Not in error, so somebody else's entry is in its way.
      if (const auto record = core_.tree->node(node); record && !record->has(store::kError)) {
        if (auto done = core_.tree->settle_names(node); !done) {
          log_warn("two of one name are not told apart: {}", done.error().message());
        }
      }
      return false;
    case StepKind::nothing:
      return leave_queue(node), true;
    case StepKind::after:
      return begin_behind(node, step->other, depth);
    default:
      break;
  }
  // The answer's end looks at the queue again.
  if (waits_for_answer(*step)) return true;
  if (!begin(*step)) later(node, kRetryFirst);
  return true;
}

bool Pushes::begin_behind(NodeId node, NodeId other, int depth) {
  const auto record = core_.tree->node(other);
  const auto queued = core_.tree->queued(other);
  if (other == node || !record || !queued) return later(node, kRetryFirst), true;
  if (record->has(store::kError) && !queued->operation) return false;
  const auto retry = retries_.find(other);
  if (retry != retries_.end() && retry->second.at > core_.now()) {
    scan_at_ = std::min(scan_at_, retry->second.at);
    return blocked_.count(other) == 0;
  }
  return begin_node(other, depth + 1);
}

/// There is nothing to push: the tree looks at the node once more, which takes it out.
void Pushes::leave_queue(NodeId node) {
  Step nothing;
  nothing.node = node;
  const auto done = core_.tree->step_moot(nothing);
  if (!done || core_.tree->queued(node)) later(node, kRetryFirst);
}

bool Pushes::begin(const Step& step) {
  // It is under way for the node that was the entry before: its answer is for this one.
  const auto under_way = core_.tree->queued(step.node);
  if (under_way && operations_.count(under_way->operation) != 0) return true;
  const auto operation = std::make_shared<Operation>();
  operation->step = step;
  if (step.kind == StepKind::push) {
    const auto queued = core_.tree->queued(step.node);
    if (!begin_content(operation, queued && queued->operation)) return false;
  } else {
    operation->mutate = mutation(step);
  }
  const auto id = operation_for(step);
  if (!id) return false;
  operation->id = *id;
  if (auto done = core_.tree->step_begins(step, *id); !done) {
    log_warn("a push cannot be recorded: {}", done.error().message());
    return false;
  }
  if (operation->mutate) operation->mutate->operation.id = *id;
  log_debug("operation {}: kind {} node {} entry {} {}/{} -> {}/{}", id->value,
            static_cast<int>(step.kind), step.node.value, step.entry.value, step.from.folder.value,
            step.from.name, step.place.folder.value, step.place.name);
  outstanding_.insert(*id);
  unanswered_.emplace(*id, step);
  operations_.emplace(*id, operation);
  by_node_.emplace(step.node, *id);
  flushed_.erase(step.node);
  core_.tree->set_active(step.node, State::pushing, true);
  return true;
}

bool Pushes::begin_content(const OperationPtr& operation, bool repeats) {
  auto content = core_.contents.get(operation->step.node);
  if (!content) return false;
  if (!(*content)->whole && repeats) {
    operation->probe = true;
    return true;
  }
  if (!begin_parts(operation, *content)) return false;
  operation->repeated = repeats;
  operation->content = std::move(*content);
  const auto queued = core_.tree->queued(operation->step.node);
  const Duration most = std::max<Duration>(kDeadlineLeast, core_.options.delay * kDelaysMost);
  operation->as_read = queued && Duration(core_.seams.clock.wall() - queued->first_change) >= most;
  return true;
}

std::string Pushes::why_waiting(NodeId node) const {
  if (!core_.link.ready()) {
    const auto& problem = core_.link.problem();
    return problem.empty() ? "the server is out of reach"
                           : "the server is out of reach: " + problem;
  }
  if (blocked(node)) return "behind what is in error";
  const auto retry = retries_.find(node);
  return retry == retries_.end() ? std::string{} : retry->second.why;
}

Result<OpId> Pushes::operation_for(const Step& step) {
  if (const auto queued = core_.tree->queued(step.node); queued && queued->operation) {
    return queued->operation;
  }
  return core_.settings.next_operation();
}

proto::Mutate Pushes::mutation(const Step& step) const {
  static constexpr std::pair<StepKind, proto::MutationKind> kKinds[] = {
      {StepKind::make_folder, proto::MutationKind::make_folder},
      {StepKind::make_symlink, proto::MutationKind::make_symlink},
      {StepKind::set_attributes, proto::MutationKind::set_attributes},
      {StepKind::link, proto::MutationKind::link},
      {StepKind::rename, proto::MutationKind::rename},
      {StepKind::exchange, proto::MutationKind::exchange},
      {StepKind::remove, proto::MutationKind::remove},
  };
  proto::Mutate mutate;
  for (const auto& [kind, wire] : kKinds) {
    if (kind == step.kind) mutate.kind = wire;
  }
  mutate.entry = step.entry;
  mutate.other = step.other_entry;
  mutate.from = step.from;
  mutate.place = step.place;
  mutate.content_version = step.content_version;
  mutate.attributes_version = step.attributes_version;
  const bool carries = step.kind == StepKind::make_folder || step.kind == StepKind::make_symlink ||
                       step.kind == StepKind::set_attributes;
  if (carries) {
    mutate.attribute_bits = attribute_bits();
    mutate.attributes = attributes_of(step.node);
  }
  if (step.kind == StepKind::make_symlink) {
    mutate.target = core_.tree->target(step.node).value_or(std::string{});
  }
  return mutate;
}

std::uint8_t Pushes::attribute_bits() const {
  const unsigned owner = core_.options.server_owners ? unsigned{proto::kOwner} : 0U;
  return static_cast<std::uint8_t>(proto::kMode | proto::kMtime | proto::kXattrs | owner);
}

proto::Attributes Pushes::attributes_of(NodeId id) const {
  proto::Attributes attributes;
  const auto node = core_.tree->node(id);
  if (!node) return attributes;
  attributes.mode = node->mode;
  attributes.uid = node->uid;
  attributes.gid = node->gid;
  attributes.mtime = node->mtime;
  if (const auto xattrs = core_.tree->xattrs(id); xattrs) attributes.xattrs = pack_xattrs(*xattrs);
  return attributes;
}

void Pushes::later(NodeId node, Duration at_least, std::string why) {
  auto& retry = retries_[node];
  retry.why = std::move(why);
  const Duration wait =
      std::max(at_least, std::min(kRetryMost, kRetryFirst * (1 << std::min(retry.failures, 7))));
  ++retry.failures;
  retry.at = core_.now() + wait;
  scan_at_ = std::min(scan_at_, retry.at);
}

void Pushes::forget(const OperationPtr& operation) {
  if (operation->session != 0) core_.link.close_session(operation->session);
  operation->session = 0;
  if (operations_.erase(operation->id) == 0) return;
  by_node_.erase(operation->step.node);
  core_.tree->set_active(operation->step.node, State::pushing, false);
  if (operation->content) {
    const NodeId node = operation->step.node;
    operation->content.reset();
    core_.contents.tidy(node);
  }
  if (window_full_) scan_at_ = core_.now();
  core_.transitions.poke();
}

}  // namespace ebb::fusefs
