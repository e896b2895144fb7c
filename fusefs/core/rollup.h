// How many nodes beneath a folder are in which state.  What is on disk (error, conflict, waiting,
// partial) is counted in the folder's record, what is under way (pulling, pushing, a transition) in
// memory; both
// up to the root.
#pragma once

#include <cstdint>
#include <unordered_map>

#include "store/node.h"

namespace ebb::fusefs {

/// Numbers of nodes by durable state.
struct Counts {
  std::uint32_t error = 0;
  std::uint32_t conflict = 0;
  std::uint32_t waiting = 0;
  std::uint32_t partial = 0;

  bool none() const { return *this == Counts{}; }
  friend bool operator==(const Counts&, const Counts&) = default;
};

/// What the node itself counts for: one in one state, or nothing.
Counts own_counts(const store::Node& node);
/// What it counts for above it: itself and all beneath it.
Counts all_counts(const store::Node& node);
/// Moves a folder's counts from `before` to `after` of one that stands beneath it.
void adjust(store::Node& folder, const Counts& before, const Counts& after);

/// The volatile part.  `own` counts calls, `beneath` the sum over all beneath.
struct Activity {
  std::uint32_t own_pulling = 0;
  std::uint32_t own_pushing = 0;
  std::uint32_t own_waiting = 0;
  std::uint32_t beneath_pulling = 0;
  std::uint32_t beneath_pushing = 0;
  std::uint32_t beneath_waiting = 0;

  bool owns() const { return own_pulling + own_pushing + own_waiting > 0; }
};
using Activities = std::unordered_map<NodeId, Activity>;

/// The first state, in order of rank, of the node and all beneath it.
store::State state_of(const store::Node& node, const Activity& activity);

}  // namespace ebb::fusefs
