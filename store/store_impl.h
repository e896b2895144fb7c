// The parts of a Store and how they hang together.  Private to store/.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "store/heap.h"
#include "store/journal.h"
#include "store/live.h"
#include "store/names.h"
#include "store/nodes.h"
#include "store/pages.h"
#include "store/store.h"
#include "store/tree.h"

namespace ebb::store {

struct Store::Impl {
  Impl(FileIo& file_io, std::string path, const StoreOptions& opts)
      : io(file_io), folder(std::move(path)), options(opts) {}

  // ---- opening (open.cpp)
  Result<> open();
  Result<> make();
  Result<> read_slot();
  Result<> check_headers();
  Result<> replay();
  Result<> read_live();
  Result<> start_journal(bool clean);
  Result<> make_tree();
  void note_boot(bool made);

  // ---- checkpoint (checkpoint.cpp)
  Result<> begin_checkpoint();
  Result<> run_checkpoint();
  Result<> end_checkpoint();
  Result<> checkpoint();
  Result<> carry_over();
  Result<> write_slot();
  bool over_bound(std::size_t times) const;

  // ---- transactions (transaction.cpp)
  void begin();
  Result<> commit();
  void abort();
  Result<> write_live();
  void settle_boot();
  template <class Change>
  auto change(Change make_change) -> decltype(make_change());

  FileIo& io;
  const std::string folder;
  const StoreOptions options;
  std::shared_ptr<void> lock;
  TreeId tree_id;
  std::uint64_t boot = 0;  // of the present boot
  bool rebooted = false;
  bool boot_unsettled = false;  // live.boot is still the former boot's
  bool replayed = false;

  Live live;
  Pages pages{io, folder};
  Tree tree{pages, live};
  Heap heap{pages, live};
  Nodes nodes{pages, live, heap};
  Names names{pages, live, tree, heap, nodes};
  std::unique_ptr<Journal> journal;

  bool in_transaction = false;
  Live live_before;
  std::optional<Error> broken;  // the open transaction failed half-way

  CheckpointSlot slot{};              // the last one on disk; changed by who runs the checkpoint
  std::uint64_t frozen_journal = 0;   // first journal that the frozen pages do not cover
  std::uint64_t frozen_sequence = 0;  // and its first record

  enum class Phase { none, begun, running, ran, failed };
  std::mutex phase_mutex;  // what follows
  std::condition_variable phase_changed;
  Phase phase = Phase::none;
};

}  // namespace ebb::store
