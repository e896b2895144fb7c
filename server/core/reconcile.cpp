// How Tree follows the disk.
#include <unordered_map>
#include <unordered_set>

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
  return put(tx, id, seen, content ? version : Version{}, attributes ? version : Version{});
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

Result<> Tree::reconcile(store::Transaction& tx, NodeId folder, const FolderRead& read) {
  auto node = store_.node(folder);
  if (!node) return pass(node.error());
  if (auto ok = observe(tx, folder, read.self, false); !ok) return ok;
  std::unordered_map<std::string, NodeId> known;
  auto ok = store_.list(folder, 0, [&](const Name& name) {
    known.emplace(name.text, name.local);
    return true;
  });
  if (!ok) return ok;
  std::unordered_set<Identity> here;
  if (!known.empty()) {
    for (const auto& found : read.entries) here.insert(found.facts.identity);
  }
  // Nobody can have seen a folder that was never listed: what is in it is no change.
  const bool first = !node->has(store::kListed);
  const Version first_version = first ? Version{tx.next_sequence()} : Version{};
  std::vector<NodeId> maybe_nameless;
  for (const auto& found : read.entries) {
    const auto it = known.find(found.name);
    const NodeId present = it == known.end() ? NodeId{} : it->second;
    bool present_is_here = false;
    if (present) {
      auto old = facts(present);
      present_is_here = old && here.count(old->identity) != 0;
      known.erase(it);
      maybe_nameless.push_back(present);
    }
    auto placed = place(tx, folder, found, present, present_is_here, first_version);
    if (!placed) return placed;
  }
  for (const auto& [name, id] : known) {
    auto still = child(folder, name);
    if (!still) return pass(still.error());
    if (!*still) continue;  // moved within this folder, and named so above
    if (auto gone = unbind(tx, folder, name, {}); !gone) return pass(gone.error());
    maybe_nameless.push_back(id);
  }
  for (const auto id : maybe_nameless) {
    if (auto done = settle(tx, id); !done) return done;
  }
  if (!first) return drop_orphans(tx, kOrphansMax);
  auto now = store_.node(folder);
  if (!now) return pass(now.error());
  now->set(store::kListed);
  return tx.put(folder, *now);
}

}  // namespace ebb::server
