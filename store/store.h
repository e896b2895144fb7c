// The tracked tree on disk: nodes, names, texts and small ordered tables in four mapped files (super, mdt,
// fname, dirmap) and a journal.  Format: ebb-store(5).  Client and server keep their trees in one each.
//
// The rule (ebb-store(5), "The checkpoint rule"): a transaction changes a bounded overlay in memory and
// appends byte after-images to the journal; the mapped files change only at a checkpoint, after the journal
// that covers it is on disk, and redoing the journal over torn pages gives the same files.
//   after kill -9      every committed transaction is there
//   after a power cut  every transaction committed before the last sync() that returned, and perhaps later
//                      ones, without gaps
//   a transaction is there whole or not at all
//
// Threads: one lock of the owner guards everything except sync() and run_checkpoint(), which any thread may
// call while others go on.  Errors: store::Errc (errors.h) and errno values (ENOSPC, ENOENT, EIO …).
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/file_io.h"
#include "base/ids.h"
#include "base/result.h"
#include "base/seams.h"
#include "store/node.h"

namespace ebb::store {

/// Ordered tables of fixed cells for the layers above, beside the names, in the same tree of keys.
/// A table with an argument is one table for each argument (below 2^48).
enum class Table : std::uint8_t {
  names = 0,      // internal: (folder, cookie) -> name
  links = 1,      // internal: further names of a node
  queue = 2,      // client: sequence -> node to be pushed
  orphans = 3,    // node index -> node without a name
  unsettled = 4,  // node index -> node: argument 0 with kVolatile, 1 with kOpenForWrite, 2 with kUnsure, 3 with
                  // kInDoubt
  pulls = 5,      // node index -> node whose content is wanted
  changes = 6,    // server: sequence -> change
  receipts = 7,   // server: argument client, operation id -> receipt
  intents = 8,    // server: sequence -> intent
  epochs = 9,     // server: number -> epoch and the sequence it ended at
  clients = 10,   // server: client id -> what is known of it
  settings = 11,  // small facts of the layers above, by their own numbers
  entries = 12,   // client: entry id -> node
  history = 13,   // server: node -> kept versions
  access_times = 24,  // client: node index -> access time, of nodes with kAccessTime
};

/// The payload of a cell in a Table; the meaning is the layer's.
using Cell = std::array<std::byte, 48>;

class Store;

/// Changes that take effect together.  One at a time per store; reads of the store made meanwhile see them.
/// Without commit() the destructor takes all of it back.  A call that is refused (ENOENT, EINVAL, Errc::stale …)
/// has changed nothing and the transaction goes on; after one that failed half-way (ENOSPC, EIO), commit()
/// gives that error.
class Transaction {
 public:
  explicit Transaction(Store& store);
  ~Transaction();
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;

  /// A new record, zero but for its kind, with no name yet.
  /// Its generation is the next of its record and at least `generation`, which who rebuilds a store asks for.
  Result<NodeId> make_node(Kind kind, std::uint32_t generation = 0);
  /// Writes the record.  links, parent and parent_cookie are bind()'s and are taken from the store, not from
  /// `node`.
  Result<> put(NodeId id, const Node& node);
  /// Frees the record and its texts.  It must have no name on either side (else Errc::in_use) and, as a
  /// folder, hold none (else ENOTEMPTY).
  Result<> drop_node(NodeId id);

  /// Sets one side of a name, making the name when it is new and removing it when both sides are none.
  /// `node` none unbinds.  Keeps links (local side), parent and the node's list of names.
  /// Name rules are the caller's (bytes other than '/' and NUL, 1 to 255 of them, not "." or ".."): CHECKed.
  /// The first name of a node (Node::parent) is one that it has locally, where there is one.  EMLINK past 65000.
  Result<> bind(NodeId folder, std::string_view name, Side side, NodeId node);
  Result<> set_name_flags(NodeId folder, std::string_view name, std::uint16_t flags);  // ENOENT

  /// Empty bytes remove it.  At most kTextMax bytes, else E2BIG.
  Result<> set_text(NodeId id, Text which, ByteView bytes);

