// The client's tree: what the mount shows, what the server is known to have, and what follows from one being
// unlike the other.  Names, attributes, statuses, the queue, the rollup of states.  Every rule of
// ebb-status(7) about names lives here, and every change is one transaction of the store.
//
// It moves no content and sends nothing: what has to follow outside (a content file to unlink, a kernel cache
// to tell) is collected and taken with take_effects().
//
// Invariants, between calls:
//   - a name is shown if and only if its local side is set
//   - a node with status local or untracked has no entry id; sync nodes may have none yet (never pushed)
//   - local(name) == server(name), or a node of the two is in the queue, or the local one is of local status
//     and hides the server's, or the name is marked absent
//   - entry id -> node (Table::entries) is one to one
//   - a remote folder has only remote entries; a local folder only local ones
//   - beneath_* of a folder count the nodes beneath it (by their first names) by durable state
//
// Threads: under the client's lock, all of it.  Errors: errno values only (generic_category).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/xattrs.h"
#include "fusefs/core/client.h"
#include "fusefs/core/step.h"
#include "proto/messages.h"
#include "store/store.h"

namespace ebb::fusefs {

struct TreeEffects {
  std::vector<std::uint64_t> contents_to_remove;  // numbers of content files nobody refers to any more
  struct Outdated {
    NodeId node;
    std::uint64_t content;
  };
  std::vector<Outdated> outdated;  // the file of this number was all of the node's content until a newer one came
  std::vector<NodeId> attributes_changed;         // for the kernel's caches: only what came from the server
  std::vector<NodeId> content_changed;            //   or changed beside the request (hidden entries shown)
  struct NameChange {
    NodeId folder;
    std::string name;
  };
  std::vector<NameChange> names_changed;
  std::vector<NodeId> wanted;    // nodes whose content is to be pulled (kPulling)
  std::vector<NodeId> replaced;  // open nodes that lost their name to a newer version of the entry: their
                                 //   handles go on with what they have
  std::vector<NodeId> unsure;    // the server has something newer of which only the version is known: a fresh
                                 //   word on it (Stat, then entry_from_server) is wanted
  std::vector<NodeId> unlisted;  // folders whose names are in doubt: to be listed again
  std::vector<NodeId> to_list;   // folders whose names are wanted, because what is in them is to be kept here
  bool queue_changed = false;    // the engine looks again
};

struct TreeSeams {
  store::Store& store;
  Clock& clock;
  /// Whether the kernel or a handle still knows the node (lookup count or open handles > 0).
  std::function<bool(NodeId)> in_use;
  /// Whether a handle is open on it: then its content may not be exchanged beneath it.
  std::function<bool(NodeId)> open;
  /// Whether the kernel may keep that a name of the folder is not there.  None = it may.
  std::function<bool(NodeId)> names_seen = {};
};

/// The part of ClientOptions that matters here.
struct TreeOptions {
  Status root = Status::syncmore;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  bool server_owners = false;
  std::string host;  // in conflict names
  /// Ourselves, to tell the echo of our own steps in the watch from what others did.  While it is none, every
  /// change is taken for somebody else's.
  ClientId client;
};

/// A node in the queue.
struct Queued {
  std::uint64_t sequence = 0;
  NodeId node;
  WallNs first_change = 0;  // since it was last clean
  WallNs last_change = 0;
  OpId operation;           // of the step under way, kept so that a repetition is recognised; none = no step
  std::uint32_t content_local = 0;     // the counters that step carries
  std::uint32_t attributes_local = 0;
};

class Tree {
 public:
  Tree(TreeSeams seams, TreeOptions options);

  /// After the store was opened: gives a new root its status, drops orphans of the last run, takes back what
  /// a power cut made doubtful (kVolatile after a reboot).
  Result<> start();
  TreeEffects take_effects();
  /// Files that a writer had in hand at the crash: counted as changed by start(); the content layer compares
  /// their sizes with their content files.
  std::vector<NodeId> suspects() const;

