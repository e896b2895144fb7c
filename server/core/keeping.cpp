// The bounds of history: what is too old goes, and what there is no room for; nothing that is
// young.
#include <utility>

#include "base/log.h"
#include "server/core/service_impl.h"

namespace ebb::server {

namespace {

constexpr std::size_t kExpiredAtOnce = 256;
constexpr std::uint64_t kShareOfDisk = 10;  // a tenth of the filesystem, unless told otherwise
constexpr Duration kLookedAtEvery = std::chrono::hours(1);

}  // namespace

Result<> Service::Impl::open_history() {
  auto opened = History::open(*store);
  if (!opened) return pass(opened.error());
  history = std::make_unique<History>(std::move(*opened));
  if (options.history_max == 0) {
    auto space = seams.depot.space();
    if (!space) return pass(space.error());
    options.history_max = space->bytes_total / kShareOfDisk;
  }
  return {};
}

/// What a mutation is refused with when its old content cannot be kept.
std::optional<Error> Service::Impl::history_refusal(const Intent& intent) const {
  const bool keeps = intent.deed == Deed::land_over || intent.deed == Deed::remove;
  if (!keeps || history->bytes() < options.history_max) return std::nullopt;
  auto node = store->node(intent.entry);
  if (node && node->is_folder()) return std::nullopt;
  return Error{proto::Errc::no_space, "the server's history is full of what changed within a day"};
}

void Service::Impl::look_at_history() {
  if (std::exchange(disk_full, false)) expire_history(history->bytes() - history->bytes() / 4);
  if (std::exchange(history_short, false)) expire_history(options.history_max);
  const Time now = seams.clock.now();
  if (now < history_due) return;
  history_due = now + kLookedAtEvery;
  expire_history(options.history_max);
}

/// Takes what may go out of the record, then from the disk.
void Service::Impl::expire_history(std::uint64_t bytes_max) {
  if (expiring || broken) return;
  store::Transaction tx(*store);
  auto any = history->expire(tx, seams.clock.wall(), bytes_max, kExpiredAtOnce);
  auto ok = any ? tx.commit() : Result<>(pass(any.error()));
  if (!ok) return log_warn("history is not made smaller: {}", ok.error().message());
  if (!*any && !history_leftovers) return;
  dirty = true;
  expiring = true;
  history_leftovers = false;
  // Gone from the record for good before the content goes.
  after_sync([this, more = *any, bytes_max](bool synced) {
    if (synced) remove_expired(more, bytes_max);
  });
}

void Service::Impl::remove_expired(bool more, std::uint64_t bytes_max) {
  auto all = history->doomed();
  if (!all) return give_up(all.error());
  auto doomed = std::make_shared<std::vector<History::Doomed>>(std::move(*all));
  auto gone = std::make_shared<std::vector<std::uint64_t>>();
  work(
      [depot = &seams.depot, doomed, gone] {
        for (const auto& one : *doomed) {
          if (one.file.empty() || depot->drop_kept(one.file)) gone->push_back(one.number);
        }
      },
      [this, gone, more, bytes_max] {
        expiring = false;
        store::Transaction tx(*store);
        Result<> ok;
        for (const auto number : *gone) {
          if (ok) ok = history->removed(tx, number);
        }
        if (ok) ok = tx.commit();
        if (!ok) return log_warn("history is not made smaller: {}", ok.error().message());
        dirty = true;
        if (more) expire_history(bytes_max);
      });
}

/// The disk is full: history gives way, but for what is young.
void Service::Impl::make_room() {
  drop_adrift();
  disk_full = true;
}

// ---- what is told of deletions

Result<> Service::Impl::note_deletions(store::Transaction& tx, const Mutation& mutation) {
  const auto& intent = mutation.intent;
  if (intent.deed != Deed::remove || !intent.operation) return {};
  auto count = history->note_deletion(tx, intent.sequence, intent.client, seams.clock.wall());
  if (!count) return pass(count.error());
  if (*count == kMassDeletion) {
    log_warn(
        "client {} has deleted {} entries one after the other; ebbd status says how many, "
        "ebbd undo brings them back",
        receipts->name(intent.client), *count);
  }
  return {};
}

}  // namespace ebb::server
