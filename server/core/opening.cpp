// Opening the database: recovery, a new epoch, a staging folder without leftovers.
#include <fmt/format.h>

#include "base/log.h"
#include "server/core/cells.h"
#include "server/core/service_impl.h"

namespace ebb::server {

using store::Cell;
using store::Table;

namespace {

struct EpochCell {
  Le<std::uint64_t> epoch;  // 0
  Le<std::uint64_t> end;    // 8  the last sequence of it; 0 while it lasts
};

TreeId new_tree_id(Random& random) {
  TreeId id;
  for (std::size_t at = 0; at < id.bytes.size(); at += 8) {
    const std::uint64_t part = random.next();
    std::memcpy(id.bytes.data() + at, &part, sizeof part);
  }
  id.bytes[0] |= 1;  // never none
  return id;
}

}  // namespace

Result<> Service::Impl::open() {
  const std::string folder = options.state_folder + "/data";
  store::StoreOptions how;
  how.purpose = "ebbd serving the tree of " + options.state_folder;
  how.random = &seams.random;
  how.create = false;
  auto opened = store::Store::open(seams.io, folder, how);
  if (!opened && is_errno(opened.error(), ENOENT)) {
    if (auto ok = seams.io.make_folder(folder); !ok) return ok;
    how.create = true;
    how.tree = new_tree_id(seams.random);
    opened = store::Store::open(seams.io, folder, how);
  }
  if (!opened) return pass(opened.error());
  store = std::move(*opened);
  auto opened_log = ChangeLog::open(*store, options.changes_max);
  if (!opened_log) return pass(opened_log.error());
  log = std::make_unique<ChangeLog>(std::move(*opened_log));
  tree = std::make_unique<Tree>(*store, *log);
  receipts = std::make_unique<Receipts>(*store);
  if (auto ok = open_history(); !ok) return ok;
  // The epoch ends where the database was found, before recovery adds to it.
  if (auto ok = begin_epoch(); !ok) return ok;
  if (auto ok = recover_all(); !ok) return ok;
  if (auto ok = look_at_root(); !ok) return ok;
  if (auto ok = store->sync(); !ok) return ok;
  durable = Seq{store->sequence()};
  return {};
}

Result<> Service::Impl::begin_epoch() {
  std::uint64_t last = 0;
  std::optional<EpochCell> former;
  auto ok = store->scan(Table::epochs, 0, 0, [&](std::uint64_t key, const Cell& cell) {
    last = key;
    former = from_cell<EpochCell>(cell);
    return true;
  });
  if (!ok) return ok;
  store::Transaction tx(*store);
  if (former) {
    former->end = store->sequence();
    if (ok = tx.put_cell(Table::epochs, 0, last, to_cell(*former)); !ok) return ok;
  }
  do {
    epoch = Epoch{seams.random.next()};
  } while (!epoch);
  EpochCell cell{};
  cell.epoch = epoch.value;
  if (ok = tx.put_cell(Table::epochs, 0, last + 1, to_cell(cell)); !ok) return ok;
  return tx.commit();
}

bool Service::Impl::in_history(Epoch known, Seq sequence) const {
  if (!known) return false;
  if (known == epoch) return sequence.value <= store->sequence();
  bool found = false;
  auto ok = store->scan(Table::epochs, 0, 0, [&](std::uint64_t, const Cell& raw) {
    const auto cell = from_cell<EpochCell>(raw);
    found = cell.epoch == known.value && sequence.value <= cell.end;
    return !found;
  });
  return ok && found;
}

Result<> Service::Impl::recover_all() {
  auto intents = load_intents(*store);
  if (!intents) return pass(intents.error());
  Depot& depot = seams.depot;
  store::Transaction tx(*store);
  for (const auto& intent : *intents) {
    auto planned = plan(*tree, intent);
    auto done = planned ? recover(depot, intent, *planned)
                        : Result<std::optional<Landed>>(std::optional<Landed>());
    if (!done) return pass(done.error());
    if (*done) {
      auto receipt = account(tx, books(), intent, *planned, **done);
      if (!receipt) return pass(receipt.error());
    } else if (auto ok = erase_intent(tx, *store, intent.sequence); !ok) {
      return ok;
    }
    log_info("operation {} of client {}: {} after a crash", intent.operation.value,
             intent.client.value, *done ? "completed" : "undone");
  }
  // What the disk has now is what the receipts will say.
  if (!intents->empty()) {
    if (auto ok = depot.sync_all(); !ok) return ok;
  }
  if (auto ok = tree->drop_orphans(tx, 0); !ok) return ok;
  if (auto ok = tx.commit(); !ok) return ok;
  // Only now, with no intent left, is everything in staging a leftover.
  auto left = depot.list_staged();
  if (!left) return pass(left.error());
  for (const auto number : *left) {
    if (auto ok = depot.unstage(number); !ok) return ok;
  }
  return {};
}

Result<> Service::Impl::look_at_root() {
  auto facts = seams.depot.stat({{"", ""}, ""});
  if (!facts) return pass(facts.error());
  auto node = store->node(kRootNode);
  if (!node) return pass(node.error());
  store::Transaction tx(*store);
  const Version first{node->attributes_server ? 0 : tx.next_sequence()};
  auto ok = first ? tree->put(tx, kRootNode, *facts, first, first)
                  : tree->observe(tx, kRootNode, *facts, true);
  return ok ? tx.commit() : ok;
}

}  // namespace ebb::server
