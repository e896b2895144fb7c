// What is done once after the store was opened: the root, and what the last run left behind.
#include <cerrno>

#include "fusefs/core/queue_records.h"
#include "fusefs/core/tree_edit.h"
#include "store/content.h"

namespace ebb::fusefs {

using store::Node;
using store::Table;
using store::Text;

namespace {

/// Table::settings, an argument of the tree's own.
constexpr std::uint64_t kTreeSettings = 0x7472;
constexpr std::uint64_t kContentNumbers = 1;
/// At most so many numbers are left out by a crash.
constexpr std::uint64_t kContentNumbersReserved = 256;

std::vector<NodeId> nodes_in(Edit& edit, Table table, std::uint64_t argument) {
  std::vector<NodeId> nodes;
  need(edit.core.store().scan(table, argument, 0, [&](std::uint64_t, const store::Cell& cell) {
    nodes.push_back(unpack_node(cell));
    return true;
  }));
  return nodes;
}

void make_root(Edit& edit) {
  auto root = edit.find(kRootNode);
  if (!root) {
    Node fresh;
    fresh.kind = Kind::folder;
    if (edit.create(fresh) != kRootNode) refuse(EIO, "the first node is not the root");
    root = fresh;
  }
  if (root->entry) return;
  edit.change(kRootNode, [&](Node& n) {
    n.status = edit.core.options.root;
    n.mode = 0755;
    n.uid = edit.core.options.uid;
    n.gid = edit.core.options.gid;
    n.mtime = n.ctime = edit.wall();
  });
  edit.set_entry(kRootNode, kRootEntry);
}

/// What was claimed to be here since the last settle may not have reached the disk.
void take_back_claims(Edit& edit, NodeId id) {
  edit.erase_cell(Table::unsettled, kUnsettledTable, id.index());
  const auto node = edit.find(id);
  if (!node || !node->has(store::kVolatile)) return;
  const bool changed_here = node->has(store::kContentDirty) || !is_synced(node->status);
  const bool whole = node->has(store::kWhole);
  edit.change(id, [&](Node& n) {
    n.set(store::kVolatile, false);
    if (!changed_here) n.set(store::kWhole, false);
  });
  if (whole && changed_here) return;
  const auto bytes = need(edit.core.store().text(id, Text::extents));
  auto extents = store::unpack_extents(bytes).value_or(store::Extents{});
  extents.recent.clear();
  edit.set_text(id, Text::extents, store::pack(extents));
  if (whole && node->status == Status::sync) edit.want_content(id);
}

/// The writer was cut off; what it wrote last was perhaps not recorded.
void suspect(Edit& edit, NodeId id) {
  edit.erase_cell(Table::unsettled, kOpenForWriteTable, id.index());
  const auto node = edit.find(id);
  if (!node || !node->has(store::kOpenForWrite)) return;
  edit.change(id, [](Node& n) {
    n.set(store::kOpenForWrite, false);
    ++n.content_local;
    n.hash_known = false;
    if (n.status == Status::sync) n.set(store::kContentDirty);
    n.set(store::kVolatile, n.has(store::kVolatile) || n.has(store::kWhole));
  });
  if (node->has(store::kWhole)) {
    edit.put_cell(Table::unsettled, kUnsettledTable, id.index(), id);
  }
  edit.changed(id);
  edit.afterwards.push_back([&core = edit.core, id] { core.suspects.push_back(id); });
}

void look_at_queue(Edit& edit) {
  auto& core = edit.core;
  core.queue_length = 0;
  need(core.store().scan(Table::queue, 0, 0, [&](std::uint64_t sequence, const store::Cell& cell) {
    ++core.queue_length;
    const auto queued = unpack_queued(sequence, cell);
    if (queued.operation) core.begun_before.insert(queued.node);
    return true;
  }));
}

}  // namespace

void start(Edit& edit) {
  make_root(edit);
  look_at_queue(edit);
  for (const auto id : nodes_in(edit, Table::orphans, 0)) edit.touch(id);
  if (edit.core.store().rebooted()) {
    for (const auto id : nodes_in(edit, Table::unsettled, kUnsettledTable)) {
      take_back_claims(edit, id);
    }
  }
  for (const auto id : nodes_in(edit, Table::unsettled, kOpenForWriteTable)) suspect(edit, id);
}

TreeCore::Numbers reserve_content_numbers(Edit& edit) {
  const auto cell = need(edit.core.store().cell(Table::settings, kTreeSettings, kContentNumbers));
  const auto next = cell ? unpack_node(*cell).value : 1;
  const auto end = next + kContentNumbersReserved;
  edit.put_cell(Table::settings, kTreeSettings, kContentNumbers, NodeId(end));
  return {next, end};
}

}  // namespace ebb::fusefs
