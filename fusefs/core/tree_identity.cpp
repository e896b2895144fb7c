// Which node is which entry of the server: identities that move when files are saved over one
// another.
#include <algorithm>

#include "base/check.h"
#include "fusefs/core/queue_records.h"
#include "fusefs/core/tree_edit.h"

namespace ebb::fusefs {

using store::Name;
using store::Node;
using store::Side;
using store::Text;

namespace {

std::vector<Name> server_names(Edit& edit, NodeId id) {
  auto names = edit.names(id);
  std::erase_if(names, [&](const Name& name) { return name.server != id; });
  return names;
}

void move_server_names(Edit& edit, NodeId from, NodeId to) {
  for (const auto& name : server_names(edit, from)) {
    edit.bind(name.folder, name.text, Side::server, to);
    edit.flag(name.folder, name.text, kGoing, name.local != to);
  }
}

void forget_versions(Node& n) {
  n.content_base = n.content_server = n.attributes_base = n.attributes_server = {};
  n.set(store::kContentDirty, n.kind == Kind::file);
  n.set(store::kAttributesDirty);
}

void take_versions(Node& to, const Node& from) {
  to.content_base = from.content_base;
  to.content_server = from.content_server;
  to.attributes_base = from.attributes_base;
  to.attributes_server = from.attributes_server;
  // Above both: a receipt for what the other one sent is none for what is here now.
  to.content_local = std::max(to.content_local, from.content_local) + 1;
  to.attributes_local = std::max(to.attributes_local, from.attributes_local) + 1;
  to.flags |= store::kContentDirty | store::kAttributesDirty;
  to.flags |= from.flags & (store::kConflict | store::kError);
}

/// Only what concerns the content can go on for another node.
bool step_can_move(Edit& edit, NodeId id, const Node& node) {
  const auto step = step_under_way(edit.core.store(), id, node);
  return !step || step->kind == StepKind::push || step->kind == StepKind::set_attributes;
}

}  // namespace

bool can_take_identity(Edit& edit, NodeId to, NodeId from, bool from_is_shown) {
  const auto theirs = edit.node(from);
  const auto ours = edit.node(to);
  if (theirs.kind != Kind::file || ours.kind != Kind::file) return false;
  if (!is_synced(theirs.status) || !ours.has(store::kWhole)) return false;
  if (ours.links > 1 || server_names(edit, from).size() != 1) return false;
  // What stays shown needs all its content: the server's copy of it will be history.
  if (theirs.links > 0 && (!from_is_shown || !theirs.has(store::kWhole))) return false;
  if (step_under_way(edit.core.store(), to, ours)) return false;
  const bool known = theirs.entry || step_under_way(edit.core.store(), from, theirs);
  return known && step_can_move(edit, from, theirs);
}

void take_identity(Edit& edit, NodeId to, NodeId from) {
  const auto theirs = edit.node(from);
  leave_tombstone(edit, to);
  if (step_under_way(edit.core.store(), from, theirs)) edit.move_queued(from, to);
  move_server_names(edit, from, to);
  const auto reason = need(edit.core.store().text(from, Text::reason));
  edit.set_entry(from, {});
  edit.change(from, [](Node& n) {
    forget_versions(n);
    n.set(store::kConflict, false);
    n.set(store::kError, false);
  });
  edit.set_text(from, Text::reason, {});
  edit.change(to, [&](Node& n) { take_versions(n, theirs); });
  edit.set_text(to, Text::reason, reason);
  edit.set_entry(to, theirs.entry);
  edit.changed(to);
  edit.changed(from);
}

void leave_tombstone(Edit& edit, NodeId id) {
  const auto node = edit.node(id);
  if (!node.entry) return;
  Node record;
  record.kind = node.kind;
  record.status = node.is_folder() ? Status::syncless : Status::sync;
  record.mode = node.mode;
  record.uid = node.uid;
  record.gid = node.gid;
  record.mtime = node.mtime;
  record.set(store::kWhole);
  record.set(store::kListed);
  record.content_base = node.content_base;
  record.content_server = node.content_server;
  record.attributes_base = node.attributes_base;
  record.attributes_server = node.attributes_server;
  const auto tombstone = edit.create(record);
  edit.set_entry(id, {});
  move_server_names(edit, id, tombstone);
  edit.set_entry(tombstone, node.entry);
  edit.change(id, forget_versions);
  edit.changed(tombstone);
}

void forget_entry(Edit& edit, NodeId id) {
  edit.end_step(id);
  edit.set_entry(id, {});
  const auto node = edit.node(id);
  const bool whole = node.kind != Kind::file || node.has(store::kWhole);
  edit.change(id, [&](Node& n) {
    forget_versions(n);
    n.set(store::kConflict, false);
    n.set(store::kError, false);
    n.set(store::kListed, n.is_folder());
    if (n.status == Status::remote) n.status = n.is_folder() ? Status::syncless : Status::sync;
  });
  edit.set_text(id, Text::reason, {});
  if (!whole) error_at(edit, id, "deleted on the server before all of it was here");
  edit.touch(id);
}

NodeId hand_over(Edit& edit, NodeId id) {
  const auto old = edit.node(id);
  auto fresh = old;
  fresh.flags &= ~(store::kWhole | store::kVolatile | store::kOpenForWrite | store::kQueued |
                   store::kPulling | store::kOrphan | store::kAccessTime | store::kSparse |
                   store::kUnsynced | store::kUnsure | store::kInDoubt | store::kDeepDoubt);
  fresh.entry = {};
  fresh.queue_seq = 0;
  fresh.content = 0;
  fresh.hash_known = false;
  const auto next = edit.create(fresh);
  for (const auto which : {Text::xattrs, Text::reason, Text::target}) {
    edit.set_text(next, which, need(edit.core.store().text(id, which)));
  }
  edit.move_queued(id, next);
  edit.set_entry(id, {});
  edit.set_entry(next, old.entry);
  if (old.has(store::kUnsure)) edit.unsure(next);
  if (old.has(store::kInDoubt)) edit.relist(next);
  for (const auto& name : edit.names(id)) {
    if (name.server == id) edit.bind(name.folder, name.text, Side::server, next);
    if (name.local != id) continue;
    edit.bind(name.folder, name.text, Side::local, next);
    edit.effects.names_changed.push_back({name.folder, name.text});
  }
  return next;
}

NodeId replace_node(Edit& edit, NodeId id) {
  const auto next = hand_over(edit, id);
  edit.effects.replaced.push_back(id);
  return next;
}

NodeId give_up_content(Edit& edit, NodeId id) {
  const auto old = edit.node(id);
  if (old.content != 0 && edit.core.seams.open(id)) id = replace_node(edit, id);
  edit.drop_content(id);
  const bool comparable = old.status == Status::sync && old.has(store::kWhole) && old.content != 0;
  if (comparable) edit.effects.outdated.push_back({id, old.content});
  edit.change(id, [](Node& n) { n.set(store::kConflict, false); });
  if (old.has(store::kConflict)) edit.set_text(id, Text::reason, {});
  if (old.status == Status::sync) edit.want_content(id);
  edit.effects.content_changed.push_back(id);
  edit.touch(id);
  return id;
}

void show_servers(Edit& edit, NodeId id) {
  edit.end_step(id);
  const auto next = replace_node(edit, id);
  for (const auto& name : server_names(edit, next)) {
    edit.flag(name.folder, name.text, kGoing, false);
    if (name.local) continue;
    edit.bind(name.folder, name.text, Side::local, next);
    edit.effects.names_changed.push_back({name.folder, name.text});
  }
  const auto names = server_names(edit, next);
  edit.change(next, [](Node& n) {
    n.status = n.kind == Kind::symlink ? Status::sync : Status::remote;
    n.flags &= ~(store::kContentDirty | store::kAttributesDirty | store::kConflict | store::kError |
                 store::kListed);
    // None is believed to be known: what the server has is taken whole when it is asked, size and
    // all.
    n.content_base = n.attributes_base = {};
  });
  edit.set_text(next, Text::reason, {});
  edit.unsure(next);
  for (const auto& name : names) {
    if (name.local != next) arrived_at(edit, name.folder, name.text);
  }
}

bool is_going(Edit& edit, NodeId id) {
  const auto names = edit.names(id);
  return std::any_of(names.begin(), names.end(),
                     [&](const Name& n) { return n.server == id && (n.flags & kGoing) != 0; });
}

void bring_back(Edit& edit, NodeId id) {
  const auto names = server_names(edit, id);
  show_servers(edit, id);
  for (const auto& name : names) revive_folder(edit, name.folder);
}

}  // namespace ebb::fusefs
