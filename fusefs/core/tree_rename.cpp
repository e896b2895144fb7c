// rename(2) in all its forms.
#include <cerrno>
#include <cstdio>

#include "fusefs/core/tree_edit.h"

namespace ebb::fusefs {

using store::Name;
using store::Node;
using store::Side;

namespace {

constexpr unsigned kNoReplace = 1;  // RENAME_NOREPLACE
constexpr unsigned kExchange = 2;   // RENAME_EXCHANGE

struct Move {
  NodeId from;
  const std::string& name;
  NodeId to;
  const std::string& new_name;
  NodeId id;
  NodeId over;  // what stands at the new name
};

void refuse_into_local(Edit& edit, NodeId id, NodeId folder) {
  const bool synced = is_synced(edit.node(id).status);
  if (synced && edit.node(folder).status == Status::local) {
    refuse(EXDEV, "into a local folder only what is local");
  }
}

void refuse_into_itself(Edit& edit, NodeId id, NodeId folder) {
  const bool folder_moves = edit.node(id).is_folder();
  if (folder_moves && is_inside(edit.core.store(), folder, id)) refuse(EINVAL, "into itself");
}

void check_over(Edit& edit, const Move& move) {
  const auto node = edit.node(move.id);
  const auto over = edit.node(move.over);
  if (node.is_folder() && !over.is_folder()) refuse(ENOTDIR);
  if (!node.is_folder() && over.is_folder()) refuse(EISDIR);
  if (!over.is_folder()) return;
  if (over.entry && !over.has(store::kListed)) refuse(EHOSTDOWN, "what is in it is not known");
  for (const auto& name : edit.names_in(move.over)) {
    const bool hidden = name.server && (name.flags & kGoing) == 0;
    if (name.local || hidden) refuse(ENOTEMPTY);
  }
}

/// Files and symlinks stand for each other: which of them a name holds is the content's matter.
bool can_share_status(const Node& a, const Node& b) {
  const auto fits = [](Kind kind) { return kind == Kind::file || kind == Kind::symlink; };
  return fits(a.kind) && fits(b.kind);
}

/// What arrives takes the status of the file it replaces; `node` as it was before.
void check_status_over(Edit& edit, const Move& move) {
  const auto node = edit.node(move.id);
  const auto over = edit.node(move.over);
  if (!can_share_status(node, over)) return;
  if (is_synced(node.status) == is_synced(over.status)) return;
  const bool becomes_local = is_synced(node.status);
  if (node.links > 1) refuse(EXDEV, "its other names would have another status");
  if (!becomes_local) return;
  const bool under_way = step_under_way(edit.core.store(), move.id, node).has_value();
  if (!node.has(store::kWhole) || under_way) refuse(EXDEV, "over a local file");
}

void become_local(Edit& edit, NodeId id) {
  leave_tombstone(edit, id);
  edit.change(id, [](Node& n) {
    n.status = Status::local;
    n.flags &= ~(store::kContentDirty | store::kAttributesDirty | store::kConflict | store::kError);
  });
  edit.touch(id);
}

void become_synced(Edit& edit, NodeId id) {
  edit.change(id, [](Node& n) {
    n.status = Status::sync;
    n.set(store::kContentDirty, n.kind == Kind::file);
    n.set(store::kAttributesDirty);
    ++n.content_local;
    ++n.attributes_local;
  });
  edit.changed(id);
}

void take_status(Edit& edit, const Move& move) {
  const auto node = edit.node(move.id);
  const auto over = edit.node(move.over);
  if (!can_share_status(node, over)) return;
  const bool synced = is_synced(over.status);
  if (is_synced(node.status) && !synced) become_local(edit, move.id);
  if (node.status == Status::local && synced) become_synced(edit, move.id);
}

/// The names are as they shall be; now the server's identities follow.
void replace_over(Edit& edit, const Move& move, const Name& before) {
  if (before.server == move.over) edit.flag(move.to, move.new_name, kGoing, true);
  edit.change(move.over, [&](Node& n) { n.ctime = edit.wall(); });
  edit.changed(move.over);
  if (edit.node(move.over).links == 0) forget_refusals(edit, move.over);
  take_status(edit, move);
  if (edit.node(move.id).kind != Kind::file || edit.node(move.over).kind != Kind::file) return;
  const bool gone = edit.node(move.over).links == 0;
  if (!is_synced(edit.node(move.id).status) || !gone) return;
  if (can_take_identity(edit, move.id, move.over, false)) {
    take_identity(edit, move.id, move.over);
  }
}

void stamp(Edit& edit, const Move& move) {
  edit.change(move.id, [&](Node& n) { n.ctime = edit.wall(); });
  touch_folder(edit, move.from);
  if (move.to != move.from) touch_folder(edit, move.to);
  edit.changed(move.id);
}

void remember(Edit& edit, const Move& move, const Node& node) {
  if (node.kind != Kind::file) return;
  edit.afterwards.push_back([&core = edit.core, folder = move.from, name = move.name,
                             former = FormerName{move.id, node.status}] {
    core.former.remember(folder, name, former, core.seams.clock.now());
  });
}

/// The other way in which programs save with a backup: the old file is moved away, and one that was
/// just written is moved to its name.
void take_former_place(Edit& edit, const Move& move, const Node& node) {
  const bool fresh = node.kind == Kind::file && node.links == 1 && !move.over &&
                     edit.core.former.made_lately(move.id, edit.now());
  if (!fresh || !is_synced(edit.node(move.to).status)) return;
  const auto former = edit.core.former.take(move.to, move.new_name, edit.now());
  if (!former || former->node == move.id || former->status == Status::untracked) return;
  const bool synced = is_synced(former->status);
  if (!synced || is_synced(node.status)) return;
  become_synced(edit, move.id);
  take_former_identity(edit, move.to, move.new_name, move.id, *former);
}

void plain(Edit& edit, const Move& move) {
  const auto node = edit.node(move.id);
  if (move.over) {
    check_over(edit, move);
    check_status_over(edit, move);
  }
  const bool takes_local = move.over && can_share_status(node, edit.node(move.over)) &&
                           !is_synced(edit.node(move.over).status);
  if (!takes_local) refuse_into_local(edit, move.id, move.to);
  refuse_into_itself(edit, move.id, move.to);
  if (node.status != Status::remote) wake_folder(edit, move.to);

  forget_refusals(edit, move.id);
  const auto before = edit.name(move.to, move.new_name);
  // In this order: a folder without a local name would count where the server has it, perhaps
  // inside itself.
  edit.bind(move.to, move.new_name, Side::local, move.id);
  leave_name(edit, move.from, move.name);
  if (move.over) replace_over(edit, move, *before);
  take_former_place(edit, move, node);
  arrived_at(edit, move.to, move.new_name);
  stamp(edit, move);
  remember(edit, move, node);
}

// ---- RENAME_EXCHANGE

void check_exchange(Edit& edit, NodeId arriving, NodeId folder, const std::string& name) {
  refuse_into_local(edit, arriving, folder);
  refuse_into_itself(edit, arriving, folder);
  const auto cell = edit.name(folder, name);
  const bool hides = cell->server && cell->server != cell->local && (cell->flags & kGoing) == 0;
  if (hides && is_synced(edit.node(arriving).status)) {
    refuse(EXDEV, "over an entry of the server that is hidden");
  }
}

void settle_exchanged(Edit& edit, NodeId folder, const std::string& name, NodeId left) {
  const auto cell = edit.name(folder, name);
  if (cell->server == left) edit.flag(folder, name, kGoing, true);
  arrived_at(edit, folder, name);
  forget_refusals(edit, cell->local);
  edit.change(cell->local, [&](Node& n) { n.ctime = edit.wall(); });
  edit.changed(cell->local);
}

void exchange(Edit& edit, const Move& move) {
  check_exchange(edit, move.id, move.to, move.new_name);
  check_exchange(edit, move.over, move.from, move.name);
  if (edit.node(move.id).status != Status::remote) wake_folder(edit, move.to);
  if (edit.node(move.over).status != Status::remote) wake_folder(edit, move.from);
  const auto passing = passing_name(move.over);
  edit.bind(move.to, passing, Side::local, move.over);
  edit.bind(move.to, move.new_name, Side::local, move.id);
  edit.bind(move.from, move.name, Side::local, move.over);
  edit.bind(move.to, passing, Side::local, {});
  settle_exchanged(edit, move.from, move.name, move.id);
  settle_exchanged(edit, move.to, move.new_name, move.over);
  touch_folder(edit, move.from);
  if (move.to != move.from) touch_folder(edit, move.to);
}

}  // namespace

void rename(Edit& edit, NodeId from, const std::string& name, NodeId to,
            const std::string& new_name, unsigned flags) {
  check_name(new_name);
  folder_for_change(edit, from);
  folder_for_change(edit, to);
  if (flags > kExchange || flags == (kNoReplace | kExchange)) refuse(EINVAL, "flags");
  const auto source = edit.name(from, name);
  if (!source || !source->local) refuse(ENOENT);
  const auto target = edit.name(to, new_name);
  const auto over = target ? target->local : NodeId{};
  if (over && flags == kNoReplace) refuse(EEXIST);
  if (!over && flags == kExchange) refuse(ENOENT);
  if (over == source->local) return;
  const Move move{from, name, to, new_name, source->local, over};
  flags == kExchange ? exchange(edit, move) : plain(edit, move);
}

}  // namespace ebb::fusefs
