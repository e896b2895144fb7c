// The server's side: listings, changes of the watch, fresh words on entries.
#include <algorithm>
#include <cerrno>
#include <unordered_map>

#include "fusefs/core/queue_records.h"
#include "fusefs/core/tree_edit.h"

namespace ebb::fusefs {

using store::Name;
using store::Node;
using store::Side;
using store::Text;

void stays(Edit& edit, const Name& name, NodeId id) {
  edit.flag(name.folder, name.text, kGoing, false);
  if (name.local) return arrived_at(edit, name.folder, name.text);
  edit.bind(name.folder, name.text, Side::local, id);
  edit.effects.names_changed.push_back({name.folder, name.text});
}

void revive_folder(Edit& edit, NodeId folder) {
  for (int depth = 0; folder && depth < kDepthMax; ++depth) {
    if (folder == kRootNode || edit.node(folder).links > 0) return;
    NodeId above;
    for (const auto& name : edit.names(folder)) {
      if (name.server != folder || (name.flags & kGoing) == 0) continue;
      above = name.folder;
      stays(edit, name, folder);
    }
    folder = above;
  }
}

/// The kernel keeps no name of a folder in which it has not looked; but it may keep the number of
/// the folder's links.
void tell_of_new_name(Edit& edit, NodeId folder, const std::string& name) {
  const auto& seen = edit.core.seams.names_seen;
  auto& effects = edit.effects;
  if (!seen || seen(folder)) {
    effects.names_changed.push_back({folder, name});
  } else if (edit.node(folder).has(store::kListed) && edit.core.seams.in_use(folder)) {
    auto& told = effects.attributes_changed;
    if (told.empty() || told.back() != folder) told.push_back(folder);
  }
}

namespace {

Kind kind_of(proto::EntryKind kind) {
  return static_cast<Kind>(kind);
}

bool never_pushed(Edit& edit, NodeId id) {
  return id && !edit.node(id).entry;
}

// ---- one entry

void take_attributes(Edit& edit, NodeId id, Node& n, const proto::Entry& entry) {
  if (entry.attributes_version <= n.attributes_base) return;
  n.attributes_base = entry.attributes_version;
  n.attributes_server = std::max(n.attributes_server, entry.attributes_version);
  // The server's order decides: ours, when it is pushed, comes on top of this.
  if (n.has(store::kAttributesDirty)) return;
  n.mode = entry.attributes.mode & 07777;
  n.uid = entry.attributes.uid;
  n.gid = entry.attributes.gid;
  if (!n.has(store::kContentDirty)) n.mtime = entry.attributes.mtime;
  n.ctime = edit.wall();
  if (unpack_xattrs(entry.attributes.xattrs)) {
    edit.set_text(id, Text::xattrs, entry.attributes.xattrs);
  }
  edit.effects.attributes_changed.push_back(id);
}

/// A newer content of a node without changes of its own.
void take_content(Edit& edit, NodeId id, const proto::Entry& entry) {
  id = give_up_content(edit, id);
  edit.change(id, [&](Node& n) {
    n.content_base = entry.content_version;
    n.content_server = std::max(n.content_server, entry.content_version);
    n.size = entry.size;
    if (!n.has(store::kAttributesDirty)) n.mtime = entry.attributes.mtime;
    n.ctime = edit.wall();
  });
}

/// Changed here and there, or it is our own push whose answer is still to come, or both have the
/// same content: the server decides when it is asked to take ours.
void note_version(Edit& edit, NodeId id, const proto::Entry& entry) {
  edit.change(
      id, [&](Node& n) { n.content_server = std::max(n.content_server, entry.content_version); });
}

/// The edit wins, unless it is our own, of which a step tells that is under way.
void edited_where_deleted(Edit& edit, NodeId id, const proto::Entry& entry) {
  note_version(edit, id, entry);
  if (!step_under_way(edit.core.store(), id, edit.node(id))) bring_back(edit, id);
}

void apply_entry(Edit& edit, NodeId id, const proto::Entry& entry) {
  const auto before = edit.node(id);
  if (kind_of(entry.kind) != before.kind) return;
  auto after = before;
  take_attributes(edit, id, after, entry);
  if (before.kind != Kind::file) {
    after.content_base = after.content_server =
        std::max(after.content_server, entry.content_version);
  }
  edit.save(id, before, after);
  if (before.kind != Kind::file || entry.content_version <= before.content_base) return;
  if (before.has(store::kContentDirty)) return note_version(edit, id, entry);
  if (before.links == 0 && is_going(edit, id)) return edited_where_deleted(edit, id, entry);
  take_content(edit, id, entry);
}

NodeId make_remote(Edit& edit, const proto::Entry& entry) {
  Node n;
  n.kind = kind_of(entry.kind);
  n.status = n.kind == Kind::symlink ? Status::sync : Status::remote;
  n.mode = entry.attributes.mode & 07777;
  n.uid = entry.attributes.uid;
  n.gid = entry.attributes.gid;
  n.mtime = entry.attributes.mtime;
  n.ctime = edit.wall();
  n.size = n.kind == Kind::symlink ? entry.target.size() : entry.size;
  n.content_base = n.content_server = entry.content_version;
  n.attributes_base = n.attributes_server = entry.attributes_version;
  n.set(store::kWhole, n.kind == Kind::symlink);
  const auto id = edit.create(n);
  edit.set_entry(id, entry.id);
  if (unpack_xattrs(entry.attributes.xattrs)) {
    edit.set_text(id, Text::xattrs, entry.attributes.xattrs);
  }
  if (n.kind == Kind::symlink) edit.set_text(id, Text::target, as_bytes(entry.target));
  return id;
}

// ---- a name comes

/// Whoever did this, it may have been before or after what a step of ours is about to be told to
/// have done.
void contest(Edit& edit, NodeId id) {
  const auto node = edit.find(id);
  if (!node || !step_under_way(edit.core.store(), id, *node)) return;
  edit.afterwards.push_back([&core = edit.core, id] { core.contested.insert(id); });
}

void show(Edit& edit, NodeId folder, const std::string& name, NodeId id) {
  const auto node = edit.node(id);
  if (node.status != Status::remote && node.kind != Kind::symlink) wake_folder(edit, folder);
  edit.bind(folder, name, Side::local, id);
  tell_of_new_name(edit, folder, name);
  if (edit.keeps(folder)) keep_here(edit, id);
}

void new_entry(Edit& edit, NodeId folder, const std::string& name, const proto::Entry& entry) {
  const auto id = make_remote(edit, entry);
  edit.bind(folder, name, Side::server, id);
  edit.flag(folder, name, kGoing, false);
  const auto cell = edit.name(folder, name);
  if (!cell->local) {
    show(edit, folder, name, id);
  } else {
    edit.effects.attributes_changed.push_back(cell->local);
    arrived_at(edit, folder, name);
  }
  revive_folder(edit, folder);
}

/// Whether a change of names made here waits, so that the server's is only recorded.
bool names_wait(Edit& edit, NodeId id) {
  for (const auto& name : edit.names(id)) {
    if (name.local == id && name.server != id) return true;
    if (name.server == id && (name.flags & kGoing) != 0) return true;
  }
  return false;
}

void resume(Edit& edit, NodeId id) {
  const auto node = edit.node(id);
  const bool wants = node.kind == Kind::file && node.status == Status::sync &&
                     !node.has(store::kWhole) && !node.has(store::kContentDirty);
  if (node.has(store::kOrphan) && wants) edit.want_content(id);
}

/// A folder has one name: that the former one is gone is told a moment later, and until then nobody
/// may move what stands there.
void leave_former_places(Edit& edit, NodeId id, NodeId folder, const std::string& name) {
  for (const auto& other : edit.names(id)) {
    if (other.folder == folder && other.text == name) continue;
    if (other.server == id) edit.bind(other.folder, other.text, Side::server, {});
    if (other.local != id) continue;
    edit.bind(other.folder, other.text, Side::local, {});
    edit.effects.names_changed.push_back({other.folder, other.text});
  }
}

void known_entry(Edit& edit, NodeId folder, const std::string& name, NodeId id) {
  contest(edit, id);
  // Into a folder that was moved into it here: our move is undone; where it cannot be, it is the
  // server's that is moved back.
  const auto circles = [&] {
    return edit.node(id).is_folder() && is_inside(edit.core.store(), folder, id);
  };
  const bool circle = circles() && !undo_moves_between(edit, folder, id) && circles();
  const bool waits = circle || names_wait(edit, id);
  resume(edit, id);
  edit.bind(folder, name, Side::server, id);
  const auto cell = edit.name(folder, name);
  if (cell->local == id) return edit.flag(folder, name, kGoing, false);
  edit.flag(folder, name, kGoing, waits);
  if (waits) return;
  if (edit.node(id).is_folder()) leave_former_places(edit, id, folder, name);
  cell->local ? arrived_at(edit, folder, name) : show(edit, folder, name, id);
  revive_folder(edit, folder);
}

void name_gone(Edit& edit, NodeId folder, const std::string& text, NodeId id);

void name_set(Edit& edit, NodeId folder, const std::string& text, const proto::Entry& entry) {
  if (entry.kind == proto::EntryKind::none) return;
  const auto known = find_entry(edit.core.store(), entry.id);
  const auto cell = edit.name(folder, text);
  const auto stands = cell ? cell->server : NodeId{};
  // Perhaps it is the one that is being made: the receipt will tell.
  if (!known && stands && never_pushed(edit, stands)) return;
  if (known) apply_entry(edit, *known, entry);
  const auto id = find_entry(edit.core.store(), entry.id);
  if (id && stands == *id) return;
  if (id && edit.name(folder, text) && edit.name(folder, text)->server == *id) return;
  if (stands) name_gone(edit, folder, text, stands);
  if (id) return known_entry(edit, folder, text, *id);
  new_entry(edit, folder, text, entry);
}

// ---- a name goes

bool has_server_name(Edit& edit, NodeId id) {
  const auto names = edit.names(id);
  return std::any_of(names.begin(), names.end(), [&](const Name& n) { return n.server == id; });
}

void name_gone(Edit& edit, NodeId folder, const std::string& text, NodeId id) {
  const auto before = edit.name(folder, text);
  contest(edit, id);
  edit.bind(folder, text, Side::server, {});
  edit.flag(folder, text, kGoing, false);
  if (!has_server_name(edit, id)) return vanish(edit, id);
  if (before->local != id || is_going(edit, id)) return;
  // It is shown nowhere from now on: what was changed in it must not go with the name.
  const auto node = edit.node(id);
  if (node.links == 1 && node.has(store::kContentDirty)) set_aside(edit, id);
  edit.bind(folder, text, Side::local, {});
  edit.effects.names_changed.push_back({folder, text});
}

void hide_names(Edit& edit, NodeId id) {
  for (const auto& name : edit.names(id)) {
    if (name.local != id) continue;
    edit.bind(name.folder, name.text, Side::local, {});
    edit.effects.names_changed.push_back({name.folder, name.text});
    const auto cell = edit.name(name.folder, name.text);
    const bool hidden = cell && cell->server && (cell->flags & (kGoing | store::kAbsent)) == 0;
    if (hidden) edit.bind(name.folder, name.text, Side::local, cell->server);
  }
}

/// Anything in the folder, at any depth, that the server does not have and never had.
bool holds_ours(Edit& edit, NodeId folder) {
  for (const auto& name : edit.names_in(folder)) {
    if (!name.local) continue;
    const auto node = edit.node(name.local);
    if (!is_synced(node.status) || !node.entry || node.has(store::kContentDirty)) return true;
    if (name.server != name.local) return true;
    if (node.is_folder() && holds_ours(edit, name.local)) return true;
  }
  return false;
}

void vanish_inside(Edit& edit, NodeId folder) {
  for (const auto& name : edit.names_in(folder)) {
    const auto cell = edit.name(folder, name.text);
    if (cell && cell->server) name_gone(edit, folder, name.text, cell->server);
  }
}

bool outlives_server(Edit& edit, NodeId id, const Node& node) {
  if (node.links == 0) return false;
  if (node.is_folder()) return holds_ours(edit, id);
  return node.has(store::kContentDirty);
}

}  // namespace

void vanish(Edit& edit, NodeId id) {
  const auto node = edit.node(id);
  if (!node.entry) return edit.touch(id);
  if (outlives_server(edit, id, node)) {
    forget_entry(edit, id);
    if (node.is_folder()) vanish_inside(edit, id);
    return edit.changed(id);
  }
  const bool deleted_here = node.links == 0 && node.has(store::kQueued);
  edit.end_step(id);
  hide_names(edit, id);
  deleted_here ? edit.touch(id) : edit.send_to_limbo(id);
}

namespace {

bool is_echo(Edit& edit, const proto::Change& change) {
  const auto& core = edit.core;
  if (!core.options.client || change.by != core.options.client || !change.operation) return false;
  return std::find(core.done.begin(), core.done.end(), change.operation) != core.done.end();
}

/// What we did and know of already.  News from before it may have come after its receipt, and have
/// been taken for newer.
void compare_echo(Edit& edit, const proto::Change& change) {
  if (change.kind == proto::ChangeKind::entry_changed) return;
  const auto folder = find_entry(edit.core.store(), change.place.folder);
  if (!folder) return;
  const auto cell = edit.name(*folder, change.place.name);
  const auto stands = cell && cell->server ? edit.node(cell->server).entry : EntryId{};
  const bool same = stands == change.entry.id;
  if (same != (change.kind == proto::ChangeKind::name_set)) edit.relist(*folder);
}

void apply_name_change(Edit& edit, const proto::Change& change) {
  const auto folder = find_entry(edit.core.store(), change.place.folder);
  if (!folder || !edit.node(*folder).is_folder()) return;
  const auto& text = change.place.name;
  if (change.kind == proto::ChangeKind::name_set) {
    const bool known = find_entry(edit.core.store(), change.entry.id).has_value();
    if (known || edit.node(*folder).has(store::kListed)) {
      name_set(edit, *folder, text, change.entry);
    }
    return;
  }
  const auto cell = edit.name(*folder, text);
  if (!cell || !cell->server) return;
  const auto node = edit.node(cell->server);
  if (node.entry && node.entry == change.entry.id) {
    return name_gone(edit, *folder, text, cell->server);
  }
  // It named something else last, which we were not told: what was there and is no more cannot be
  // told of.
  if (node.entry) edit.relist(*folder);
}

}  // namespace

namespace {

/// What is unknown may be what we are making: its receipt comes later than this news of it.
void note_unknown(Edit& edit, EntryId entry) {
  if (!entry || find_entry(edit.core.store(), entry)) return;
  edit.afterwards.push_back([&core = edit.core, entry] {
    core.heard_early_overflow |= core.heard_early.size() >= kHeardEarlyMax;
    if (!core.heard_early_overflow) core.heard_early.insert(entry);
  });
}

}  // namespace

void changed_by_server(Edit& edit, const proto::Change& change) {
  edit.drop_expired_limbo();
  if (is_echo(edit, change)) return compare_echo(edit, change);
  const bool others = !edit.core.options.client || change.by != edit.core.options.client;
  if (others) note_unknown(edit, change.entry.id);
  if (others) note_unknown(edit, change.place.folder);
  if (change.kind != proto::ChangeKind::entry_changed) return apply_name_change(edit, change);
  entry_from_server(edit, change.entry);
}

void entry_gone(Edit& edit, EntryId entry) {
  const auto id = find_entry(edit.core.store(), entry);
  if (!id || *id == kRootNode) return;
  for (const auto& name : edit.names(*id)) {
    if (name.server != *id) continue;
    edit.bind(name.folder, name.text, Side::server, {});
    edit.flag(name.folder, name.text, kGoing, false);
  }
  vanish(edit, *id);
}

void entry_from_server(Edit& edit, const proto::Entry& entry) {
  const auto id = find_entry(edit.core.store(), entry.id);
  if (id) apply_entry(edit, *id, entry);
}

namespace {

bool about(const Step& step, NodeId folder, const std::string& text) {
  return (step.from_folder == folder && step.from.name == text) ||
         (step.place_folder == folder && step.place.name == text);
}

/// A list may be older or newer than what the server has done of a step whose answer is still to
/// come: that tells it all, and the folder is listed again.
bool is_unanswered(Edit& edit, NodeId folder, const std::string& text, EntryId entry) {
  const auto cell = edit.name(folder, text);
  const auto known = find_entry(edit.core.store(), entry);
  const auto nodes = {cell ? cell->local : NodeId{}, cell ? cell->server : NodeId{},
                      known.value_or(NodeId{})};
  for (const auto id : nodes) {
    const auto node = id ? edit.find(id) : std::nullopt;
    const auto step = node ? step_under_way(edit.core.store(), id, *node) : std::nullopt;
    if (!step) continue;
    const bool names =
        step->kind != StepKind::set_attributes && (step->kind != StepKind::push || !step->entry);
    const bool same = about(*step, folder, text) || (known == id && names);
    if (!same) continue;
    contest(edit, id);
    return true;
  }
  return false;
}

}  // namespace

namespace {

/// Those in it that were ever looked into: the others are listed when somebody does.
void doubt_folders(Edit& edit, NodeId folder) {
  for (const auto& name : edit.names_in(folder)) {
    for (const auto id : {name.server, name.local}) {
      const auto node = id ? edit.find(id) : std::nullopt;
      if (!node || !node->is_folder() || node->has(store::kInDoubt)) continue;
      if (node->has(store::kListed) || !edit.names_in(id).empty()) edit.relist_all(id);
    }
  }
}

}  // namespace

bool names_listed(Edit& edit, NodeId folder, std::span<const proto::NamedEntry> entries) {
  edit.drop_expired_limbo();
  if (!edit.node(folder).is_folder()) refuse(ENOTDIR);
  for (const auto& [name, entry] : entries) {
    check_name(name);
    if (is_unanswered(edit, folder, name, entry.id)) continue;
    name_set(edit, folder, name, entry);
    const bool shown = folder == kRootNode || edit.node(folder).links != 0;
    if (!shown && edit.names(folder).empty()) return false;
  }
  return true;
}

void all_names_listed(Edit& edit, NodeId folder, const std::vector<proto::NamedEntry>& entries,
                      bool settles) {
  std::unordered_map<std::string_view, EntryId> listed;
  listed.reserve(entries.size());
  for (const auto& [name, entry] : entries) listed.emplace(name, entry.id);
  for (const auto& name : edit.names_in(folder)) {
    if (!name.server || never_pushed(edit, name.server)) continue;
    const auto it = listed.find(name.text);
    const bool there = it != listed.end() && it->second == edit.node(name.server).entry;
    if (!there && is_unanswered(edit, folder, name.text, {})) continue;
    if (!there) name_gone(edit, folder, name.text, name.server);
  }
  const bool news = !edit.node(folder).has(store::kListed) && edit.node(folder).subfolders != 0;
  edit.change(folder, [](Node& n) { n.set(store::kListed); });
  if (settles && edit.node(folder).has(store::kDeepDoubt)) doubt_folders(edit, folder);
  if (settles) edit.answered(folder, store::kInDoubt);
  // The number of its links is known now.
  if (news && edit.core.seams.in_use(folder)) edit.effects.attributes_changed.push_back(folder);
}

}  // namespace ebb::fusefs
