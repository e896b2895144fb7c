// What is known of the server's names, for a comparison with the server.
#include <algorithm>

#include "fusefs/core/tree_edit.h"
#include "store/names_summary.h"

namespace ebb::fusefs {

using store::Name;
using store::Node;

std::vector<NodeId> listed_folders(const store::Store& store) {
  std::vector<NodeId> found;
  std::vector<NodeId> folders{kRootNode};
  while (!folders.empty()) {
    const auto folder = folders.back();
    folders.pop_back();
    const auto node = store.node(folder);
    if (!node || !node->is_folder()) continue;
    if (node->entry && node->has(store::kListed)) found.push_back(folder);
    (void)store.list(folder, 0, [&](const Name& name) {
      if (name.local) folders.push_back(name.local);
      if (name.server && name.server != name.local) folders.push_back(name.server);
      return true;
    });
  }
  return found;
}

/// By the versions that the record really has: where it only knows that there is a newer one, the
/// server's word is wanted.
proto::FolderSummary folder_summary(const store::Store& store, NodeId folder) {
  store::NamesSummary summary;
  const auto read = store.list(folder, 0, [&](const Name& name) {
    if (!name.server) return true;
    const auto node = store.node(name.server);
    if (node && node->entry) {
      summary.add({name.text, node->entry, static_cast<std::uint8_t>(node->kind),
                   node->content_base, node->attributes_base});
    }
    return true;
  });
  const auto node = store.node(folder);
  if (!read || !node || !node->is_folder()) return {};
  return {node->entry, summary.finish()};
}

}  // namespace ebb::fusefs
