#include "fusefs/core/folder_job.h"

#include <cerrno>

#include "base/log.h"
#include "fusefs/core/core.h"
#include "fusefs/core/rollup.h"

namespace ebb::fusefs {
namespace {

/// Entries in one slice: the lock is held for that long.
constexpr int kCheckSlice = 512;
constexpr int kWorkSlice = 64;
/// Entries that are waited for at the check; with more of them it is refused at once.
constexpr std::size_t kDoubtfulMax = 1024;
/// So often a folder is walked through again in which something became otherwise meanwhile.
constexpr std::uint64_t kRoundsMax = 8;

}  // namespace

FolderJob::FolderJob(Core& core, NodeId root, store::Plan plan, Status to, bool checked)
    : core_(core),
      steps_(core),
      root_(root),
      plan_(plan),
      to_(to),
      phase_(checked ? Phase::beginning : Phase::checking),
      walk_(*core.store, root) {
  const auto node = core_.tree->node(root);
  if (node && !checked && needs_names(*node)) unlisted_ = root;
}

bool FolderJob::from_above() const {
  return to_ == Status::syncmore || plan_ == store::Plan::keep_beneath;
}

bool FolderJob::goes_into(const store::Node& folder) const {
  if (!folder.is_folder()) return false;
  if (plan_ == store::Plan::drop_beneath || plan_ == store::Plan::empty_to_remote) return true;
  if (plan_ == store::Plan::keep_beneath) return folder.pin != Pin::automatic;
  if (plan_ == store::Plan::detach_local) return folder.status != Status::local;
  return folder.status != Status::remote;
}

bool FolderJob::needs_names(const store::Node& folder) const {
  const bool all = plan_ == store::Plan::pull_syncmore || plan_ == store::Plan::detach_local ||
                   plan_ == store::Plan::keep_beneath;
  return all && folder.entry && !folder.has(store::kListed);
}

bool FolderJob::names_known() {
  if (!unlisted_) return true;
  const auto listed = core_.tree->listed(unlisted_);
  if (!listed || *listed) {
    unlisted_ = {};
    asked_ = false;
    return true;
  }
  if (asked_ || !core_.link.ready()) return false;
  asked_ = true;
  core_.listings.wait(
      unlisted_, [this_core = &core_](Ticket, const Result<>&) { this_core->transitions.poke(); },
      0);
  return false;
}

void FolderJob::enter(NodeId folder, const store::Node& node) {
  walk_.descend(folder);
  if (needs_names(node)) unlisted_ = folder;
}

FolderJob::Progress FolderJob::advance(bool late) {
  switch (phase_) {
    case Phase::checking:
      return check(late);
    case Phase::beginning:
      return begin();
    case Phase::working:
      return work();
    case Phase::filling:
      return fill();
  }
  return Progress::done;
}

// ---- the check

FolderJob::Progress FolderJob::refuse(NodeId id, int number, const char* why) {
  error_ = fail_errno(number, core_.tree->path(id) + why);
  return Progress::refused;
}

FolderJob::Progress FolderJob::check(bool late) {
  const bool nothing_forbids = from_above() || plan_ == store::Plan::drop_beneath;
  if (nothing_forbids) return phase_ = Phase::beginning, Progress::checked;
  if (!names_known()) {
    if (core_.link.away()) return refuse(unlisted_, EHOSTDOWN, ": what is in it is not known");
    return asked_ ? Progress::waits : Progress::more;
  }
  for (int i = 0; i < kCheckSlice; ++i) {
    const auto place = walk_.next();
    if (!place) continue;  // a folder that went meanwhile
    if (place->what == FolderWalk::Place::What::end) return check_doubtful(late);
    if (place->what != FolderWalk::Place::What::entry) continue;
    if (!check_entry(place->node)) return Progress::refused;
    if (unlisted_) return Progress::more;
  }
  return Progress::more;
}

bool FolderJob::check_entry(NodeId id) {
  const auto node = core_.tree->node(id);
  if (!node) return true;
  const auto beneath = store::plan_beneath(plan_, node->kind, node->status);
  const bool local = to_ == Status::remote;
  if (beneath.error != 0) {
    refuse(id, beneath.error, local ? ": the server does not have it" : ": it is not here");
    return false;
  }
  if (beneath.to) {
    const auto facts = steps_.facts(id, *node);
    const auto allowed = store::plan_transition(node->kind, node->status, *beneath.to, facts);
    const bool passes = steps_.may_pass(id, allowed.error) && doubtful_.size() < kDoubtfulMax;
    if (allowed.error != 0 && !passes) {
      refuse(id, allowed.error,
             allowed.error == EBUSY ? ": it is in use, or cannot be pushed"
                                    : ": the server is out of reach");
      return false;
    }
    if (allowed.error != 0) doubtful_.push_back(id);
  }
  if (goes_into(*node)) enter(id, *node);
  return true;
}

FolderJob::Progress FolderJob::check_doubtful(bool late) {
  std::vector<NodeId> still;
  for (const NodeId id : doubtful_) {
    const auto node = core_.tree->node(id);
    if (!node || node->links == 0) continue;
    const auto beneath = store::plan_beneath(plan_, node->kind, node->status);
    if (beneath.error != 0) return refuse(id, beneath.error, ": its status forbids it");
    if (!beneath.to) continue;
    const auto allowed =
        store::plan_transition(node->kind, node->status, *beneath.to, steps_.facts(id, *node));
    if (allowed.error == 0) continue;
    if (late || !steps_.may_pass(id, allowed.error)) {
      return refuse(id, allowed.error,
                    allowed.error == EBUSY ? ": it is open for writing, or cannot be pushed"
                                           : ": the server is out of reach");
    }
    still.push_back(id);
  }
  doubtful_ = std::move(still);
  if (!doubtful_.empty()) return Progress::waits;
  phase_ = Phase::beginning;
  return Progress::checked;
}

// ---- the work

FolderJob::Progress FolderJob::begin() {
  phase_ = Phase::working;
  walk_ = FolderWalk(*core_.store, root_);
  unlisted_ = {};
  asked_ = false;
  if (to_ == Status::remote) core_.pushes.hurry(root_);
  if (!from_above()) return Progress::more;
  const bool word = plan_ != store::Plan::keep_beneath;
  if (auto done = word ? core_.tree->set_status(root_, to_) : Result<>{}; !done) {
    error_ = done;
    return Progress::done;
  }
  const auto node = core_.tree->node(root_);
  if (node && needs_names(*node)) unlisted_ = root_;
  return Progress::more;
}

FolderJob::Progress FolderJob::work() {
  if (!names_known()) return Progress::waits;
  for (int i = 0; i < kWorkSlice; ++i) {
    const auto place = walk_.next();
    if (!place) continue;
    if (place->what == FolderWalk::Place::What::end) {
      phase_ = Phase::filling;
      return fill();
    }
    const bool entry = place->what == FolderWalk::Place::What::entry;
    const auto progress = entry ? work_entry(place->node) : work_end(*place);
    if (progress != Progress::more) return wait_here();
    if (unlisted_) return Progress::more;
  }
  return Progress::more;
}

FolderJob::Progress FolderJob::wait_here() {
  walk_.stay();
  // What becomes local is pushed only where the server has to know of its names.
  if (!hurried_ && to_ == Status::local) core_.pushes.hurry(root_);
  hurried_ = true;
  return Progress::waits;
}

FolderJob::Progress FolderJob::work_entry(NodeId id) {
  const auto node = core_.tree->node(id);
  if (!node) return Progress::more;
  return from_above() ? work_above(id, *node) : work_below(id, *node);
}

FolderJob::Progress FolderJob::work_above(NodeId id, const store::Node& node) {
  auto beneath = store::plan_beneath(plan_, node.kind, node.status);
  const bool left_out = plan_ == store::Plan::keep_beneath && node.pin == Pin::automatic;
  if (left_out) beneath.to.reset();
  if (beneath.to) note(id, core_.tree->set_status(id, *beneath.to));
  const auto now = core_.tree->node(id);
  if (now && goes_into(*now)) enter(id, *now);
  return Progress::more;
}

FolderJob::Progress FolderJob::work_below(NodeId id, const store::Node& node) {
  if (node.is_folder()) {
    if (goes_into(node)) walk_.descend(id);
    return Progress::more;
  }
  const auto beneath = store::plan_beneath(plan_, node.kind, node.status);
  if (!beneath.to) return Progress::more;
  Result<> error;
  const auto outcome =
      to_ == Status::remote ? steps_.to_remote(id, error) : steps_.to_local(id, true, error);
  if (outcome == Outcome::waits) return Progress::waits;
  if (outcome == Outcome::refused) note(id, error);
  return Progress::more;
}

FolderJob::Progress FolderJob::work_end(const FolderWalk::Place& place) {
  if (from_above()) return Progress::more;
  const auto node = core_.tree->node(place.node);
  const bool gone = !node || node->links == 0 || !beneath(core_, place.node, root_);
  if (gone || node->status == to_) return Progress::more;
  const auto done = core_.tree->set_status(place.node, to_);
  if (done) return Progress::more;
  if (is_errno(done.error(), EBUSY)) return Progress::waits;
  if (is_errno(done.error(), ENOTEMPTY) && place.mark < kRoundsMax) {
    walk_.descend(place.node, place.mark + 1);
    return Progress::more;
  }
  note(place.node, done);
  // What of it was let go of is the server's again.
  if (to_ == Status::local) note(place.node, core_.tree->list_anew(place.node));
  return Progress::more;
}

/// All is as it shall be; contents may still be on their way.
FolderJob::Progress FolderJob::fill() {
  const bool pulls = plan_ == store::Plan::pull_syncmore || plan_ == store::Plan::keep_beneath;
  if (!pulls) return Progress::done;
  const auto node = core_.tree->node(root_);
  return node && all_counts(*node).partial > 0 ? Progress::waits : Progress::done;
}

void FolderJob::note(NodeId id, const Result<>& problem) {
  if (problem) return;
  log_warn("{} does not become {}: {}", core_.tree->path(id), word(to_), problem.error().message());
  if (!error_) return;
  error_ = pass(Error{problem.error().code, core_.tree->path(id) + ": " + problem.error().detail});
}

}  // namespace ebb::fusefs
