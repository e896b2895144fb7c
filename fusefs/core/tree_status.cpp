// The part of status transitions that is a matter of record.
#include <cerrno>

#include "fusefs/core/tree_edit.h"

namespace ebb::fusefs {

using store::Node;
using store::Side;
using store::Table;
using store::Text;

namespace {

constexpr std::uint32_t kDirty = store::kContentDirty | store::kAttributesDirty;

void stop_pulling(Edit& edit, NodeId id) {
  edit.erase_cell(Table::pulls, 0, id.index());
  edit.change(id, [](Node& n) { n.set(store::kPulling, false); });
}

void local_to_sync(Edit& edit, NodeId id) {
  sync_names(edit, id);
  edit.change(id, [](Node& n) {
    n.status = Status::sync;
    n.set(store::kContentDirty, n.kind == Kind::file);
    n.set(store::kAttributesDirty);
    ++n.content_local;
    ++n.attributes_local;
  });
  edit.changed(id);
  for (const auto& name : edit.names(id)) {
    if (name.local == id) arrived_at(edit, name.folder, name.text);
  }
}

void remote_to_sync(Edit& edit, NodeId id, const Node& node) {
  sync_names(edit, id);
  const bool whole = node.has(store::kWhole) || node.size == 0;
  edit.change(id, [&](Node& n) {
    n.status = Status::sync;
    n.set(store::kWhole, whole);
  });
  if (!whole) edit.want_content(id);
}

void to_remote(Edit& edit, NodeId id, const Node& node) {
  const bool waits = node.has(store::kQueued) || (node.flags & kDirty) != 0;
  if (waits || !node.entry) refuse(EBUSY, "changes are not on the server");
  auto target = id;
  if (node.content != 0 && edit.core.seams.open(id)) target = replace_node(edit, id);
  stop_pulling(edit, target);
  edit.drop_content(target);
  edit.change(target, [](Node& n) {
    n.status = Status::remote;
    if (n.pin == Pin::keep) n.pin = Pin::inherit;
  });
  edit.effects.content_changed.push_back(target);
}

void check_leaves_server(Edit& edit, NodeId id, const Node& node) {
  const bool whole = node.has(store::kWhole) || node.size == 0;
  if (!whole) refuse(EBUSY, "not all of it is here");
  if (step_under_way(edit.core.store(), id, node)) refuse(EBUSY, "being pushed");
  if (node.entry && has_open_names(edit.core.store(), id)) {
    refuse(EBUSY, "names are not on the server");
  }
}

void become_local(Edit& edit, NodeId id) {
  edit.change(id, [](Node& n) {
    n.status = Status::local;
    n.flags &= ~(kDirty | store::kConflict | store::kError);
    n.content_base = n.content_server = n.attributes_base = n.attributes_server = {};
  });
  edit.set_text(id, Text::reason, {});
  edit.touch(id);
}

void sync_to_local(Edit& edit, NodeId id, const Node& node) {
  check_leaves_server(edit, id, node);
  if (node.entry) hide_servers(edit, id, node);
  become_local(edit, id);
}

void set_file_status(Edit& edit, NodeId id, const Node& node, Status to) {
  const auto from = node.status;
  if (from == Status::remote && to == Status::remote) return to_remote(edit, id, node);
  if (from == to) return;
  if (!is_synced(from) && to == Status::sync) return local_to_sync(edit, id);
  if (from == Status::remote && to == Status::sync) return remote_to_sync(edit, id, node);
  if (from == Status::sync && to == Status::remote) return to_remote(edit, id, node);
  if (from == Status::sync && to == Status::local) return sync_to_local(edit, id, node);
  refuse(EPERM, "a transition that is not allowed");
}

}  // namespace

void set_status(Edit& edit, NodeId id, Status to) {
  const auto node = edit.node(id);
  if (!store::fits(node.kind, to)) refuse(EINVAL, "not a word of this kind");
  if (node.is_folder()) return set_folder_status(edit, id, to);
  set_file_status(edit, id, node, to);
}

void keep_here(Edit& edit, NodeId id) {
  const auto node = edit.node(id);
  const bool missing = node.kind == Kind::file && node.status == Status::remote;
  if (missing) remote_to_sync(edit, id, node);
  if (node.is_folder() && !node.has(store::kListed)) edit.effects.to_list.push_back(id);
}

void sync_names(Edit& edit, NodeId id) {
  for (const auto& name : edit.names(id)) {
    if (name.local == id) sync_folders(edit, name.folder);
  }
}

bool has_open_names(const store::Store& store, NodeId id) {
  for (const auto& name : names_of(store, id)) {
    const bool differs = name.local != name.server && (name.local == id || name.server == id);
    const bool hidden = name.local == id && name.server && (name.flags & kGoing) == 0;
    if (differs && !hidden) return true;
  }
  return false;
}

NodeId hide_servers(Edit& edit, NodeId id, const Node& node) {
  Node theirs = node;
  theirs.flags = 0;
  theirs.status = node.kind == Kind::symlink ? Status::sync : Status::remote;
  theirs.pin = Pin::inherit;
  theirs.beneath_error = theirs.beneath_conflict = 0;
  theirs.beneath_waiting = theirs.beneath_partial = 0;
  theirs.entry = {};
  theirs.queue_seq = 0;
  theirs.content = 0;
  theirs.hash_known = false;
  // What is ours of it is not believed to be the server's until it tells.
  theirs.content_base = node.has(store::kContentDirty) ? Version{} : node.content_server;
  theirs.attributes_base = node.has(store::kAttributesDirty) ? Version{} : node.attributes_server;
  const auto hidden = edit.create(theirs);
  for (const auto which : {Text::xattrs, Text::target}) {
    edit.set_text(hidden, which, need(edit.core.store().text(id, which)));
  }
  edit.set_entry(id, {});
  edit.set_entry(hidden, node.entry);
  for (const auto& name : edit.names(id)) {
    if (name.server == id) edit.bind(name.folder, name.text, Side::server, hidden);
  }
  if ((node.flags & kDirty) != 0) edit.unsure(hidden);
  return hidden;
}

void note_detached(Edit& edit, NodeId folder) {
  for (const auto& name : edit.names(folder)) {
    if (name.local == folder) edit.flag(name.folder, name.text, kDetached, true);
  }
}

void detach(Edit& edit, NodeId id) {
  const auto node = edit.node(id);
  if (node.is_folder() || node.status != Status::sync) refuse(EPERM, "no synced file");
  check_leaves_server(edit, id, node);
  edit.set_entry(id, {});
  for (const auto& name : edit.names(id)) {
    if (name.server != id) continue;
    edit.bind(name.folder, name.text, Side::server, {});
    note_detached(edit, name.folder);
  }
  become_local(edit, id);
}

}  // namespace ebb::fusefs
