// Inside the tree: what its parts share, and one change of it as a transaction.
//
// Errors travel as exceptions (Failure) inside the tree and become values at Tree's own functions;
// none leaves.  A change that fails is taken back whole: the store's part by its transaction, the
// part in memory because it is made only after the commit.
#pragma once

#include <deque>
#include <functional>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

#include "fusefs/core/former_names.h"
#include "fusefs/core/planner.h"
#include "fusefs/core/rollup.h"
#include "fusefs/core/tree.h"
#include "store/store.h"

namespace ebb::fusefs {

/// A bit of store::Name::flags beside store::kAbsent: the server's side of this name is to go,
/// because the entry was deleted, moved away or replaced here.  Without it a server's side that is
/// not the local one is hidden, marked absent, or somebody else's.
inline constexpr std::uint16_t kGoing = 1u << 1;
/// Another: the local folder here was the server's that it hides, and what was in it is hidden with
/// that.  Removing the local one leaves a mark of absence.
inline constexpr std::uint16_t kDetached = 1u << 2;

/// Table::unsettled is a table for each of these flags: kVolatile, kOpenForWrite, kUnsure,
/// kInDoubt.
inline constexpr std::uint64_t kUnsettledTable = 0;
inline constexpr std::uint64_t kOpenForWriteTable = 1;
inline constexpr std::uint64_t kUnsureTable = 2;
inline constexpr std::uint64_t kInDoubtTable = 3;

/// Depth at which a chain of folders is taken for a circle on disk.
inline constexpr int kDepthMax = 1 << 16;
/// Nodes the server took away a moment ago, kept in case it has only moved them.
inline constexpr std::size_t kLimboMax = 256;
inline constexpr Duration kLimboLife = std::chrono::seconds(10);
/// A server busy with what we have not listed fills this.
inline constexpr std::size_t kHeardEarlyMax = 4096;
/// Operations of ours whose echo may still come.
inline constexpr std::size_t kDoneOperationsMax = 1024;

struct Failure {
  Error error;
};

template <class T>
T need(Result<T> result) {
  if (!result) throw Failure{std::move(result.error())};
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}
[[noreturn]] inline void refuse(int number, std::string detail = {}) {
  throw Failure{{std::error_code(number, std::generic_category()), std::move(detail)}};
}

inline bool is_synced(Status status) {
  return status != Status::untracked && status != Status::local;
}

/// What lives in memory beside the store.
struct TreeCore {
  TreeCore(TreeSeams tree_seams, TreeOptions tree_options)
      : seams(std::move(tree_seams)), options(tree_options) {}

  store::Store& store() const { return seams.store; }

  TreeSeams seams;
  TreeOptions options;
  TreeEffects effects;
  FormerNames former;
  Activities activity;
  bool activity_moved = false;  // what is beneath folders is counted anew when somebody asks
  std::vector<NodeId> suspects;
  struct Numbers {
    std::uint64_t next = 0;
    std::uint64_t end = 0;
  };
  Numbers content_numbers;  // reserved and not given yet
  std::uint64_t queue_length = 0;

  struct Limbo {
    NodeId node;
    Time since;
  };
  std::deque<Limbo> limbo;                         // oldest first
  std::unordered_map<NodeId, NodeId> moved_steps;  // a step under way now belongs to another node
  std::set<NodeId> contested;  // names told of while a step of theirs was under way
  // Entries told of before they were known.  When one turns out to be ours, it is looked at again.
  std::set<EntryId> heard_early;
  bool heard_early_overflow = false;  // count all as told of
  std::set<NodeId> begun_before;      // steps under way when the store was opened
  std::deque<OpId> done;              // operations of ours that ended well, oldest first

