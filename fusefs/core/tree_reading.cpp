// What the parts of the tree read from the store.
#include <cerrno>

#include "fusefs/core/queue_records.h"
#include "fusefs/core/tree_edit.h"
#include "store/errors.h"

namespace ebb::fusefs {

using store::Name;
using store::Node;
using store::Store;
using store::Table;

Node node_of(const Store& store, NodeId id) {
  return need(store.node(id));
}

std::optional<Node> find_node(const Store& store, NodeId id) {
  auto node = store.node(id);
  if (node) return *node;
  if (node.error().code == store::Errc::stale) return std::nullopt;
  throw Failure{node.error()};
}

std::optional<Name> find_name(const Store& store, NodeId folder, std::string_view name) {
  auto found = store.name(folder, name);
  if (found) return std::move(*found);
  // A folder that is no more has no names.
  if (is_errno(found.error(), ENOENT) || found.error().code == store::Errc::stale) {
    return std::nullopt;
  }
  throw Failure{found.error()};
}

std::vector<Name> names_of(const Store& store, NodeId id) {
  return need(store.names_of(id));
}

std::optional<NodeId> find_entry(const Store& store, EntryId entry) {
  const auto cell = need(store.cell(Table::entries, 0, entry.value));
  if (!cell) return std::nullopt;
  return unpack_node(*cell);
}

std::optional<Queued> find_queued(const Store& store, const Node& node) {
  if (!node.has(store::kQueued)) return std::nullopt;
  const auto cell = need(store.cell(Table::queue, 0, node.queue_seq));
  if (!cell) refuse(EIO, "a queued node that is not in the queue");
  return unpack_queued(node.queue_seq, *cell);
}

void find_folders(const Store& store, Step& step) {
  const auto find = [&](EntryId entry, NodeId& folder) {
    if (entry) folder = find_entry(store, entry).value_or(NodeId{});
  };
  find(step.from.folder, step.from_folder);
  find(step.place.folder, step.place_folder);
}

std::optional<Step> step_under_way(const Store& store, NodeId id, const Node& node) {
  const auto queued = find_queued(store, node);
  if (!queued || !queued->operation) return std::nullopt;
  auto step = need(unpack_step(need(store.text(id, store::Text::extra))));
  find_folders(store, step);
  step.node = id;
  // A repetition may carry newer content: the receipt's hash tells which one the server has.
  if (step.kind == StepKind::push) step.content_local = node.content_local;
  return step;
}

NodeId counting_folder(NodeId id, const Node& node) {
  // The store keeps a local name first where there is one.
  return id == kRootNode || node.parent_cookie == 0 ? NodeId{} : node.parent;
}

NodeId server_folder(const Store& store, NodeId id) {
  if (id == kRootNode) return {};
  for (const auto& name : names_of(store, id)) {
    if (name.server == id) return name.folder;
  }
  return {};
}

bool is_inside(const Store& store, NodeId folder, NodeId other) {
  for (int depth = 0; folder; ++depth) {
    if (folder == other) return true;
    if (depth > kDepthMax) refuse(ELOOP, "folders in a circle");
    folder = counting_folder(folder, node_of(store, folder));
  }
  return false;
}

bool is_kept(const Store& store, NodeId id) {
  for (int depth = 0; id && depth < kDepthMax; ++depth) {
    const auto node = node_of(store, id);
    if (node.pin != Pin::inherit) return node.pin == Pin::keep;
    id = counting_folder(id, node);
  }
  return false;
}

}  // namespace ebb::fusefs
