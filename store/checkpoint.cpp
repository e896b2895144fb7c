// The checkpoint: the overlay goes to the mapped files, and the journal before it becomes
// superfluous.
//
// In the order of the steps, what a crash after each leaves:
//   begin: a new, empty journal            both journals are redone, in order
//   sync of the old journal                the same
//   pages copied, in part or torn          the same: every byte that differs is in the old journal
//   mapped files synced                    the same, over pages that have it already
//   slot written                           torn: the other slot counts, as before; whole: the new
//   journal alone old journal removed                    the new journal alone
#include <cerrno>
#include <cstring>

#include "base/check.h"
#include "base/hash.h"
#include "store/store_impl.h"

namespace ebb::store {

bool Store::Impl::over_bound(std::size_t times) const {
  return pages.overlay_bytes() >= times * options.overlay_bytes_max ||
         journal->bytes() >= times * options.journal_bytes_max;
}

Result<> Store::Impl::begin_checkpoint() {
  CHECK(!in_transaction);
  if (auto r = journal->usable(); !r) return r;
  {
    const std::lock_guard guard(phase_mutex);
    if (phase != Phase::none) return {};
  }
  if (auto r = pages.freeze(); !r) return r;
  const auto number = journal->number() + 1;
  const auto first = journal->last_sequence() + 1;
  if (auto r = journal->start(number, first); !r) {
    pages.thaw();
    return r;
  }
  const std::lock_guard guard(phase_mutex);
  frozen_journal = number;
  frozen_sequence = first;
  phase = Phase::begun;
  return {};
}

Result<> Store::Impl::run_checkpoint() {
  {
    std::unique_lock guard(phase_mutex);
    while (phase == Phase::running) phase_changed.wait(guard);
    if (phase == Phase::failed) return journal->usable();
    if (phase != Phase::begun) return {};
    phase = Phase::running;
  }
  auto result = carry_over();
  // Which pages reached the disk is unknown now.  The journals have it all; the next opening redoes
  // them.
  if (!result) journal->poison(result.error());
  const std::lock_guard guard(phase_mutex);
  phase = result ? Phase::ran : Phase::failed;
  phase_changed.notify_all();
  return result;
}

Result<> Store::Impl::end_checkpoint() {
  const std::lock_guard guard(phase_mutex);
  if (phase == Phase::failed)
    return journal->usable();  // the frozen pages are still needed for reading
  if (phase != Phase::ran) return {};
  pages.drop_frozen();
  phase = Phase::none;
  return {};
}

Result<> Store::Impl::checkpoint() {
  // One that was begun by somebody else is finished first.
  for (int i = 0; i < 2; ++i) {
    if (i == 1) {
      if (auto r = begin_checkpoint(); !r) return r;
    }
    if (auto r = run_checkpoint(); !r) return r;
    if (auto r = end_checkpoint(); !r) return r;
  }
  return {};
}

Result<> Store::Impl::carry_over() {
  if (auto r = journal->sync(); !r) return r;
  if (auto r = pages.copy_frozen(); !r) return r;
  if (auto r = pages.sync_files(); !r) return r;
  if (auto r = write_slot(); !r) return r;
  journal->retire(frozen_journal);
  return {};
}

Result<> Store::Impl::write_slot() {
  CheckpointSlot next = slot;
  next.number = slot.number + 1;
  next.first_journal = frozen_journal;
  next.first_sequence = frozen_sequence;
  next.xxh3 = xxh3(bytes_of(next).first(offsetof(CheckpointSlot, xxh3)));
  const auto page = next.number % 2 == 1 ? 0 : 1;
  if (auto r = pages.write_through(FileNo::super, page * kPageSize, bytes_of(next)); !r) return r;
  if (auto r = pages.sync_file(FileNo::super); !r) return r;
  slot = next;
  return {};
}

bool Store::wants_checkpoint() const {
  return impl_->over_bound(1) && impl_->journal->usable();
}
Result<> Store::begin_checkpoint() {
  return impl_->begin_checkpoint();
}
Result<> Store::run_checkpoint() {
  return impl_->run_checkpoint();
}
Result<> Store::end_checkpoint() {
  return impl_->end_checkpoint();
}
Result<> Store::checkpoint() {
  return impl_->checkpoint();
}
Result<> Store::sync() {
  return impl_->journal->sync();
}

}  // namespace ebb::store