  bool in_limbo(NodeId node) const;
};

// ---- reading; throws Failure

store::Node node_of(const store::Store& store, NodeId id);
std::optional<store::Node> find_node(const store::Store& store, NodeId id);
std::optional<store::Name> find_name(const store::Store& store, NodeId folder,
                                     std::string_view name);
std::vector<store::Name> names_of(const store::Store& store, NodeId id);
std::optional<NodeId> find_entry(const store::Store& store, EntryId entry);
std::optional<Queued> find_queued(const store::Store& store, const store::Node& node);
/// Folder in which the node counts: that of a local name, else of a server's; none for the root and
/// for a node without names.
NodeId counting_folder(NodeId id, const store::Node& node);
/// Folder of the node's name on the server's side, none where it has none.
NodeId server_folder(const store::Store& store, NodeId id);
/// Whether the nearest pin at or above the node that says anything says keep.
bool is_kept(const store::Store& store, NodeId id);
/// Whether the folder is the other one or, by what is shown, inside it.
bool is_inside(const store::Store& store, NodeId folder, NodeId other);
/// The facts for planner.h; those about circles only with `circles`.
PlanFacts facts_of(const store::Store& store, NodeId id, bool circles);
/// Whether the two, of which the second is the server's, can turn out to be the same file.
bool may_be_equal(const store::Store& store, NodeId ours, NodeId theirs);
/// Whether a rename or a further name of the node waits for the server.
bool has_open_names(const store::Store& store, NodeId id);
/// The folders that the step names may have been merged with others since it was planned, or be ours no more: none.
void find_folders(const store::Store& store, Step& step);
/// The step that is under way, if there is one.
std::optional<Step> step_under_way(const store::Store& store, NodeId id, const store::Node& node);

/// One change of the tree.
class Edit {
 public:
  explicit Edit(TreeCore& tree_core) : core(tree_core), txn_(tree_core.store()) {}

  store::Node node(NodeId id) const { return node_of(core.store(), id); }
  std::optional<store::Node> find(NodeId id) const { return find_node(core.store(), id); }
  std::optional<store::Name> name(NodeId folder, std::string_view text) const {
    return find_name(core.store(), folder, text);
  }
  std::vector<store::Name> names(NodeId id) const { return names_of(core.store(), id); }
  std::vector<store::Name> names_in(NodeId folder) const;
  WallNs wall() const { return core.seams.clock.wall(); }
  Time now() const { return core.seams.clock.now(); }

  /// Every change of a record goes through here; keeps the counts above it.
  void save(NodeId id, const store::Node& before, const store::Node& after);
  template <class F>
  void change(NodeId id, F&& apply) {
    const auto before = node(id);
    auto after = before;
    apply(after);
    save(id, before, after);
  }
  NodeId create(const store::Node& fresh);
  /// Every change of a name goes through here; keeps the counts, and looks at both nodes at the
  /// end.
  void bind(NodeId folder, std::string_view name, store::Side side, NodeId id);
  void flag(NodeId folder, std::string_view name, std::uint16_t bit, bool on);
  void set_text(NodeId id, store::Text which, ByteView bytes);
  void put_cell(store::Table table, std::uint64_t argument, std::uint64_t key, NodeId id);
  void put_time(store::Table table, std::uint64_t key, WallNs time);
  void erase_cell(store::Table table, std::uint64_t argument, std::uint64_t key);
  void set_entry(NodeId id, EntryId entry);

  /// The node is looked at when the change is complete: into the queue, out of it, dropped.
  void touch(NodeId id) {
    const bool again = touched_.size() > settled_ && touched_.back() == id;
    if (!again) touched_.push_back(id);
  }
  /// The same, and it was changed here now.
  void changed(NodeId id);
  void put_queued(const Queued& queued);
  /// The place in the queue, with the step under way, goes to another node.
  void move_queued(NodeId from, NodeId to);
  void end_step(NodeId id);
  /// Questions to the server, kept until they are answered: for a fresh word on the entry, for the
  /// folder's names, for those of all known folders beneath as well.
  void unsure(NodeId id);
  void relist(NodeId folder);
  void relist_all(NodeId folder);
  void answered(NodeId id, store::NodeFlag question);
  /// Content here is given up, whole or partial.
  void drop_content(NodeId id);
  void want_content(NodeId id);
  /// is_kept() of a folder, looked up once in a change.
  bool keeps(NodeId folder);
  /// The server took it away, perhaps only for a moment: kept without a name for now.
  void send_to_limbo(NodeId id);
  void drop_expired_limbo();
  std::uint64_t next_sequence() { return txn_.next_sequence(); }

