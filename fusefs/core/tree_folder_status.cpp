// The word of a folder.  What is in it changes entry by entry before (-> remote, -> local) or after
// (-> syncmore), by whoever walks through it; here is only what its own record needs.
#include <cerrno>

#include "fusefs/core/tree_edit.h"

namespace ebb::fusefs {

using store::Name;
using store::Node;
using store::Side;

namespace {

constexpr std::uint32_t kDirty = store::kContentDirty | store::kAttributesDirty;

void give_word(Edit& edit, NodeId id, Status word) {
  edit.change(id, [&](Node& n) { n.status = word; });
}

/// Visits what is shown in the folder, in no list of its own: a folder may be wide.
template <class Visit>  // void visit(const Node&)
void each_shown(Edit& edit, NodeId folder, Visit visit) {
  const auto& store = edit.core.store();
  need(store.list(folder, 0, [&](const Name& name) {
    if (name.local) visit(node_of(store, name.local));
    return true;
  }));
}

void to_remote(Edit& edit, NodeId id, const Node& node) {
  const bool waits = node.has(store::kQueued) || (node.flags & kDirty) != 0;
  if (waits || !node.entry) refuse(EBUSY, "changes are not on the server");
  each_shown(edit, id, [](const Node& child) {
    if (!is_synced(child.status)) refuse(EPERM, "something local is in it");
    const bool remote = child.status == Status::remote;
    if (!remote && child.kind != Kind::symlink) refuse(ENOTEMPTY, "not all of it is remote");
    if (!child.entry) refuse(EBUSY, "changes are not on the server");
  });
  edit.change(id, [](Node& n) {
    n.status = Status::remote;
    if (n.pin == Pin::keep) n.pin = Pin::inherit;
  });
}

/// What the server still has to be told of: deletions, and whoever moved away.
bool anything_going(Edit& edit, NodeId folder) {
  bool found = false;
  need(edit.core.store().list(folder, 0, [&](const Name& name) {
    found = name.server && (name.flags & kGoing) != 0;
    return !found;
  }));
  return found;
}

/// Nothing of the server is left in a folder of this machine.  An entry that it made meanwhile is
/// where the others are: hidden.
void forget_servers_names(Edit& edit, NodeId folder) {
  for (const auto& name : edit.names_in(folder)) {
    if (!name.server) continue;
    const bool shown = name.local == name.server;
    edit.bind(folder, name.text, Side::server, {});
    if (!shown) continue;
    edit.bind(folder, name.text, Side::local, {});
    edit.effects.names_changed.push_back({folder, name.text});
  }
}

void to_local(Edit& edit, NodeId id, const Node& node) {
  if (step_under_way(edit.core.store(), id, node)) refuse(EBUSY, "being pushed");
  const bool names_wait = node.entry && has_open_names(edit.core.store(), id);
  if (names_wait || anything_going(edit, id)) refuse(EBUSY, "names are not on the server");
  each_shown(edit, id, [](const Node& child) {
    const bool ours = is_synced(child.status) && child.status != Status::remote;
    const bool arrived = child.kind == Kind::symlink && child.entry && !child.has(store::kQueued);
    if (ours && !arrived) refuse(ENOTEMPTY, "not all of it is local");
  });
  forget_servers_names(edit, id);
  if (node.entry) {
    const auto hidden = hide_servers(edit, id, node);
    edit.change(hidden, [](Node& n) { n.set(store::kListed, false); });
    note_detached(edit, counting_folder(id, node));
  }
  edit.change(id, [](Node& n) {
    n.status = Status::local;
    n.flags &= ~(kDirty | store::kConflict | store::kError);
    n.set(store::kListed);
    n.content_base = n.content_server = n.attributes_base = n.attributes_server = {};
  });
  edit.set_text(id, store::Text::reason, {});
  edit.touch(id);
}

void to_mixed(Edit& edit, NodeId id, const Node& node, Status to) {
  if (!is_synced(node.status)) {
    sync_folders(edit, id);
  } else {
    sync_names(edit, id);
  }
  give_word(edit, id, to);
}

}  // namespace

void set_folder_status(Edit& edit, NodeId id, Status to) {
  const auto node = edit.node(id);
  if (node.status == to) return;
  const bool mixed = to == Status::syncless || to == Status::syncmore;
  if (mixed) return to_mixed(edit, id, node, to);
  if (id == kRootNode) refuse(EPERM, "the root is syncless or syncmore");
  if (!is_synced(node.status)) refuse(EPERM, "never pushed");
  if (to == Status::remote) return to_remote(edit, id, node);
  if (node.status == Status::remote) refuse(EPERM, "not here");
  to_local(edit, id, node);
}

}  // namespace ebb::fusefs
