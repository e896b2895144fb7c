// One change of the served tree, in four steps: plan (checks against the record), perform (the
// disk; blocks), account (versions, log, receipt), and recover (after a crash: was it done?).
#pragma once

#include <optional>
#include <vector>

#include "server/core/history.h"
#include "server/core/intents.h"
#include "server/core/receipts.h"
#include "server/core/tree.h"

namespace ebb::server {

/// Where the change happens and what must stand there, as the record has it.
struct Plan {
  Spot at;                   // of the entry: where it is, or will be
  Spot to;                   // link, rename: its new place; exchange: the other's
  Facts seen;                // the entry before
  Facts seen_other;          // exchange
  std::vector<Spot> others;  // land_over: further names of the entry
};

/// What the client names as seen; none is not checked.
struct Seen {
  Version content;
  Version attributes;
};

/// Refusals are proto::Errc.  Store's lock.
Result<Plan> plan(const Tree& tree, const Intent& intent);
Result<> check_versions(const Tree& tree, const Intent& intent, const Seen& seen);

/// Blocks.  On an error nothing has changed, and what was staged is gone; but after Errc::lost
/// nobody knows: only recover() at the next start does.
Result<Landed> perform(Depot& depot, const Intent& intent, const Plan& plan);

/// Where a change is written down.
struct Books {
  store::Store& store;
  Tree& tree;
  ChangeLog& log;
  Receipts& receipts;
  History& history;
  WallNs now;
};

/// In one transaction: the record, the log of changes, what is kept, the receipt, and the end of
/// the intent.
Result<Receipt> account(store::Transaction& tx, const Books& books, const Intent& intent,
                        const Plan& plan, const Landed& landed);

/// At the start, before anything else happens: completes what had begun to land; clears what had
/// not (none). Blocks.
Result<std::optional<Landed>> recover(Depot& depot, const Intent& intent, const Plan& plan);

}  // namespace ebb::server
