// The table of status transitions, ebb-status(7), as a pure function: what a change of status asks
// for, or why it is refused.  It plans for one entry; what is beneath a folder comes in as facts.
#pragma once

#include "store/status.h"

namespace ebb::store {

/// What the layer above knows of the entry when the change is asked for.
struct TransitionFacts {
  bool is_root = false;
  // Files.
  bool dirty = false;           // changes that the server does not have
  bool open_for_write = false;  // still, at the end of the time that a change waits for it
  bool server_reachable = true;
  // Folders: what is anywhere beneath.
  bool local_beneath = false;   // a local or untracked entry
  bool remote_beneath = false;  // a remote entry
};

enum class Plan {
  refused,           // see Transition::error
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
};

struct Transition {
  Plan plan = Plan::refused;
  int error = 0;  // an errno value with Plan::refused, else 0
  friend bool operator==(const Transition&, const Transition&) = default;
};

/// `from` fits the kind (CHECKed).  EINVAL: `to` is no word for this kind.  EPERM: not allowed.
/// EBUSY: open for writing.  EHOSTDOWN: the server is needed first and away.
Transition plan_transition(Kind kind, Status from, Status to, const TransitionFacts& facts);

}  // namespace ebb::store