  /// Arguments are below 2^48 and the table is not one of the store's own: CHECKed.
  Result<> put_cell(Table table, std::uint64_t argument, std::uint64_t key, const Cell& cell);
  Result<> erase_cell(Table table, std::uint64_t argument, std::uint64_t key);  // no error when it is not there
  /// Empties a table (one argument of it).
  Result<> erase_cells(Table table, std::uint64_t argument);

  /// A sequence number that no earlier transaction of this store got (kept in super).
  std::uint64_t next_sequence();

  /// Appends to the journal.  On error nothing of the transaction has happened.
  Result<> commit();

 private:
  Store& store_;
  bool open_ = true;
};

inline constexpr std::size_t kTextMax = 128 * 1024;
inline constexpr std::size_t kNameMax = 255;

struct StoreOptions {
  std::string purpose = "ebb";                        // in the lock, for whoever finds it taken
  TreeId tree;                                        // a new store is made for it; an existing one of another tree
                                                      // is Errc::other_tree; none = whatever it is for (a new one:
                                                      // a random tree)
  bool create = true;                                 // else ENOENT where there is none
  Random* random = nullptr;                           // for a new store's secret and tree; none = the system's
  std::size_t overlay_bytes_max = 16u << 20;          // wants_checkpoint() from here on
  std::size_t journal_bytes_max = 64u << 20;          // likewise
};

class Store {
 public:
  /// `folder` is the data folder.  Replays the journal; no scan of the tree.
  static Result<std::unique_ptr<Store>> open(FileIo& io, const std::string& folder,
                                             const StoreOptions& options);
  ~Store();  // keeps what is committed; does not sync

  // ---- reading
  TreeId tree() const;
  /// True when this store was opened after a reboot (or a crash of the machine) since it was last open, and at
  /// every later opening until a transaction has left Table::unsettled empty: a client that dies while it drops
  /// what it does not believe goes on dropping.
  bool rebooted() const;
  std::uint64_t sequence() const;  // the last one given

  Result<Node> node(NodeId id) const;  // Errc::stale for an id that is no more
  Result<Name> name(NodeId folder, std::string_view name) const;  // ENOENT
  Result<Name> name_at(NodeId folder, std::uint64_t cookie) const;  // ENOENT
  /// Visits the names after `cookie` (0 = from the start) in order until `visit` returns false.
  Result<> list(NodeId folder, std::uint64_t after,
                const std::function<bool(const Name&)>& visit) const;
  /// Every name that has the node on either side.
  Result<std::vector<Name>> names_of(NodeId id) const;
  /// Empty where there is none.
  Result<Bytes> text(NodeId id, Text which) const;

  Result<std::optional<Cell>> cell(Table table, std::uint64_t argument, std::uint64_t key) const;
  /// Visits keys >= from in order until `visit` returns false.
  Result<> scan(Table table, std::uint64_t argument, std::uint64_t from,
                const std::function<bool(std::uint64_t key, const Cell&)>& visit) const;

  struct Figures {
    std::uint64_t nodes = 0;
    std::uint64_t names = 0;
    std::uint64_t bytes_on_disk = 0;
    std::uint64_t overlay_bytes = 0;
    std::uint64_t journal_bytes = 0;
  };
  Figures figures() const;

  // ---- durability
  /// Everything committed before the call is on disk when it returns.  Any thread; calls are grouped.
  Result<> sync();

  /// A checkpoint in three steps, so that only the middle one, which is slow, does IO and it runs without the
  /// owner's lock.  begin (lock) -> run (any thread, no lock) -> end (lock).
  bool wants_checkpoint() const;
  /// Without a begin, run and end do nothing; so does a begin while one is on its way.
  Result<> begin_checkpoint();
  Result<> run_checkpoint();
  Result<> end_checkpoint();
  /// All three.
  Result<> checkpoint();

 private:
  friend class Transaction;
  friend class Checker;
  struct Impl;
  explicit Store(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace ebb::store
