#include "fusefs/core/access_times.h"

#include "fusefs/core/queue_records.h"

namespace ebb::fusefs {

using store::Node;
using store::Table;

std::optional<WallNs> access_time(const store::Store& store, NodeId id) {
  const auto cell = store.cell(Table::access_times, 0, id.index());
  if (!cell || !*cell) return std::nullopt;
  return unpack_time(**cell);
}

void change_access_time(Edit& edit, NodeId id, const AttributeChange& change, const Node& before,
                        Node& after) {
  const bool kept = before.has(store::kAccessTime);
  if (!change.atime && (kept || after.mtime == before.mtime)) return;
  const auto time = change.atime.value_or(before.mtime);
  if (time == after.mtime) return forget_access_time(edit, id, after);
  after.set(store::kAccessTime);
  edit.put_time(Table::access_times, id.index(), time);
}

void forget_access_time(Edit& edit, NodeId id, Node& node) {
  if (!node.has(store::kAccessTime)) return;
  node.set(store::kAccessTime, false);
  edit.erase_cell(Table::access_times, 0, id.index());
}

}  // namespace ebb::fusefs
