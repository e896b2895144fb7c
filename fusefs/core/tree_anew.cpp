// The server turned out to have another past of the tree: it was replaced by an older copy of itself, say.
#include "fusefs/core/tree_edit.h"

namespace ebb::fusefs {

using store::Node;
using store::Side;
using store::Text;

namespace {

/// All that is here of what was pushed is here alone, for all we know.
void become_ours(Edit& edit, NodeId id) {
  edit.end_step(id);
  if (edit.node(id).entry) forget_entry(edit, id);
  edit.change(id, [](Node& n) {
    ++n.content_local;
    ++n.attributes_local;
    if (n.is_folder()) n.set(store::kListed);
  });
  edit.changed(id);
}

/// A placeholder, or an empty folder that only mirrors the server's: comes again with the server's list.
bool only_mirrors(Edit& edit, NodeId id) {
  const auto node = edit.node(id);
  if (!is_synced(node.status) || node.has(store::kContentDirty)) return false;
  if (node.kind == Kind::file) return !node.has(store::kWhole) && node.size != 0;
  if (!node.is_folder() || node.status != Status::remote) return false;
  const auto names = edit.names_in(id);
  return names.empty();
}

void forget_names(Edit& edit, NodeId folder) {
  for (const auto& name : edit.names_in(folder)) {
    for (const auto id : {name.server, name.local}) {
      if (id && edit.find(id) && edit.node(id).is_folder()) forget_names(edit, id);
    }
    if (name.server) {
      edit.end_step(name.server);
      edit.bind(folder, name.text, Side::server, {});
    }
    const auto cell = edit.name(folder, name.text);
    if (!cell || !cell->local) continue;
    edit.flag(folder, name.text, kGoing, false);
    if (only_mirrors(edit, name.local)) {
      edit.bind(folder, name.text, Side::local, {});
      edit.effects.names_changed.push_back({folder, name.text});
    } else if (is_synced(edit.node(name.local).status)) {
      become_ours(edit, name.local);
    }
  }
}

}  // namespace

void begin_anew(Edit& edit) {
  forget_names(edit, kRootNode);
  for (const auto& limbo : edit.core.limbo) edit.touch(limbo.node);
  edit.core.limbo.clear();
  edit.relist_all(kRootNode);
}

}  // namespace ebb::fusefs
