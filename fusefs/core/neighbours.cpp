#include "fusefs/core/neighbours.h"

#include <algorithm>
#include <vector>

#include "fusefs/core/core.h"

namespace ebb::fusefs {
namespace {

/// Files opened at a longer distance are no run.
constexpr Duration kPause = std::chrono::seconds(1);
/// Names looked at for one open: a folder of much that is not fetched must not cost a walk each
/// time.
constexpr int kNamesMost = 128;

}  // namespace

void Neighbours::opened(NodeId node, bool here) {
  const bool fetched = ahead_.erase(node) != 0;
  // What is here by itself says nothing of what is wanted.
  if (here && !fetched) return;
  if (core_.now() > last_ + kPause) run_ = 0, ahead_.clear();
  last_ = core_.now();
  ++run_;
  const auto place = core_.tree->place(node);
  if (!place) return;
  if (place->folder != folder_) {
    folder_ = place->folder;
    reached_ = 0;
    ahead_.clear();
  }
  reached_ = std::max(reached_, place->cookie);
  if (run_ >= kNeighbourRun && core_.link.ready()) fetch();
}

void Neighbours::fetch() {
  const std::size_t most = std::min<std::size_t>(kNeighboursMost, run_);
  // With half of them still to be opened there is no haste, and the list is gone through less
  // often.
  if (ahead_.size() * 2 > most) return;
  std::vector<NodeId> next;
  int names = 0;
  const auto look = [&](const FolderEntry& entry) {
    reached_ = entry.cookie;
    const auto& found = entry.attributes;
    if (found.kind == Kind::file && found.size != 0 && found.size <= kSmallFile) {
      next.push_back(found.node);
    }
    return ++names < kNamesMost && ahead_.size() + next.size() < most;
  };
  if (!core_.tree->list(folder_, reached_, look)) return;
  for (const NodeId node : next) {
    const auto record = core_.tree->node(node);
    if (!record || record->status != store::Status::remote || record->has(store::kContentDirty))
      continue;
    const auto content = core_.contents.get(node);
    if (!content || (*content)->whole) continue;
    core_.pulls.want_ahead(*content, (*content)->all());
    ahead_.insert(node);
  }
}

}  // namespace ebb::fusefs
