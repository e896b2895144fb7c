// The server's record of the tree: which entry is which, under which names, in which versions.  It
// follows the disk: what other programs did is taken in when a folder or an entry is looked at.
//
// On disk a store::Store: an entry is a node, its EntryId the NodeId; names use Side::local alone;
// content_server and attributes_server are the current versions; content_local is the number of
// names on the disk; ctime, size and mtime are as last seen; Text::extra is the identity.  kListed:
// the folder was listed, so what differs later is a change that somebody may have to be told.
// Table::entries (argument 1) leads from the hash of an identity to its node; argument 2 has, by
// the node's index, the owners that the server may not set on its disk.
#pragma once

#include <optional>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "server/core/change_log.h"
#include "server/core/depot.h"
#include "store/store.h"

namespace ebb::server {

/// Entries without a name that are kept for a while: they may turn up in a folder not looked at
/// yet.
inline constexpr std::size_t kOrphansMax = 1024;

/// Guarded by the owner's lock of the store.  Errors are the store's, and ENOENT for what is no
/// more.
class Tree {
 public:
  Tree(store::Store& store, ChangeLog& log) : store_(store), log_(log) {}

  // ---- reading
  Result<proto::Entry> entry(NodeId id) const;
  /// The entry as the disk had it when it was last looked at.
  Result<Facts> facts(NodeId id) const;
  Result<FolderRef> folder(NodeId id) const;
  Result<Spot> spot(NodeId folder, const std::string& name) const;
  /// All known names.
  Result<std::vector<Spot>> spots(NodeId id) const;
  /// The entry under a name; none when there is none.
  Result<NodeId> child(NodeId folder, const std::string& name) const;
  bool listed(NodeId folder) const;
  /// Whether the entry is there, under a name.
  bool named(NodeId id) const;
  /// Whether one of the entry's names lies beneath the folder, however deep.
  bool within(NodeId folder, NodeId id) const;

  // ---- following the disk.  New versions and changes are made where something differs
  /// `moved`: a rename or link by us explains a new ctime.
  Result<> observe(store::Transaction& tx, NodeId id, const Facts& facts, bool moved);
  /// A name of a folder as the disk has it.  `here`: what was seen at the same time, so that an
  /// entry that only has another name now is not taken for a new content.  `first`: the version of
  /// what is no change to anybody.
  Result<> found(store::Transaction& tx, NodeId folder, const Found& one,
                 const std::unordered_set<Identity>& here, Version first = {});
  /// The disk has nothing under this name.
  Result<> lost(store::Transaction& tx, NodeId folder, const std::string& name);
  /// Entries that nobody found again.
  Result<> drop_orphans(store::Transaction& tx, std::size_t keep);

  // ---- changes of our own
  /// A new entry without a name.
  Result<NodeId> add(store::Transaction& tx, const Facts& facts, Version version);
  /// Takes the facts over as they are; a version that is none stays.
  Result<> put(store::Transaction& tx, NodeId id, const Facts& facts, Version content,
               Version attributes);
  /// The owner that was asked for, where the disk does not have it; the same as the disk's: nothing
  /// is kept.
  Result<> set_owner(store::Transaction& tx, NodeId id, std::uint32_t uid, std::uint32_t gid);
  Result<> set_hash(store::Transaction& tx, NodeId id, std::uint64_t hash);
  Result<Seq> bind(store::Transaction& tx, NodeId folder, const std::string& name, NodeId id,
                   const Origin& origin);
  Result<Seq> unbind(store::Transaction& tx, NodeId folder, const std::string& name,
                     const Origin& origin);
  /// The record goes, with all beneath it; it has no name.
  Result<> drop(store::Transaction& tx, NodeId id);
  /// After names went: an entry that has none left becomes an orphan.
  Result<> settle(store::Transaction& tx, NodeId id);

 private:
  friend class Reconciliation;
  Result<> begin(store::Transaction& tx, NodeId folder, const Facts& self, Version& first);
  Result<bool> lose_others(store::Transaction& tx, NodeId folder,
                           const std::unordered_set<std::string>& read, std::uint64_t& cookie,
                           std::size_t most);
  Result<> set_listed(store::Transaction& tx, NodeId folder);
  std::optional<std::pair<std::uint32_t, std::uint32_t>> owner(NodeId id) const;
  Result<NodeId> by_identity(const Facts& facts) const;
  Result<> index(store::Transaction& tx, NodeId id, const Identity& identity);
  Result<> unindex(store::Transaction& tx, NodeId id);
  Result<> place(store::Transaction& tx, NodeId folder, const Found& found, NodeId present,
                 bool present_is_here, Version first_version);
  Result<> leave_other_names(store::Transaction& tx, NodeId id, NodeId folder,
                             const std::string& name);

  store::Store& store_;
  ChangeLog& log_;
};

/// A folder as it was read, on its way into the record: in slices, so that a large one holds nobody
/// up.  Nothing else may change the record of the folder meanwhile; who did begins anew.
class Reconciliation {
 public:
  Reconciliation(NodeId folder, FolderRead read);
  /// At most so many names; true: all of it is in.
  Result<bool> step(store::Transaction& tx, Tree& tree, std::size_t most);

 private:
  NodeId folder_;
  FolderRead read_;
  std::unordered_set<Identity> identities_;
  std::unordered_set<std::string> names_;
  bool begun_ = false;
  Version first_;
  std::size_t next_ = 0;
  std::uint64_t cookie_ = 0;
};

}  // namespace ebb::server
