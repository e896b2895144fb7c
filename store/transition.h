// The table of status transitions, ebb-status(7), as a pure function: what a change of status asks
// for, or why it is refused.  It plans for one entry; what is beneath a folder comes in as facts.
#pragma once

#include <cstdint>
#include <optional>

#include "store/status.h"

namespace ebb::store {

/// What the layer above knows of the entry when the change is asked for.
struct TransitionFacts {
  bool is_root = false;
  bool dirty = false;           // changes that the server does not have
  bool open_for_write = false;  // still, at the end of the time that a change waits for it
  bool stuck = false;           // in conflict or error: its changes cannot be pushed
  bool whole = true;            // all of its content is here
  bool names_on_server = true;  // no rename or further name of it waits
  bool server_reachable = true;
  // Folders: what is anywhere beneath.
  bool local_beneath = false;   // a local or untracked entry
  bool remote_beneath = false;  // a remote entry
};

/// The numbers of those for folders are on disk, with the transitions that are under way.
enum class Plan : std::uint8_t {
  refused = 0,       // see Transition::error
  nothing,           // done already
  drop_cached,       // remote file to remote: what is cached of it goes
  become_sync_push,  // local file: sync with version 0, then pushed
  push_then_drop,    // sync file: pushed if it has changes; on the receipt for this content it is
                     // dropped
  pull_then_local,   // sync file: what is missing is pulled; then local, and the server's copy
                     // hidden
  pull_then_sync,    // remote file: pulled, checked, then sync
  make_syncless,     // local folder: made on the server; contents stay local
  make_syncmore,     // local folder: made on the server; local files beneath sync, folders syncmore
  fill_syncmore,     // syncless folder: what is local or syncless beneath likewise; remote stays
                     // remote
  rename_syncless,   // the word alone: syncmore or remote folder to syncless
  empty_to_remote,   // every file beneath as sync to remote, every folder remote
  detach_local,      // everything beneath becomes local
  pull_syncmore,     // remote folder: contents are pulled, files sync, folders syncmore
  drop_beneath,      // remote folder to remote: what is cached beneath goes
  keep_beneath,      // a folder pinned keep: the content of what is remote beneath is pulled
};
inline constexpr int kPlans = 15;

struct Transition {
  Plan plan = Plan::refused;
  int error = 0;  // an errno value with Plan::refused, else 0
  friend bool operator==(const Transition&, const Transition&) = default;
};

/// `from` fits the kind (CHECKed).  EINVAL: `to` is no word for this kind.  EPERM: not allowed.
/// EBUSY: open for writing, or its changes cannot be pushed.  EHOSTDOWN: the server is needed first
/// and away.
Transition plan_transition(Kind kind, Status from, Status to, const TransitionFacts& facts);

/// What the plan for a folder means for an entry beneath it.
struct Beneath {
  std::optional<Status> to;  // none: it stays as it is
  int error = 0;             // an errno value: the entry forbids the whole
  friend bool operator==(const Beneath&, const Beneath&) = default;
};
Beneath plan_beneath(Plan plan, Kind kind, Status from);
/// Whether the plan reaches what is beneath the folder at all.
bool is_recursive(Plan plan);

}  // namespace ebb::store