  /// Settles what was touched and commits.
  void finish();

  TreeCore& core;
  TreeEffects effects;
  /// Done after the commit.
  std::vector<std::function<void()>> afterwards;

 private:
  void count(NodeId folder, const Counts& before, const Counts& after);
  void settle(NodeId id);
  void enqueue(NodeId id, const store::Node& node);
  void dequeue(NodeId id);
  void lose(NodeId id, store::Node node);
  void take_effects();

  store::Transaction txn_;
  std::vector<NodeId> touched_;
  std::size_t settled_ = 0;  // of them
  std::set<NodeId> changed_;
  std::set<NodeId> kept_;  // in limbo from now on
  std::unordered_map<NodeId, bool> keeps_;
  bool activity_moved_ = false;
  std::uint64_t enqueued_ = 0;
  std::uint64_t dequeued_ = 0;
};

/// Of a node and all beneath it.  Where something active has begun, ended or moved it is all counted
/// anew; few are active at a time.  What the disk does not tell counts as no folder above.
Activity activity_of(TreeCore& core, NodeId id);

// ---- parts of changes, used by several of them

/// A name went away here: what the server has under it is to go, or is shown again.
void leave_name(Edit& edit, NodeId folder, const std::string& name);
/// What was refused is tried again: the user did something about it.
void forget_refusals(Edit& edit, NodeId id);
/// A node now stands at a name: what does the server's side mean for it?
void arrived_at(Edit& edit, NodeId folder, const std::string& name);
/// A name of the server's that was to go there does not: it is shown again, or meets what took its
/// place here.
void stays(Edit& edit, const store::Name& name, NodeId id);
/// The node becomes the next version of what the other one is on the server.
void take_identity(Edit& edit, NodeId to, NodeId from);
/// Whether that can be done without losing anything.
bool can_take_identity(Edit& edit, NodeId to, NodeId from, bool from_is_shown);
/// What the node is on the server is left to a record of its own, to be removed.
void leave_tombstone(Edit& edit, NodeId id);
/// The server has it no more, or it is not ours any more: it counts as never pushed.
void forget_entry(Edit& edit, NodeId id);
/// A new node for the entry takes all names; the old one keeps its handles and content.
NodeId hand_over(Edit& edit, NodeId id);
/// The same, and what is not here of the old one will never come.
NodeId replace_node(Edit& edit, NodeId id);
/// The content here is no more the newest: it goes, and where the status says so the new one is
/// wanted.  Which node has the name now; an open one keeps what it has.
NodeId give_up_content(Edit& edit, NodeId id);
/// What waits at the node is dropped and the server's version shown, as remote.
void show_servers(Edit& edit, NodeId id);
/// The same for what was deleted here and is newer on the server, with the folders it stands in.
void bring_back(Edit& edit, NodeId id);
/// Whether the server is to be told that a name of it is no more.
bool is_going(Edit& edit, NodeId id);
/// A folder that was deleted here has more in it than was known: it stays.
void revive_folder(Edit& edit, NodeId folder);
void error_at(Edit& edit, NodeId id, std::string_view reason);
/// A remote folder in which something is made takes the word of its nearest syncless or syncmore
/// ancestor.
void wake_folder(Edit& edit, NodeId folder);
/// Before anything in the folder becomes synced: local folders from the root down become syncless.
void sync_folders(Edit& edit, NodeId folder);
/// Two stand at a name, and the server's is not to go: one makes way, or they become one.
void meet_at(Edit& edit, const store::Name& name);
/// The same, where the server has said that they are not equal.
void keep_both(Edit& edit, const store::Name& name);
/// meet_at() for all names of the node, once nothing of it is under way.
void settle_names(Edit& edit, NodeId id);
/// What was changed here goes on under a conflict name, handles and all; the names show what the
/// server has. The node that has the names now.
NodeId set_aside(Edit& edit, NodeId id);
/// The entry's other record (the watch was faster than a receipt, or its content is equal) ends in
/// this node.
void absorb_twin(Edit& edit, NodeId id, EntryId entry);
/// A folder that was moved here is where the server has it again.  False where that cannot be.
bool undo_move(Edit& edit, NodeId id);
/// As undo_move(), for whoever of ours makes `folder` stand inside `id`.
bool undo_moves_between(Edit& edit, NodeId folder, NodeId id);
/// The same for every folder in which the node has a name.
void sync_names(Edit& edit, NodeId id);
/// A file whose content is to be here and to stay here.
void keep_here(Edit& edit, NodeId id);
/// Something in the folder is the server's no more: should the folder become local, too, it hides
/// that.
void note_detached(Edit& edit, NodeId folder);
/// A hidden record of what the server keeps under the names of a node that becomes local.
NodeId hide_servers(Edit& edit, NodeId id, const store::Node& node);
/// The same directory on both sides, made apart: one from now on.
void merge_folder(Edit& edit, NodeId id, NodeId hidden);
void touch_folder(Edit& edit, NodeId folder);
/// The node stands at a name that another had a moment ago: it is its next version, where that has
/// not been pushed away yet.
void take_former_identity(Edit& edit, NodeId folder, const std::string& name, NodeId id,
                          const FormerName& former);
/// Removes the server's names beneath a folder record that is given up.
void drop_subtree(Edit& edit, NodeId folder);
void check_name(std::string_view name);
/// A folder that is shown, for changes in it.
store::Node folder_for_change(Edit& edit, NodeId folder);

// ---- the changes, a source each (tree_*.cpp)

NodeId make(Edit& edit, NodeId folder, const std::string& name, Kind kind, std::uint32_t mode,
            const Maker& maker, std::string_view target);
/// A file that may get a name by link(), and goes when nobody has it any more.
NodeId make_nameless(Edit& edit, NodeId folder, std::uint32_t mode, const Maker& maker);
void link(Edit& edit, NodeId id, NodeId folder, const std::string& name);
void unlink(Edit& edit, NodeId folder, const std::string& name);
void remove_folder(Edit& edit, NodeId folder, const std::string& name);
void rename(Edit& edit, NodeId from, const std::string& name, NodeId to,
            const std::string& new_name, unsigned flags);
void set_attributes(Edit& edit, NodeId id, const AttributeChange& change);
void set_xattr(Edit& edit, NodeId id, const std::string& name, std::string_view value, int flags);
void remove_xattr(Edit& edit, NodeId id, const std::string& name);
void set_status(Edit& edit, NodeId id, Status to);
void set_folder_status(Edit& edit, NodeId id, Status to);
void detach(Edit& edit, NodeId id);
void start(Edit& edit);
TreeCore::Numbers reserve_content_numbers(Edit& edit);

void content_written(Edit& edit, NodeId id, std::uint64_t size, std::optional<WallNs> mtime = {});
void empty_content(Edit& edit, NodeId id);
void set_here(Edit& edit, NodeId id, ByteView extents, bool whole, bool settled);
bool content_lost(Edit& edit, NodeId id);
void set_open_for_write(Edit& edit, NodeId id, bool on);

/// Some of the names that the server has in the folder.  False: it was merged with the folder of
/// its name that is shown, and that one is listed next.
bool names_listed(Edit& edit, NodeId folder, std::span<const proto::NamedEntry> entries);
/// There are no others.
void all_names_listed(Edit& edit, NodeId folder, const std::vector<proto::NamedEntry>& entries,
                      bool settles);
void changed_by_server(Edit& edit, const proto::Change& change);
void entry_from_server(Edit& edit, const proto::Entry& entry);
std::vector<NodeId> listed_folders(const store::Store& store);
proto::FolderSummary folder_summary(const store::Store& store, NodeId folder);
void entry_gone(Edit& edit, EntryId entry);
void begin_anew(Edit& edit);
/// The server's side of the node is gone altogether.
void vanish(Edit& edit, NodeId id);

void step_begins(Edit& edit, const Step& step, OpId operation);
void step_done(Edit& edit, const Step& step, const StepReceipt& receipt);
void step_refused(Edit& edit, const Step& step, bool conflict, std::string_view sentence);
void step_again(Edit& edit, const Step& step);
void step_moot(Edit& edit, const Step& step);

}  // namespace ebb::fusefs
