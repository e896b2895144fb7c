// make, link, unlink, rmdir.
#include <cerrno>

#include <sys/stat.h>

#include "fusefs/core/tree_edit.h"

namespace ebb::fusefs {

using store::Name;
using store::Node;
using store::Side;
using store::Text;

namespace {

Status status_in(Status folder, Kind kind) {
  if (store::is_special(kind)) return Status::untracked;
  if (folder != Status::syncmore) return Status::local;
  return kind == Kind::folder ? Status::syncmore : Status::sync;
}

/// In a folder with the set-group-id bit everything gets its group, and folders the bit, too.
void inherit_group(const Node& folder, Node& n) {
  if ((folder.mode & S_ISGID) == 0) return;
  n.gid = folder.gid;
  if (n.is_folder()) n.mode |= S_ISGID;
}

Node fresh_node(Edit& edit, Kind kind, std::uint32_t mode, const Maker& maker, Status status) {
  Node n;
  n.kind = kind;
  n.status = status;
  n.mode = kind == Kind::symlink ? 0777 : mode & ~maker.umask & 07777;
  n.uid = maker.uid;
  n.gid = maker.gid;
  n.mtime = n.ctime = edit.wall();
  n.set(store::kWhole);
  n.set(store::kListed, kind == Kind::folder);
  if (!is_synced(status)) return n;
  n.set(store::kContentDirty, kind == Kind::file);
  n.set(store::kAttributesDirty);
  n.content_local = n.attributes_local = 1;
  return n;
}

/// A file that the name had a moment ago decides the status of one made anew.
Status status_after(const FormerName& former, Status by_folder) {
  if (former.status == Status::untracked) return by_folder;
  return former.status == Status::local ? Status::local : Status::sync;
}

}  // namespace

void take_former_identity(Edit& edit, NodeId folder, const std::string& name, NodeId id,
                          const FormerName& former) {
  const auto cell = edit.name(folder, name);
  const bool still_there = cell->server == former.node && (cell->flags & kGoing) != 0;
  if (!still_there || !is_synced(edit.node(id).status)) return;
  if (edit.node(former.node).flags & store::kError) return;
  if (can_take_identity(edit, id, former.node, true)) take_identity(edit, id, former.node);
}

NodeId make(Edit& edit, NodeId folder, const std::string& name, Kind kind, std::uint32_t mode,
            const Maker& maker, std::string_view target) {
  check_name(name);
  folder_for_change(edit, folder);
  const auto cell = edit.name(folder, name);
  if (cell && cell->local) refuse(EEXIST);
  wake_folder(edit, folder);
  const auto parent = edit.node(folder);
  const auto above = parent.status;
  auto status = status_in(above, kind);
  std::optional<FormerName> former;
  if (kind == Kind::file) former = edit.core.former.take(folder, name, edit.now());
  if (former && is_synced(above)) status = status_after(*former, status);

  auto fresh = fresh_node(edit, kind, mode, maker, status);
  fresh.size = target.size();
  inherit_group(parent, fresh);
  const auto id = edit.create(fresh);
  if (!target.empty()) edit.set_text(id, Text::target, as_bytes(target));
  edit.bind(folder, name, Side::local, id);
  edit.changed(id);
  if (kind == Kind::file) {
    edit.afterwards.push_back(
        [&core = edit.core, id] { core.former.made(id, core.seams.clock.now()); });
  }
  if (former) take_former_identity(edit, folder, name, id, *former);
  arrived_at(edit, folder, name);
  touch_folder(edit, folder);
  return id;
}

NodeId make_nameless(Edit& edit, NodeId folder, std::uint32_t mode, const Maker& maker) {
  const auto parent = folder_for_change(edit, folder);
  auto fresh = fresh_node(edit, Kind::file, mode, maker, Status::untracked);
  inherit_group(parent, fresh);
  const auto id = edit.create(fresh);
  // Until whoever asked for it has it.
  edit.send_to_limbo(id);
  return id;
}

namespace {

/// From here on it is as if it were made at this name.
void give_status(Edit& edit, NodeId id, Status above) {
  edit.change(id, [&](Node& n) {
    n.status = status_in(above, n.kind);
    if (!is_synced(n.status)) return;
    n.set(store::kContentDirty);
    n.set(store::kAttributesDirty);
    ++n.content_local;
    ++n.attributes_local;
  });
}

}  // namespace

void link(Edit& edit, NodeId id, NodeId folder, const std::string& name) {
  check_name(name);
  const auto above = folder_for_change(edit, folder);
  const auto node = edit.node(id);
  if (node.is_folder()) refuse(EPERM, "a further name for a folder");
  const bool nameless = node.kind == Kind::file && node.status == Status::untracked;
  if (node.links == 0 && !nameless) refuse(ENOENT);
  const auto cell = edit.name(folder, name);
  if (cell && cell->local) refuse(EEXIST);
  if (is_synced(node.status) && above.status == Status::local) {
    refuse(EXDEV, "a name in a local folder for what is not local");
  }
  wake_folder(edit, folder);
  if (nameless) give_status(edit, id, edit.node(folder).status);
  edit.bind(folder, name, Side::local, id);
  edit.change(id, [&](Node& n) { n.ctime = edit.wall(); });
  edit.changed(id);
  arrived_at(edit, folder, name);
  touch_folder(edit, folder);
}

namespace {

NodeId shown_at(Edit& edit, NodeId folder, const std::string& name) {
  folder_for_change(edit, folder);
  const auto cell = edit.name(folder, name);
  if (!cell || !cell->local) refuse(ENOENT);
  return cell->local;
}

}  // namespace

void unlink(Edit& edit, NodeId folder, const std::string& name) {
  const auto id = shown_at(edit, folder, name);
  const auto node = edit.node(id);
  if (node.is_folder()) refuse(EISDIR);
  edit.change(id, [&](Node& n) { n.ctime = edit.wall(); });
  touch_folder(edit, folder);
  leave_name(edit, folder, name);
  // What hinders its content does not hinder its removal.
  if (edit.node(id).links == 0) forget_refusals(edit, id);
  edit.changed(id);
  if (node.kind != Kind::file) return;
  edit.afterwards.push_back([&core = edit.core, folder, name, id, status = node.status] {
    core.former.remember(folder, name, {id, status}, core.seams.clock.now());
  });
}

namespace {

bool has_shown(const std::vector<Name>& names) {
  for (const auto& name : names) {
    if (name.local) return true;
  }
  return false;
}

bool has_hidden(const std::vector<Name>& names) {
  for (const auto& name : names) {
    if (name.server && (name.flags & kGoing) == 0) return true;
  }
  return false;
}

/// It stood for the server's folder, and what that holds is hidden with it.
bool hides_contents(Edit& edit, NodeId folder, const std::string& name) {
  const auto cell = edit.name(folder, name);
  return cell->server && cell->server != cell->local && (cell->flags & kDetached) != 0;
}

void leave_absent(Edit& edit, NodeId folder, const std::string& name) {
  edit.flag(folder, name, kDetached, false);
  edit.flag(folder, name, store::kAbsent, true);
  edit.bind(folder, name, Side::local, {});
}

/// Nothing is deleted on the server: the folder is only not shown here.
void mark_absent(Edit& edit, NodeId id) {
  for (const auto& name : edit.names(id)) {
    if (name.server == id) {
      edit.flag(name.folder, name.text, kGoing, false);
      edit.flag(name.folder, name.text, store::kAbsent, true);
    }
    if (name.local == id) edit.bind(name.folder, name.text, Side::local, {});
  }
}

}  // namespace

void remove_folder(Edit& edit, NodeId folder, const std::string& name) {
  const auto id = shown_at(edit, folder, name);
  const auto node = edit.node(id);
  if (!node.is_folder()) refuse(ENOTDIR);
  if (node.entry && !node.has(store::kListed)) refuse(EHOSTDOWN, "what is in it is not known");
  const auto names = edit.names_in(id);
  if (has_shown(names)) refuse(ENOTEMPTY);
  touch_folder(edit, folder);
  if (has_hidden(names)) return mark_absent(edit, id);
  if (hides_contents(edit, folder, name)) return leave_absent(edit, folder, name);
  leave_name(edit, folder, name);
  forget_refusals(edit, id);
  edit.changed(id);
}

}  // namespace ebb::fusefs
