// Parts of changes: what happens to a name that something leaves or comes to, and to the folders
// above it.
#include <cerrno>

#include "fusefs/core/tree_edit.h"

namespace ebb::fusefs {

using store::Name;
using store::Node;
using store::Side;
using store::Text;

void check_name(std::string_view name) {
  if (name.empty()) refuse(ENOENT);
  if (name.size() > store::kNameMax) refuse(ENAMETOOLONG);
  const bool dots = name == "." || name == "..";
  const bool bad = name.find('/') != name.npos || name.find('\0') != name.npos;
  if (dots || bad) refuse(EINVAL, "a name that cannot be");
}

Node folder_for_change(Edit& edit, NodeId folder) {
  const auto record = edit.find(folder);
  if (!record) refuse(ESTALE);
  if (!record->is_folder()) refuse(ENOTDIR);
  if (folder != kRootNode && record->links == 0) refuse(ENOENT, "a folder that was removed");
  return *record;
}

void touch_folder(Edit& edit, NodeId folder) {
  edit.change(folder, [&](Node& n) { n.mtime = n.ctime = edit.wall(); });
}

// ---- names

namespace {

void show_again(Edit& edit, const Name& name) {
  edit.bind(name.folder, name.text, Side::local, name.server);
  edit.effects.names_changed.push_back({name.folder, name.text});
}

}  // namespace

void leave_name(Edit& edit, NodeId folder, const std::string& text) {
  const auto before = edit.name(folder, text);
  const auto left = before->local;
  edit.bind(folder, text, Side::local, {});
  edit.flag(folder, text, kDetached, false);
  const auto cell = edit.name(folder, text);
  if (!cell || (cell->flags & (kGoing | store::kAbsent)) != 0) return;
  if (cell->server == left) {
    edit.flag(folder, text, kGoing, true);
  } else {
    show_again(edit, *cell);
  }
}

void forget_refusals(Edit& edit, NodeId id) {
  const auto node = edit.node(id);
  const bool about_name = node.has(store::kConflict) && !node.entry;
  if (!about_name && !node.has(store::kError)) return;
  edit.change(id, [&](Node& n) {
    n.set(store::kError, false);
    if (about_name) n.set(store::kConflict, false);
  });
  edit.set_text(id, store::Text::reason, {});
}

void arrived_at(Edit& edit, NodeId folder, const std::string& text) {
  edit.flag(folder, text, store::kAbsent, false);
  edit.flag(folder, text, kDetached, false);
  const auto cell = edit.name(folder, text);
  if (!cell || !cell->local) return;
  if (cell->server == cell->local) return edit.flag(folder, text, kGoing, false);
  if (!cell->server || (cell->flags & kGoing) != 0) return;
  meet_at(edit, *cell);
}

// ---- folders above

namespace {

Status nearest_word(Edit& edit, NodeId folder) {
  auto record = edit.node(folder);
  for (int depth = 0; depth < kDepthMax; ++depth) {
    if (record.status == Status::syncless || record.status == Status::syncmore) {
      return record.status;
    }
    folder = counting_folder(folder, record);
    if (!folder) break;
    record = edit.node(folder);
  }
  return edit.node(kRootNode).status;
}

/// The folder and those above it, the root first.
std::vector<NodeId> chain_to(Edit& edit, NodeId folder) {
  std::vector<NodeId> chain;
  while (folder && chain.size() < kDepthMax) {
    chain.insert(chain.begin(), folder);
    folder = counting_folder(folder, edit.node(folder));
  }
  return chain;
}

void make_syncless(Edit& edit, NodeId folder) {
  edit.change(folder, [](Node& n) {
    n.status = Status::syncless;
    n.set(store::kAttributesDirty);
    ++n.attributes_local;
  });
  edit.changed(folder);
  for (const auto& name : edit.names(folder)) {
    if (name.local == folder) arrived_at(edit, name.folder, name.text);
  }
}

}  // namespace

void wake_folder(Edit& edit, NodeId folder) {
  if (edit.node(folder).status != Status::remote) return;
  const auto word = nearest_word(edit, folder);
  while (folder) {
    const auto record = edit.node(folder);
    if (record.status != Status::remote) return;
    edit.change(folder, [&](Node& n) { n.status = word; });
    folder = counting_folder(folder, record);
  }
}

void sync_folders(Edit& edit, NodeId folder) {
  wake_folder(edit, folder);
  for (const auto above : chain_to(edit, folder)) {
    const auto status = edit.node(above).status;
    if (status == Status::remote) wake_folder(edit, above);
    if (!is_synced(status)) make_syncless(edit, above);
  }
}

void drop_subtree(Edit& edit, NodeId folder) {
  for (const auto& name : edit.names_in(folder)) {
    if (name.local) edit.bind(folder, name.text, Side::local, {});
    if (name.server) edit.bind(folder, name.text, Side::server, {});
  }
}

// ---- states

void error_at(Edit& edit, NodeId id, std::string_view reason) {
  edit.change(id, [](Node& n) { n.set(store::kError); });
  edit.set_text(id, Text::reason, as_bytes(reason));
  edit.touch(id);
}

}  // namespace ebb::fusefs
