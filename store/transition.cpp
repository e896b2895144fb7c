#include "store/transition.h"

#include <cerrno>

#include "base/check.h"

namespace ebb::store {
namespace {

Transition refuse(int error) {
  return {Plan::refused, error};
}
Transition plan(Plan plan) {
  return {plan, 0};
}

/// Untracked acts as local.
Transition from_local_file(Status to) {
  return to == Status::sync ? plan(Plan::become_sync_push) : refuse(EPERM);
}

Transition from_sync_file(Status to, const TransitionFacts& facts) {
  if (to == Status::local) return plan(Plan::pull_then_local);
  if (facts.open_for_write) return refuse(EBUSY);
  if (facts.dirty && !facts.server_reachable) return refuse(EHOSTDOWN);
  return plan(Plan::push_then_drop);
}

Transition from_remote_file(Status to) {
  return to == Status::sync ? plan(Plan::pull_then_sync) : refuse(EPERM);
}

Transition file(Status from, Status to, const TransitionFacts& facts) {
  if (to == Status::untracked) return refuse(EPERM);  // a word that a user cannot give
  switch (from) {
    case Status::untracked:
      return to == Status::local ? plan(Plan::nothing) : from_local_file(to);
    case Status::local:
      return from_local_file(to);
    case Status::sync:
      return from_sync_file(to, facts);
    default:
      return from_remote_file(to);
  }
}

Transition from_local_folder(Status to) {
  switch (to) {
    case Status::syncless:
      return plan(Plan::make_syncless);
    case Status::syncmore:
      return plan(Plan::make_syncmore);
    default:
      return refuse(EPERM);
  }
}

Transition from_remote_folder(Status to) {
  switch (to) {
    case Status::syncless:
      return plan(Plan::rename_syncless);
    case Status::syncmore:
      return plan(Plan::pull_syncmore);
    default:
      return refuse(EPERM);
  }
}

/// From syncless or syncmore.
Transition from_synced_folder(Status to, const TransitionFacts& facts) {
  switch (to) {
    case Status::syncmore:
      return plan(Plan::fill_syncmore);
    case Status::syncless:
      return plan(Plan::rename_syncless);
    case Status::remote:
      return facts.local_beneath ? refuse(EPERM) : plan(Plan::empty_to_remote);
    default:
      return facts.remote_beneath ? refuse(EPERM) : plan(Plan::detach_local);
  }
}

Transition folder(Status from, Status to, const TransitionFacts& facts) {
  if (facts.is_root && to != Status::syncless && to != Status::syncmore) return refuse(EPERM);
  switch (from) {
    case Status::local:
      return from_local_folder(to);
    case Status::remote:
      return from_remote_folder(to);
    default:
      return from_synced_folder(to, facts);
  }
}

}  // namespace

Transition plan_transition(Kind kind, Status from, Status to, const TransitionFacts& facts) {
  CHECK(fits(kind, from));
  if (is_special(kind)) {
    // They act as local ones that cannot leave this machine.
    if (!fits(Kind::file, to)) return refuse(EINVAL);
    return to == from || to == Status::local ? plan(Plan::nothing) : refuse(EPERM);
  }
  // A symlink's target counts as here: remote is a word of files that it cannot have.
  const auto words = kind == Kind::symlink ? Kind::file : kind;
  if (!fits(words, to)) return refuse(EINVAL);
  if (from == to) {
    return plan(kind == Kind::file && to == Status::remote ? Plan::drop_cached : Plan::nothing);
  }
  if (kind == Kind::symlink && to == Status::remote) return refuse(EPERM);
  return kind == Kind::folder ? folder(from, to, facts) : file(from, to, facts);
}

}  // namespace ebb::store
