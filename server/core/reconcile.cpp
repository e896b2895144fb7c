// How Tree follows the disk.
#include "server/core/tree.h"

namespace ebb::server {

using proto::EntryKind;
using store::Name;

namespace {

bool same_attributes(const proto::Attributes& a, const proto::Attributes& b) {
  return a.mode == b.mode && a.uid == b.uid && a.gid == b.gid && a.xattrs == b.xattrs;
}

}  // namespace

Result<> Tree::observe(store::Transaction& tx, NodeId id, const Facts& seen, bool moved) {
  auto old = facts(id);
  if (!old) return pass(old.error());
  const bool attributes_differ = !same_attributes(old->attributes, seen.attributes);
  const bool explained = moved || attributes_differ || old->links != seen.links;
  const bool folder = seen.kind == EntryKind::folder;
  // A ctime that nothing explains is a content written in place with its time set back.
  const bool content =
      !folder && (!same_content(*old, seen) || (old->ctime != seen.ctime && !explained));
  // A folder's time moves with every name in it and is no change of its own.
  const bool attributes =
      attributes_differ || (!folder && old->attributes.mtime != seen.attributes.mtime);
  const bool same = !content && !attributes && old->ctime == seen.ctime &&
                    old->links == seen.links && old->identity == seen.identity &&
                    old->attributes.mtime == seen.attributes.mtime;
  if (same) return {};
  Version version;
  if (content || attributes) {
    auto sequence = log_.append(tx, {{}, proto::ChangeKind::entry_changed, id, {}, "", {}});
    if (!sequence) return pass(sequence.error());
    version = Version{sequence->value};
  }
  // An owner set on the disk is newer than one that was asked for.
  const bool owner =
      old->attributes.uid != seen.attributes.uid || old->attributes.gid != seen.attributes.gid;
  auto done = put(tx, id, seen, content ? version : Version{}, attributes ? version : Version{});
  if (!done || !owner) return done;
  return set_owner(tx, id, seen.attributes.uid, seen.attributes.gid);
}

Result<> Tree::leave_other_names(store::Transaction& tx, NodeId id, NodeId folder,
                                 const std::string& name) {
  auto names = store_.names_of(id);
  if (!names) return pass(names.error());
  for (const auto& other : *names) {
    if (other.folder == folder && other.text == name) continue;
    if (auto gone = unbind(tx, other.folder, other.text, {}); !gone) return pass(gone.error());
  }
  return {};
}

/// One name of a folder.  `present` is what the record has there; `present_is_here` says that its
/// inode was seen in this folder under another name.
Result<> Tree::place(store::Transaction& tx, NodeId folder, const Found& found, NodeId present,
                     bool present_is_here, Version first_version) {
  if (present) {
    auto old = facts(present);
    if (!old) return pass(old.error());
    if (old->kind == found.facts.kind && old->identity == found.facts.identity) {
      return observe(tx, present, found.facts, false);
    }
  }
  auto known = by_identity(found.facts);
  if (!known) return pass(known.error());
  if (*known) {
    if (auto ok = bind(tx, folder, found.name, *known, {}); !ok) return pass(ok.error());
    if (found.facts.links <= 1) {
      if (auto ok = leave_other_names(tx, *known, folder, found.name); !ok) return ok;
    }
    return observe(tx, *known, found.facts, true);
  }
  if (present && !present_is_here && found.facts.kind != EntryKind::folder) {
    auto names = store_.names_of(present);
    auto node = store_.node(present);
    const bool replaced = names && names->size() == 1 && node &&
                          static_cast<EntryKind>(node->kind) == found.facts.kind;
    // A program that saves by renaming a new file over the old one: the entry goes on.
    if (replaced) return observe(tx, present, found.facts, false);
  }
  auto added = add(tx, found.facts, first_version ? first_version : Version{tx.next_sequence()});
  if (!added) return pass(added.error());
  if (first_version) return tx.bind(folder, found.name, store::Side::local, *added);
  auto bound = bind(tx, folder, found.name, *added, {});
  return bound ? Result<>() : pass(bound.error());
}

// ---- a folder as it was read

Reconciliation::Reconciliation(NodeId folder, FolderRead read)
    : folder_(folder), read_(std::move(read)) {
  for (const auto& found : read_.entries) {
    identities_.insert(found.facts.identity);
    names_.insert(found.name);
  }
}

Result<bool> Reconciliation::step(store::Transaction& tx, Tree& tree, std::size_t most) {
  if (!begun_) {
    auto ok = tree.begin(tx, folder_, read_.self, first_);
    if (!ok) return pass(ok.error());
    begun_ = true;
  }
  for (; next_ < read_.entries.size() && most > 0; ++next_, --most) {
    auto ok = tree.found(tx, folder_, read_.entries[next_], identities_, first_);
    if (!ok) return pass(ok.error());
  }
  if (next_ < read_.entries.size()) return false;
  auto more = tree.lose_others(tx, folder_, names_, cookie_, most);
  if (!more) return more;
  if (*more) return false;
  auto ended = first_ ? tree.set_listed(tx, folder_) : tree.drop_orphans(tx, kOrphansMax);
  if (!ended) return pass(ended.error());
  return true;
}

/// Nobody can have seen a folder that was never listed: what is in it is no change.
Result<> Tree::begin(store::Transaction& tx, NodeId folder, const Facts& self, Version& first) {
  auto node = store_.node(folder);
  if (!node) return pass(node.error());
  if (!node->has(store::kListed)) first = Version{tx.next_sequence()};
  return observe(tx, folder, self, false);
}

Result<> Tree::found(store::Transaction& tx, NodeId folder, const Found& one,
                     const std::unordered_set<Identity>& here, Version first) {
  auto present = child(folder, one.name);
  if (!present) return pass(present.error());
  bool present_is_here = false;
  if (*present) {
    auto old = facts(*present);
    present_is_here = old && here.count(old->identity) != 0;
  }
  if (auto ok = place(tx, folder, one, *present, present_is_here, first); !ok) return ok;
  return *present ? settle(tx, *present) : Result<>();
}

Result<> Tree::lost(store::Transaction& tx, NodeId folder, const std::string& name) {
  auto present = child(folder, name);
  if (!present) return pass(present.error());
  if (!*present) return {};
  if (auto gone = unbind(tx, folder, name, {}); !gone) return pass(gone.error());
  return settle(tx, *present);
}

/// The names that were not read, from a cookie on; true: there may be more.
Result<bool> Tree::lose_others(store::Transaction& tx, NodeId folder,
                               const std::unordered_set<std::string>& read, std::uint64_t& cookie,
                               std::size_t most) {
  std::vector<std::string> gone;
  bool more = false;
  auto ok = store_.list(folder, cookie, [&](const Name& name) {
    if (most == 0) {
      more = true;
      return false;
    }
    --most;
    cookie = name.cookie;
    if (name.local && read.count(name.text) == 0) gone.push_back(name.text);
    return true;
  });
  if (!ok) return pass(ok.error());
  for (const auto& name : gone) {
    if (auto done = lost(tx, folder, name); !done) return pass(done.error());
  }
  return more;
}

Result<> Tree::set_listed(store::Transaction& tx, NodeId folder) {
  auto node = store_.node(folder);
  if (!node) return pass(node.error());
  node->set(store::kListed);
  return tx.put(folder, *node);
}

}  // namespace ebb::server
