#include "fusefs/core/rollup.h"

#include "base/check.h"

namespace ebb::fusefs {

namespace {

using store::Node;
using store::State;
using store::Status;

bool waits(const Node& node) {
  const bool dirty = node.has(store::kContentDirty) || node.has(store::kAttributesDirty);
  return node.has(store::kQueued) || (dirty && node.status != Status::local);
}

/// All of it is wanted and some is missing, or a part of a placeholder is cached.
bool is_partial(const Node& node) {
  if (node.kind != store::Kind::file || node.has(store::kWhole)) return false;
  return node.status == Status::sync || (node.status == Status::remote && node.content != 0);
}

void move_count(std::uint32_t& count, std::uint32_t before, std::uint32_t after) {
  CHECK(count + after >= before);
  count = count + after - before;
}

}  // namespace

Counts own_counts(const Node& node) {
  if (node.has(store::kError)) return {.error = 1};
  if (node.has(store::kConflict)) return {.conflict = 1};
  if (waits(node)) return {.waiting = 1};
  if (is_partial(node)) return {.partial = 1};
  return {};
}

Counts all_counts(const Node& node) {
  auto counts = own_counts(node);
  counts.error += node.beneath_error;
  counts.conflict += node.beneath_conflict;
  counts.waiting += node.beneath_waiting;
  counts.partial += node.beneath_partial;
  return counts;
}

void adjust(Node& folder, const Counts& before, const Counts& after) {
  move_count(folder.beneath_error, before.error, after.error);
  move_count(folder.beneath_conflict, before.conflict, after.conflict);
  move_count(folder.beneath_waiting, before.waiting, after.waiting);
  move_count(folder.beneath_partial, before.partial, after.partial);
}

State state_of(const Node& node, const Activity& activity) {
  const auto counts = all_counts(node);
  if (counts.error > 0) return State::error;
  if (counts.conflict > 0) return State::conflict;
  if (activity.own_pulling + activity.beneath_pulling > 0) return State::pulling;
  if (activity.own_pushing + activity.beneath_pushing > 0) return State::pushing;
  if (counts.waiting + activity.own_waiting + activity.beneath_waiting > 0) return State::waiting;
  if (counts.partial > 0) return State::partial;
  return State::clean;
}

}  // namespace ebb::fusefs
