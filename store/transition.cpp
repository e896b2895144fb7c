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
  if (to == Status::local) {
    const bool needs_server = !facts.whole || !facts.names_on_server;
    if (needs_server && !facts.server_reachable) return refuse(EHOSTDOWN);
    return plan(Plan::pull_then_local);
  }
  if (facts.open_for_write || facts.stuck) return refuse(EBUSY);
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
      if (facts.local_beneath) return refuse(EPERM);
      if (facts.open_for_write || facts.stuck) return refuse(EBUSY);
      if (facts.dirty && !facts.server_reachable) return refuse(EHOSTDOWN);
      return plan(Plan::empty_to_remote);
    default:
      if (facts.remote_beneath) return refuse(EPERM);
      if ((!facts.whole || !facts.names_on_server) && !facts.server_reachable) {
        return refuse(EHOSTDOWN);
      }
      return plan(Plan::detach_local);
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

bool stays_here(Status status) {
  return status == Status::local || status == Status::untracked;
}

/// Remote stays remote, and what is sync already is.
Beneath synced_beneath(Kind kind, Status from) {
  if (is_special(kind)) return {};
  if (kind != Kind::folder) return stays_here(from) ? Beneath{Status::sync, 0} : Beneath{};
  const bool changes = from == Status::local || from == Status::syncless;
  return changes ? Beneath{Status::syncmore, 0} : Beneath{};
}

Beneath pulled_beneath(Kind kind, Status from) {
  if (from != Status::remote) return {};
  return {kind == Kind::folder ? Status::syncmore : Status::sync, 0};
}

Beneath emptied_beneath(Kind kind, Status from) {
  if (stays_here(from)) return {std::nullopt, EPERM};
  return kind == Kind::symlink ? Beneath{} : Beneath{Status::remote, 0};
}

Beneath detached_beneath(Status from) {
  if (from == Status::remote) return {std::nullopt, EPERM};
  return stays_here(from) ? Beneath{} : Beneath{Status::local, 0};
}

}  // namespace

Beneath plan_beneath(Plan plan, Kind kind, Status from) {
  switch (plan) {
    case Plan::make_syncmore:
    case Plan::fill_syncmore:
      return synced_beneath(kind, from);
    case Plan::pull_syncmore:
      return pulled_beneath(kind, from);
    case Plan::empty_to_remote:
    case Plan::drop_beneath:
      return emptied_beneath(kind, from);
    case Plan::detach_local:
      return detached_beneath(from);
    case Plan::keep_beneath: {
      const bool missing = kind == Kind::file && from == Status::remote;
      return missing ? Beneath{Status::sync, 0} : Beneath{};
    }
    default:
      return {};
  }
}

bool is_recursive(Plan plan) {
  return plan == Plan::make_syncmore || plan == Plan::fill_syncmore ||
         plan == Plan::pull_syncmore || plan == Plan::empty_to_remote ||
         plan == Plan::drop_beneath || plan == Plan::detach_local || plan == Plan::keep_beneath;
}

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
    if (to != Status::remote) return plan(Plan::nothing);
    return plan(kind == Kind::folder ? Plan::drop_beneath : Plan::drop_cached);
  }
  if (kind == Kind::symlink && to == Status::remote) return refuse(EPERM);
  return kind == Kind::folder ? folder(from, to, facts) : file(from, to, facts);
}

}  // namespace ebb::store