  // ---- reading
  Result<store::Node> node(NodeId id) const;            // ESTALE
  Result<NodeId> find(NodeId folder, std::string_view name) const;  // shown names only; ENOENT, ENOTDIR
  Attributes attributes(NodeId id, const store::Node& node) const;
  /// Whether all names of the folder are known; if not, the caller lists it from the server first.
  Result<bool> listed(NodeId folder) const;
  Result<> list(NodeId folder, std::uint64_t cookie,
                const std::function<bool(const FolderEntry&)>& visit) const;
  Result<std::string> target(NodeId id) const;
  Result<Xattrs> xattrs(NodeId id) const;
  /// From the root, without leading slash; "" for the root and for a node without a shown name.
  std::string path(NodeId id) const;
  /// Where it is shown (the first of its names); none for what is not.
  struct Place {
    NodeId folder;
    std::uint64_t cookie = 0;
  };
  std::optional<Place> place(NodeId id) const;
  std::optional<NodeId> of_entry(EntryId entry) const;
  State state(NodeId id, const store::Node& node) const;  // O(1), folders too
  /// Its own pin says keep, or the nearest one above that says anything.
  bool kept(NodeId id) const;
  struct Hidden {
    bool hides = false;        // an entry of the server under one of its names is not shown
    std::uint64_t absent = 0;  // of a folder: its names of the server that a mark of absence hides
  };
  Result<Hidden> hidden(NodeId id) const;

  // ---- changes made here
  Result<NodeId> make(NodeId folder, std::string_view name, Kind kind, std::uint32_t mode,
                      const Maker& maker, std::string_view target = {});
  Result<NodeId> make_special(NodeId folder, std::string_view name, Kind kind, std::uint64_t device,
                              std::uint32_t mode, const Maker& maker);
  Result<NodeId> make_nameless(NodeId folder, std::uint32_t mode, const Maker& maker);
  Result<> link(NodeId id, NodeId folder, std::string_view name);
  Result<> unlink(NodeId folder, std::string_view name);
  Result<> remove_folder(NodeId folder, std::string_view name);
  Result<> rename(NodeId from, std::string_view name, NodeId to, std::string_view new_name,
                  unsigned flags);
  /// Everything but the size.
  Result<> set_attributes(NodeId id, const AttributeChange& change);
  Result<> set_xattr(NodeId id, std::string_view name, std::string_view value, int flags);
  Result<> remove_xattr(NodeId id, std::string_view name);
  Result<> set_pin(NodeId id, Pin pin);

  // ---- content, as the content layer reports it
  /// A number for a new content file, never used before.
  std::uint64_t new_content_number();
  /// `open_for_write`: and a writer has it in hand.
  Result<> set_content(NodeId id, std::uint64_t number, bool open_for_write = false);
  /// An application wrote or cut: new size and mtime, dirty, remote becomes sync, into the queue.
  /// `mtime`: of a file that was written without us.
  Result<> content_written(NodeId id, std::uint64_t size, std::optional<WallNs> mtime = {});
  /// The same, and what is here, all of it, is in doubt after a power cut.
  Result<> content_written_whole(NodeId id, std::uint64_t size);
  /// The same where it was cut to nothing and has no file any more.
  Result<> empty_content(NodeId id);
  /// What is here.  `whole` turns remote into sync; `settled`: none of it is doubtful any more.
  Result<> set_here(NodeId id, ByteView extents, bool whole, bool settled);
  /// Its content file is no more.  True: what the server has is pulled anew; false: there is none of it
  /// anywhere, and that is its state.
  Result<bool> content_lost(NodeId id);
  /// Its blocks are counted from now on, not taken from its size.
  Result<> set_sparse(NodeId id);
  /// Whether its content file has to be written again before a sync of it means anything.
  Result<> set_unsynced(NodeId id, bool on);
  Result<> set_hash(NodeId id, std::uint64_t hash);
  /// What is wanted as a whole and not here yet (kPulling); `visit` returns false to stop.
  void pulls(const std::function<bool(NodeId)>& visit) const;
  /// A writer has the content file in hand (durable with the store's next sync), or no more.
  Result<> set_open_for_write(NodeId id, bool on);

