// Two under one name, or two contents of one entry: who keeps the name, and where the other one
// goes.  Nothing of either side is dropped here.
#include <cerrno>

#include "base/conflict_name.h"
#include "base/log.h"
#include "fusefs/core/queue_records.h"
#include "fusefs/core/tree_edit.h"

namespace ebb::fusefs {

using store::Name;
using store::Node;
using store::Side;
using store::Table;
using store::Text;

namespace {

/// Copies of one file made within one second; more would be no accident.
constexpr int kCopiesMax = 100'000;

std::string free_name(Edit& edit, NodeId folder, const std::string& name) {
  const auto& host = edit.core.options.host;
  // Where the name of a copy is taken, the next one is a copy of the same file.
  const auto origin = conflict_origin(name, host);
  for (int count = 1; count < kCopiesMax; ++count) {
    auto beside = conflict_name(origin.empty() ? name : origin, host, edit.wall(), count);
    if (!edit.name(folder, beside)) return beside;
  }
  refuse(EEXIST, "no name for a conflict copy");
}

void show_at(Edit& edit, NodeId folder, const std::string& name, NodeId id) {
  const auto node = edit.node(id);
  if (node.status != Status::remote && node.kind != Kind::symlink) wake_folder(edit, folder);
  edit.bind(folder, name, Side::local, id);
  edit.effects.names_changed.push_back({folder, name});
}

/// It stands beside the name from now on, and where it stood the server's is shown.
void step_aside(Edit& edit, NodeId id, NodeId folder, const std::string& name) {
  const auto beside = free_name(edit, folder, name);
  show_at(edit, folder, beside, id);
  edit.changed(id);
  log_info("{} was changed here and on the server: kept as {}", name, beside);
}

bool can_be_seen(const Node& node) {
  return node.entry && (node.is_folder() || node.content_base || node.content_server);
}

// ---- folders

/// A name of the one folder becomes one of the other; where that has it too, the two meet.
void move_into(Edit& edit, const Name& name, NodeId id) {
  const auto ours = edit.name(id, name.text);
  const bool taken = ours && ours->local;
  if (name.server) edit.bind(id, name.text, Side::server, name.server);
  if (name.local && !taken) edit.bind(id, name.text, Side::local, name.local);
  edit.flag(id, name.text, name.flags, true);
  if (name.server) edit.bind(name.folder, name.text, Side::server, {});
  if (name.local) edit.bind(name.folder, name.text, Side::local, {});
  if (!taken) return;
  const auto displaced = name.local ? edit.node(name.local) : Node{};
  const bool ours_alone = name.local && displaced.links == 0 && name.local != name.server;
  if (ours_alone) step_aside(edit, name.local, id, name.text);
  arrived_at(edit, id, name.text);
}

}  // namespace

/// The folder made here has not been pushed: it becomes the server's.
void merge_folder(Edit& edit, NodeId id, NodeId hidden) {
  const auto theirs = edit.node(hidden);
  for (const auto& name : edit.names_in(hidden)) move_into(edit, name, id);
  edit.set_entry(hidden, {});
  for (const auto& name : edit.names(hidden)) {
    if (name.local == hidden) edit.bind(name.folder, name.text, Side::local, {});
    // A folder has one name; another one is what it had before the server moved it.
    edit.bind(name.folder, name.text, Side::server, name.local == id ? id : NodeId{});
  }
  edit.set_entry(id, theirs.entry);
  edit.change(id, [&](Node& n) {
    n.content_base = n.content_server = theirs.content_server;
    n.attributes_base = n.attributes_server = theirs.attributes_server;
    n.mode = theirs.mode;
    n.uid = theirs.uid;
    n.gid = theirs.gid;
    n.set(store::kAttributesDirty, false);
    n.set(store::kListed, theirs.has(store::kListed));
  });
  if (theirs.has(store::kInDoubt)) edit.relist_all(id);
  edit.effects.attributes_changed.push_back(id);
}

namespace {

void move_child(Edit& edit, const Name& child, NodeId to) {
  const auto there = edit.name(to, child.text);
  if (there && there->local) {
    step_aside(edit, child.local, to, child.text);
  } else {
    show_at(edit, to, child.text, child.local);
  }
  leave_name(edit, child.folder, child.text);
  edit.changed(child.local);
  if (!there || !there->local) arrived_at(edit, to, child.text);
}

/// Both folders are on the server: what is shown in ours moves into theirs, and ours goes when it
/// is empty.
void pour_into(Edit& edit, const Name& name) {
  const auto ours = name.local;
  const auto theirs = name.server;
  show_at(edit, name.folder, name.text, theirs);
  edit.changed(ours);
  for (const auto& child : edit.names_in(ours)) {
    if (child.local) move_child(edit, child, theirs);
  }
}

/// The file takes the conflict name, whoever made it.
void move_servers_aside(Edit& edit, const Name& name) {
  edit.flag(name.folder, name.text, kGoing, true);
  step_aside(edit, name.server, name.folder, name.text);
}

void give_way(Edit& edit, const Name& name) {
  step_aside(edit, name.local, name.folder, name.text);
  show_at(edit, name.folder, name.text, name.server);
}

bool equal_symlinks(Edit& edit, const Name& name, const Node& ours, const Node& theirs) {
  if (ours.kind != Kind::symlink || theirs.kind != Kind::symlink || ours.entry) return false;
  if (theirs.has(store::kQueued)) return false;
  const auto& store = edit.core.store();
  return need(store.text(name.local, Text::target)) == need(store.text(name.server, Text::target));
}

void adopt_symlink(Edit& edit, const Name& name, const Node& theirs) {
  const auto id = name.local;
  absorb_twin(edit, id, theirs.entry);
  edit.set_entry(id, theirs.entry);
  edit.change(id, [&](Node& n) {
    n.content_base = n.content_server = theirs.content_server;
    n.attributes_base = n.attributes_server = theirs.attributes_server;
    n.set(store::kContentDirty, false);
  });
}

}  // namespace

// ---- a name

void keep_both(Edit& edit, const Name& name) {
  const auto ours = edit.node(name.local);
  const auto theirs = edit.node(name.server);
  if (ours.is_folder() && theirs.is_folder()) {
    return ours.entry ? pour_into(edit, name) : merge_folder(edit, name.local, name.server);
  }
  if (equal_symlinks(edit, name, ours, theirs)) return adopt_symlink(edit, name, theirs);
  ours.is_folder() ? move_servers_aside(edit, name) : give_way(edit, name);
}

void meet_at(Edit& edit, const Name& name) {
  const auto& store = edit.core.store();
  const auto ours = edit.node(name.local);
  // Hidden by what stays on this machine.
  if (!is_synced(ours.status)) return;
  // The answer of what is under way decides.
  if (step_under_way(store, name.local, ours)) return edit.touch(name.local);
  if (!can_be_seen(edit.node(name.server))) return edit.touch(name.local);
  if (may_be_equal(store, name.local, name.server)) return edit.touch(name.local);
  keep_both(edit, name);
}

void settle_names(Edit& edit, NodeId id) {
  if (!edit.find(id)) return;
  for (const auto& name : edit.names(id)) {
    if (name.local != id) continue;
    // An earlier one of them may have changed the others.
    const auto cell = edit.name(name.folder, name.text);
    if (cell && cell->local == id && edit.find(name.folder)) {
      arrived_at(edit, name.folder, name.text);
    }
  }
}

// ---- a content

namespace {

void become_new(Edit& edit, NodeId id) {
  edit.erase_cell(Table::pulls, 0, id.index());
  edit.change(id, [](Node& n) {
    n.status = Status::sync;
    n.content_base = n.content_server = n.attributes_base = n.attributes_server = {};
    n.set(store::kContentDirty, n.kind == Kind::file);
    n.set(store::kAttributesDirty);
    n.flags &= ~(store::kConflict | store::kError | store::kPulling);
    ++n.content_local;
    ++n.attributes_local;
  });
  edit.set_text(id, Text::reason, {});
  const auto node = edit.node(id);
  if (node.kind != Kind::file || node.has(store::kWhole)) return;
  edit.effects.replaced.push_back(id);
  error_at(edit, id, "the server has a newer version, and a part of this one was never here");
}

/// Nothing is believed of what the server has now but that it is newer: it looks like `ours` until
/// its word is here.
void await_servers(Edit& edit, NodeId id, const Node& ours) {
  edit.change(id, [&](Node& n) {
    n.mode = ours.mode;
    n.uid = ours.uid;
    n.gid = ours.gid;
    n.mtime = ours.mtime;
    n.flags &= ~(store::kContentDirty | store::kAttributesDirty | store::kConflict | store::kError);
    n.content_base = {};
    n.attributes_base = {};
  });
  edit.set_text(id, Text::reason, {});
  edit.unsure(id);
}

}  // namespace

NodeId set_aside(Edit& edit, NodeId id) {
  NodeId folder;
  std::string text;
  for (const auto& name : edit.names(id)) {
    if (folder && name.local != id) continue;
    folder = name.folder;
    text = name.text;
    if (name.local == id) break;
  }
  edit.end_step(id);
  const auto next = hand_over(edit, id);
  await_servers(edit, next, edit.node(id));
  become_new(edit, id);
  step_aside(edit, id, folder, text);
  return next;
}

void absorb_twin(Edit& edit, NodeId id, EntryId entry) {
  const auto twin = find_entry(edit.core.store(), entry);
  if (!twin || *twin == id) return;
  const auto theirs = edit.node(*twin);
  const bool changed = theirs.has(store::kContentDirty) && theirs.links > 0;
  const auto names = edit.names(*twin);
  edit.end_step(*twin);
  edit.set_entry(*twin, {});
  for (const auto& name : names) {
    if (name.server == *twin) edit.bind(name.folder, name.text, Side::server, id);
    if (name.local == *twin) show_at(edit, name.folder, name.text, id);
    const auto cell = edit.name(name.folder, name.text);
    if (cell) edit.flag(name.folder, name.text, kGoing, cell->local != id);
  }
  if (edit.node(id).is_folder()) edit.change(id, [](Node& n) { n.set(store::kListed, false); });
  if (!changed) return;
  become_new(edit, *twin);
  step_aside(edit, *twin, names.front().folder, names.front().text);
}

// ---- circles

bool undo_move(Edit& edit, NodeId id) {
  std::optional<Name> shown;
  std::optional<Name> there;
  for (const auto& name : edit.names(id)) {
    if (name.local == id) shown = name;
    if (name.server == id) there = name;
  }
  if (!shown || !there || shown->server == id) return false;
  if (is_inside(edit.core.store(), there->folder, id)) return false;
  if (there->folder != kRootNode && edit.node(there->folder).links == 0) return false;
  const bool taken = there->local && there->local != id;
  const auto back = taken ? free_name(edit, there->folder, there->text) : there->text;
  log_warn("the move of {} to {} would make a circle: undone", there->text, shown->text);
  show_at(edit, there->folder, back, id);
  leave_name(edit, shown->folder, shown->text);
  edit.effects.names_changed.push_back({shown->folder, shown->text});
  if (!taken) edit.flag(there->folder, there->text, kGoing, false);
  edit.changed(id);
  return true;
}

bool undo_moves_between(Edit& edit, NodeId folder, NodeId id) {
  for (int depth = 0; folder && folder != id && depth < kDepthMax; ++depth) {
    const auto above = edit.node(folder).parent;
    if (undo_move(edit, folder) && !is_inside(edit.core.store(), folder, id)) return true;
    folder = above;
  }
  return false;
}

}  // namespace ebb::fusefs
