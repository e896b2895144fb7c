// The facts of the planner, read from the store.
#include <cerrno>

#include "fusefs/core/tree_edit.h"

namespace ebb::fusefs {

using store::Name;
using store::Node;
using store::Store;

namespace {

/// Longer chains of waiting are not looked at for circles; a step later they are shorter.
constexpr int kWaitingChainMax = 64;

NamePlace place_of(const Store& store, const Name& name) {
  return {name.folder, node_of(store, name.folder).entry, name.text};
}

bool goes_from(const Name& name, NodeId id) {
  return name.server == id && name.local != id && (name.flags & kGoing) != 0;
}

/// On the server's side, whether `folder` is the other one or inside it.
bool is_inside_there(const Store& store, NodeId folder, NodeId other) {
  for (int depth = 0; folder && depth < kDepthMax; ++depth) {
    if (folder == other) return true;
    folder = server_folder(store, folder);
  }
  return false;
}

/// The place is inside the node on the server: who has to move out first?
NodeId in_the_way_above(const Store& store, NodeId folder, NodeId id) {
  if (!is_inside_there(store, folder, id)) return {};
  for (; folder != id; folder = server_folder(store, folder)) {
    for (const auto& name : names_of(store, folder)) {
      if (goes_from(name, folder)) return folder;
    }
  }
  return {};
}

/// Who takes the place of a file that goes; the path is not to stand empty in between.
NodeId successor_of(const Store& store, const Name& name, NodeId id) {
  if (!name.local || name.local == id) return {};
  const auto next = node_of(store, name.local);
  const bool comes = is_synced(next.status) && !next.is_folder() && !next.has(store::kError);
  return comes ? name.local : NodeId{};
}

Arrival arrival_at(const Store& store, const Name& name, const PlanFacts& facts) {
  Arrival arrival;
  arrival.place = place_of(store, name);
  if (facts.kind == Kind::folder && facts.entry) {
    arrival.ancestor = in_the_way_above(store, name.folder, facts.node);
  }
  if (!name.server) return arrival;
  const auto occupant = node_of(store, name.server);
  arrival.occupant = name.server;
  arrival.occupant_entry = occupant.entry;
  arrival.occupant_goes = (name.flags & kGoing) != 0;
  arrival.occupant_ends = occupant.links == 0;
  arrival.occupant_folder = occupant.is_folder();
  arrival.twin = !arrival.occupant_goes && may_be_equal(store, name.local, name.server);
  arrival.related = occupant.is_folder() && facts.leaving &&
                    is_inside_there(store, facts.leaving->folder, name.server);
  return arrival;
}

NodeId child_on_server(const Store& store, NodeId folder) {
  NodeId child;
  need(store.list(folder, 0, [&](const Name& name) {
    child = name.server;
    return !child;
  }));
  return child;
}

PlanFacts facts_of_record(NodeId id, const Node& node) {
  PlanFacts facts;
  facts.node = id;
  facts.kind = node.kind;
  facts.status = node.status;
  facts.blocked = node.has(store::kError);
  facts.content_dirty = node.has(store::kContentDirty);
  facts.attributes_dirty = node.has(store::kAttributesDirty);
  facts.entry = node.entry;
  facts.content_version = node.content_base;
  facts.attributes_version = node.attributes_base;
  facts.content_local = node.content_local;
  facts.attributes_local = node.attributes_local;
  facts.shown = node.links > 0 || id == kRootNode;
  return facts;
}

bool is_in_circle(const Store& store, NodeId id, Step step) {
  for (int i = 0; i < kWaitingChainMax && step.kind == StepKind::after; ++i) {
    if (step.other == id) return true;
    step = plan(facts_of(store, step.other, false));
  }
  return false;
}

}  // namespace

bool may_be_equal(const Store& store, NodeId ours, NodeId theirs) {
  const auto a = node_of(store, ours);
  const auto b = node_of(store, theirs);
  const bool files = a.kind == Kind::file && b.kind == Kind::file;
  if (!files || a.entry || !b.entry || a.size != b.size) return false;
  // Nothing of the other one may be anywhere but under this name.
  const bool alone = b.links == 0 && names_of(store, theirs).size() == 1;
  return alone && a.has(store::kWhole) && !b.has(store::kContentDirty) && !b.has(store::kQueued);
}

PlanFacts facts_of(const Store& store, NodeId id, bool circles) {
  const auto node = node_of(store, id);
  auto facts = facts_of_record(id, node);
  if (!is_synced(node.status) || id == kRootNode) return facts;
  const auto names = names_of(store, id);
  for (const auto& name : names) {
    if (!goes_from(name, id) || facts.leaving) continue;
    facts.leaving = place_of(store, name);
    if (!facts.shown && !node.is_folder()) facts.successor = successor_of(store, name, id);
  }
  for (const auto& name : names) {
    const bool arrives = name.local == id && name.server != id;
    if (arrives && !facts.arriving) facts.arriving = arrival_at(store, name, facts);
  }
  if (node.is_folder() && !facts.shown) facts.child = child_on_server(store, id);
  if (circles) facts.cycle = is_in_circle(store, id, plan(facts));
  return facts;
}

}  // namespace ebb::fusefs