  // ---- status
  /// The part of a transition that is a matter of record alone.  sync -> remote: only for a clean node; its
  /// content is given up.  sync -> local: only for a whole one; the server's entry stays, hidden.
  /// local -> sync: version 0, into the queue; ancestors as ebb-status(7) says.  remote -> sync: wanted.
  /// A folder: its own word.  -> remote and -> local only when what is in it allows it: ENOTEMPTY for what
  /// still has to become so, EBUSY for what the server has to be told first.
  Result<> set_status(NodeId id, Status to);
  /// sync -> local beneath a folder that becomes local as a whole: the server's copy is not kept under the
  /// name, but hidden with the folder at the end.  EBUSY as in set_status.
  Result<> detach(NodeId id);
  /// The names that the server has in the folder are asked for again.
  Result<> list_anew(NodeId folder);
  /// Whether a rename or a further name of it waits for the server.
  Result<bool> names_wait(NodeId id) const;

  // ---- the server's side
  /// The names of a folder as the server listed them, all of them.  `sequence`: up to which changes are in.
  /// `settles`: it was asked for after the last doubt about these names came up.
  Result<> listed_by_server(NodeId folder, const std::vector<proto::NamedEntry>& entries,
                            bool settles = true);
  /// A change of the watch.  What is known already is no change.
  Result<> changed_by_server(const proto::Change& change);
  /// The answer to a question for one entry.
  Result<> entry_from_server(const proto::Entry& entry);
  /// Or that there is no such entry any more.
  Result<> entry_gone(EntryId entry);
  /// Folders whose names are known, for a comparison with the server.
  std::vector<NodeId> listed_folders() const;
  /// What is known of the server's names in it, as ebb-protocol(7), "Comparing", has it.
  Result<proto::FolderSummary> folder_summary(NodeId folder) const;
  /// Its names are to be asked for again; of an entry, what it is.  Neither is forgotten before it is answered.
  Result<> doubt(NodeId folder);
  Result<> doubt_entry(NodeId id);
  /// What happened since is told by nobody: every folder that is known is listed again, from the root down.
  Result<> forget_listings();
  /// The questions that were not answered yet: for entries, for the names of folders.
  void unsure(const std::function<bool(NodeId)>& visit) const;
  void in_doubt(const std::function<bool(NodeId)>& visit) const;
  /// The server has another past of this tree than the one we know: nothing that was known of it counts.  What is
  /// here is as if it had been made here; it meets the server's when that is listed.
  Result<> begin_anew();

  // ---- the queue
  /// In order; `visit` returns false to stop.
  void queue(const std::function<bool(const Queued&)>& visit) const;
  std::optional<Queued> queued(NodeId id) const;
  std::uint64_t queue_length() const;
  /// While a step is under way (Queued::operation), that step again, so that a repetition says the same.
  Result<Step> next_step(NodeId id) const;
  /// Records that the step goes out under this operation id; durable with the next sync of the store.
  Result<> step_begins(const Step& step, OpId operation);
  /// The server did it.  The new base; what changed here in the meantime stays dirty.
  Result<> step_done(Step step, const StepReceipt& receipt);
  /// The server refused for good.  `conflict`: it has something else there; both are kept, the local one under
  /// a conflict name.  Else `error` with the sentence.
  Result<> step_refused(Step step, bool conflict, std::string_view sentence);
  /// Whether the place of the step is known to be somebody else's.
  bool place_taken(Step step) const;
  /// Who stands where somebody else stands on the server makes way, or the two become one.
  Result<> settle_names(NodeId id);
  /// The places of the step that is under way and not answered.
  std::optional<Step> unanswered(NodeId id) const;
  /// The server refused it, and did not do it, because it knows more than we: the step is over, and planned anew
  /// from what its changes tell.  (Without this call next_step() repeats the step that is under way.)
  Result<> step_again(Step step);
  /// The server says the entry or name is no more as we thought, and we have nothing to lose by taking its
  /// word (removing what is gone already).
  Result<> step_moot(Step step);

  /// Volatile states, counted up the folders like the durable ones: pulling, pushing, and waiting for what has
  /// no record of its own (a transition under way).  Calls pair.
  void set_active(NodeId id, State active, bool on);

  /// The kernel has forgotten the node and no handle has it: an orphan is dropped.
  Result<> unused(NodeId id);

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace ebb::fusefs
