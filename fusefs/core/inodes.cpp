#include "fusefs/core/inodes.h"

#include <utility>

#include "base/check.h"

namespace ebb::fusefs {

bool Inodes::forget(NodeId node, std::uint64_t times) {
  const auto it = table_.find(node);
  if (it == table_.end()) return false;
  // The kernel is not ours to trust with an abort: too many forgets count as all.
  it->second.lookups -= times < it->second.lookups ? times : it->second.lookups;
  return drop_if_free(node);
}

void Inodes::opened(NodeId node, bool writer) {
  auto& held = table_[node];
  ++held.handles;
  if (writer) ++held.writers;
}

bool Inodes::closed(NodeId node, bool writer) {
  const auto it = table_.find(node);
  CHECK(it != table_.end() && it->second.handles > 0);
  --it->second.handles;
  if (writer) {
    CHECK(it->second.writers > 0);
    --it->second.writers;
  }
  return drop_if_free(node);
}

void Inodes::pages_outdated(NodeId node) {
  // What it does not know the kernel has no pages of.
  if (const auto it = table_.find(node); it != table_.end()) it->second.pages_outdated = true;
}

bool Inodes::keeps_pages(NodeId node) {
  const auto it = table_.find(node);
  return it == table_.end() || !std::exchange(it->second.pages_outdated, false);
}

bool Inodes::drop_if_free(NodeId node) {
  const auto it = table_.find(node);
  const auto& held = it->second;
  if (node == kRootNode || held.lookups != 0 || held.handles != 0) return false;
  table_.erase(it);
  return true;
}

void Inodes::saw_names(NodeId folder) {
  const auto it = table_.find(folder);
  if (it != table_.end()) it->second.names_seen = true;
  if (it == table_.end() && folder == kRootNode) table_[folder].names_seen = true;
}

bool Inodes::names_seen(NodeId folder) const {
  const auto it = table_.find(folder);
  return it != table_.end() && it->second.names_seen;
}

bool Inodes::open(NodeId node) const {
  return handles(node) != 0;
}

std::uint32_t Inodes::writers(NodeId node) const {
  const auto it = table_.find(node);
  return it == table_.end() ? 0 : it->second.writers;
}

std::uint32_t Inodes::handles(NodeId node) const {
  const auto it = table_.find(node);
  return it == table_.end() ? 0 : it->second.handles;
}

}  // namespace ebb::fusefs
