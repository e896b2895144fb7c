#include "fusefs/core/planner.h"

#include "base/hash.h"

namespace ebb::fusefs {

namespace {

using store::Kind;
using store::Status;

Step step(const PlanFacts& facts, StepKind kind) {
  Step out;
  out.kind = kind;
  out.node = facts.node;
  out.entry = facts.entry;
  out.content_version = facts.content_version;
  out.attributes_version = facts.attributes_version;
  out.content_local = facts.content_local;
  out.attributes_local = facts.attributes_local;
  return out;
}

Step after(const PlanFacts& facts, NodeId other) {
  auto out = step(facts, StepKind::after);
  out.other = other;
  return out;
}

void set_from(Step& step, const NamePlace& from) {
  step.from_folder = from.folder;
  step.from = {from.folder_entry, from.name};
}

void set_place(Step& step, const NamePlace& place) {
  step.place_folder = place.folder;
  step.place = {place.folder_entry, place.name};
}

Step make(const PlanFacts& facts, const NamePlace& place) {
  auto kind = StepKind::push;
  if (facts.kind == Kind::folder) kind = StepKind::make_folder;
  if (facts.kind == Kind::symlink) kind = StepKind::make_symlink;
  auto out = step(facts, kind);
  set_place(out, place);
  return out;
}

/// The step that brings the node to `place`, which is free.
Step arrive(const PlanFacts& facts, const NamePlace& place) {
  if (!facts.entry) return make(facts, place);
  if (!facts.leaving && facts.kind == Kind::folder) return step(facts, StepKind::blocked);
  auto out = step(facts, facts.leaving ? StepKind::rename : StepKind::link);
  if (facts.leaving) set_from(out, *facts.leaving);
  set_place(out, place);
  return out;
}

Step exchange(const PlanFacts& facts) {
  auto out = step(facts, StepKind::exchange);
  out.other = facts.arriving->occupant;
  out.other_entry = facts.arriving->occupant_entry;
  set_from(out, *facts.leaving);
  set_place(out, facts.arriving->place);
  return out;
}

/// A path never stands empty where one file takes the place of another.
bool swaps_with_ending(const PlanFacts& facts) {
  const auto& arrival = *facts.arriving;
  return arrival.occupant_ends && !arrival.occupant_folder && facts.kind != Kind::folder;
}

Step pass_by(const PlanFacts& facts) {
  auto place = facts.arriving->place;
  place.name = passing_name(facts.node);
  const bool there =
      facts.leaving && facts.leaving->folder == place.folder && facts.leaving->name == place.name;
  return there ? after(facts, facts.arriving->occupant) : arrive(facts, place);
}

Step plan_arrival(const PlanFacts& facts) {
  const auto& arrival = *facts.arriving;
  if (!arrival.place.folder_entry) return after(facts, arrival.place.folder);
  if (arrival.ancestor) return after(facts, arrival.ancestor);
  if (!arrival.occupant) return arrive(facts, arrival.place);
  // The server compares: equal content is no conflict.
  if (arrival.twin) return make(facts, arrival.place);
  if (!arrival.occupant_goes) return step(facts, StepKind::blocked);
  const bool can_exchange =
      facts.entry && facts.leaving && arrival.occupant_entry && !arrival.related;
  if (can_exchange && (facts.cycle || swaps_with_ending(facts))) return exchange(facts);
  const bool beside_first = !facts.entry && arrival.occupant_entry && swaps_with_ending(facts);
  return facts.cycle || beside_first ? pass_by(facts) : after(facts, arrival.occupant);
}

Step plan_removal(const PlanFacts& facts) {
  if (facts.child) return after(facts, facts.child);
  if (facts.successor) return after(facts, facts.successor);
  auto out = step(facts, StepKind::remove);
  set_from(out, *facts.leaving);
  return out;
}

bool is_synced(Status status) {
  return status != Status::untracked && status != Status::local;
}

}  // namespace

Step plan(const PlanFacts& facts) {
  if (!is_synced(facts.status)) return step(facts, StepKind::nothing);
  if (!facts.shown && !facts.leaving) return step(facts, StepKind::nothing);
  if (facts.blocked) return step(facts, StepKind::blocked);
  if (!facts.shown) return facts.entry ? plan_removal(facts) : step(facts, StepKind::nothing);
  if (facts.arriving) return plan_arrival(facts);
  if (facts.leaving) return plan_removal(facts);
  if (!facts.entry) return step(facts, StepKind::nothing);
  if (facts.content_dirty) return step(facts, StepKind::push);
  if (facts.attributes_dirty) return step(facts, StepKind::set_attributes);
  return step(facts, StepKind::nothing);
}

std::string passing_name(NodeId node) {
  return ".ebb-passing-" + hex16(node.value);
}

}  // namespace ebb::fusefs
