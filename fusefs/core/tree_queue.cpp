// Steps: what goes out, and what the server answered.
#include <algorithm>
#include <cerrno>

#include "fusefs/core/queue_records.h"
#include "fusefs/core/tree_edit.h"

namespace ebb::fusefs {

using store::Node;
using store::Side;
using store::Text;

namespace {

bool makes(const Step& step) {
  const bool kind = step.kind == StepKind::push || step.kind == StepKind::make_folder ||
                    step.kind == StepKind::make_symlink;
  return kind && !step.entry;
}

/// The node that the step is about now; its identity may have gone to another one meanwhile.
NodeId owner_of(Edit& edit, const Step& step) {
  auto id = step.node;
  auto& moved = edit.core.moved_steps;
  for (auto it = moved.find(id); it != moved.end(); it = moved.find(id)) id = it->second;
  return id;
}

void forget_moved(Edit& edit, const Step& step) {
  edit.afterwards.push_back([&core = edit.core, id = step.node] {
    auto from = id;
    for (auto it = core.moved_steps.find(from); it != core.moved_steps.end();
         it = core.moved_steps.find(from)) {
      from = it->second;
      core.moved_steps.erase(it);
    }
  });
}

void remember_done(Edit& edit, const Node& node) {
  const auto queued = find_queued(edit.core.store(), node);
  if (!queued || !queued->operation) return;
  edit.afterwards.push_back([&core = edit.core, operation = queued->operation] {
    core.done.push_back(operation);
    if (core.done.size() > kDoneOperationsMax) core.done.pop_front();
  });
}

bool server_has(Edit& edit, NodeId folder, const std::string& name, NodeId id) {
  if (!edit.find(folder)) return false;
  const auto cell = edit.name(folder, name);
  return cell && cell->server == id;
}

void set_server_name(Edit& edit, NodeId folder, const std::string& name, NodeId id) {
  if (!edit.find(folder)) return;
  edit.bind(folder, name, Side::server, id);
  const auto cell = edit.name(folder, name);
  edit.flag(folder, name, kGoing, cell->local != id);
}

void clear_server_name(Edit& edit, NodeId folder, const std::string& name, NodeId id) {
  if (!server_has(edit, folder, name, id)) return;
  edit.bind(folder, name, Side::server, {});
  edit.flag(folder, name, kGoing, false);
}

}  // namespace

void step_begins(Edit& edit, const Step& step, OpId operation) {
  const auto id = owner_of(edit, step);
  auto queued = find_queued(edit.core.store(), edit.node(id));
  if (!queued) refuse(EINVAL, "a step of a node that is not queued");
  queued->operation = operation;
  queued->content_local = step.content_local;
  queued->attributes_local = step.attributes_local;
  edit.put_queued(*queued);
  edit.set_text(id, Text::extra, pack_step(step));
  // From now on the server may have it there: whatever happens to the name has to reckon with that.
  if (!makes(step)) return;
  const auto cell = edit.name(step.place_folder, step.place.name);
  if (cell && cell->server) return;
  set_server_name(edit, step.place_folder, step.place.name, id);
}

// ---- done

namespace {

void names_done(Edit& edit, NodeId id, const Step& step) {
  const auto& from = step.from.name;
  const auto& to = step.place.name;
  switch (step.kind) {
    case StepKind::link:
      return set_server_name(edit, step.place_folder, to, id);
    case StepKind::rename:
      if (!server_has(edit, step.from_folder, from, id)) return;
      clear_server_name(edit, step.from_folder, from, id);
      return set_server_name(edit, step.place_folder, to, id);
    case StepKind::exchange:
      if (!server_has(edit, step.from_folder, from, id)) return;
      if (!server_has(edit, step.place_folder, to, step.other)) return;
      set_server_name(edit, step.from_folder, from, step.other);
      return set_server_name(edit, step.place_folder, to, id);
    case StepKind::remove:
      return clear_server_name(edit, step.from_folder, from, id);
    default:
      if (makes(step)) set_server_name(edit, step.place_folder, to, id);
  }
}

bool is_doubtful(Edit& edit, NodeId id, const Step& step, const StepReceipt& receipt) {
  const auto& core = edit.core;
  if (core.contested.contains(id) || core.begun_before.contains(step.node)) return true;
  return makes(step) && (core.heard_early_overflow || core.heard_early.contains(receipt.entry));
}

/// What the watch told of these names and this entry may be older or newer than the step: both are
/// asked for.
void look_again(Edit& edit, NodeId id, const Step& step, const StepReceipt& receipt) {
  if (!is_doubtful(edit, id, step, receipt)) return;
  edit.afterwards.push_back([&core = edit.core, id, first = step.node, entry = receipt.entry] {
    core.contested.erase(id);
    core.begun_before.erase(first);
    core.heard_early.erase(entry);
  });
  auto folders = std::vector{step.from_folder, step.place_folder};
  if (edit.node(id).is_folder()) folders.push_back(id);
  for (const auto folder : folders) edit.relist(folder);
  edit.unsure(id);
}

bool carries_versions(StepKind kind) {
  return kind == StepKind::push || kind == StepKind::set_attributes ||
         kind == StepKind::make_folder || kind == StepKind::make_symlink;
}

void content_done(Node& n, const Step& step, const StepReceipt& receipt) {
  n.content_base = receipt.content_version;
  n.content_server = std::max(n.content_server, receipt.content_version);
  const bool same = n.content_local == step.content_local && receipt.content_is_ours;
  if (!same) return;
  n.set(store::kContentDirty, false);
  n.hash_known = n.kind == Kind::file && step.kind == StepKind::push;
  n.hash = n.hash_known ? receipt.hash : 0;
}

void versions_done(Edit& edit, NodeId id, const Step& step, const StepReceipt& receipt) {
  if (!carries_versions(step.kind)) return;
  edit.change(id, [&](Node& n) {
    if (step.kind != StepKind::set_attributes) content_done(n, step, receipt);
    // What we sent went over somebody's newer attributes, which were taken here meanwhile: what the
    // server has now is asked for.
    const bool overtaken =
        n.attributes_base > step.attributes_version && !n.has(store::kAttributesDirty);
    if (!overtaken) n.attributes_base = receipt.attributes_version;
    n.attributes_server = std::max(n.attributes_server, receipt.attributes_version);
    if (n.attributes_local == step.attributes_local) n.set(store::kAttributesDirty, false);
    n.set(store::kError, false);
    n.set(store::kConflict, false);
  });
}

/// Somebody's change came on top of ours before our receipt did.  It was no conflict after all.
void look_beyond(Edit& edit, NodeId id) {
  const auto node = edit.node(id);
  const bool ours = node.has(store::kAttributesDirty);
  if (!ours && node.attributes_server > node.attributes_base) edit.unsure(id);
  if (node.kind != Kind::file || node.has(store::kContentDirty)) return;
  if (node.content_server <= node.content_base) return;
  if (node.links == 0) return is_going(edit, id) ? bring_back(edit, id) : void();
  // What we have is on the server, among its older versions.  Which is the newest, the pull will
  // learn.
  edit.unsure(give_up_content(edit, id));
}

}  // namespace

void step_done(Edit& edit, const Step& step, const StepReceipt& receipt) {
  const auto id = owner_of(edit, step);
  forget_moved(edit, step);
  const auto node = edit.find(id);
  if (!node) return;
  remember_done(edit, *node);
  edit.end_step(id);
  edit.touch(id);
  if (step.entry && node->entry != step.entry) return;
  if (makes(step)) {
    absorb_twin(edit, id, receipt.entry);
    edit.set_entry(id, receipt.entry);
  }
  names_done(edit, id, step);
  versions_done(edit, id, step, receipt);
  look_again(edit, id, step, receipt);
  look_beyond(edit, id);
  settle_names(edit, id);
}

// ---- refused

namespace {

/// The deletion met something newer: that is shown again.
void undo_removal(Edit& edit, NodeId id) {
  const auto node = edit.node(id);
  if (!node.is_folder()) return bring_back(edit, id);
  for (const auto& name : edit.names(id)) {
    if (name.server == id) stays(edit, name, id);
  }
  edit.change(id, [](Node& n) { n.set(store::kListed, false); });
}

/// It never came to be, wherever the folder's names have gone meanwhile.
void forget_making(Edit& edit, NodeId id, const Step& step) {
  clear_server_name(edit, step.place_folder, step.place.name, id);
  if (edit.node(id).entry) return;
  for (const auto& name : edit.names(id)) clear_server_name(edit, name.folder, name.text, id);
}

}  // namespace

namespace {

void contradicted(Edit& edit, NodeId id, const Step& step, std::string_view sentence) {
  // Attributes are never in conflict: with the newer base, ours come on top.
  if (step.kind == StepKind::set_attributes) return edit.unsure(id);
  if (step.kind == StepKind::push && step.entry) {
    set_aside(edit, id);
    return;
  }
  // One of several names goes, and the content is newer there: what was changed here as well is
  // kept beside it.
  if (step.kind == StepKind::remove) {
    edit.node(id).has(store::kContentDirty) ? void(set_aside(edit, id)) : edit.unsure(id);
    return;
  }
  const auto cell = edit.name(step.place_folder, step.place.name);
  const bool met = cell && cell->local == id && cell->server && cell->server != id &&
                   (cell->flags & kGoing) == 0;
  if (met) return keep_both(edit, *cell);
  if (edit.node(id).is_folder() && step.kind == StepKind::rename && undo_move(edit, id)) return;
  error_at(edit, id, sentence);
}

}  // namespace

void step_refused(Edit& edit, const Step& step, bool is_conflict, std::string_view sentence) {
  const auto id = owner_of(edit, step);
  forget_moved(edit, step);
  const auto node = edit.find(id);
  if (!node) return;
  edit.end_step(id);
  edit.touch(id);
  if (makes(step)) forget_making(edit, id, step);
  if (step.entry && node->entry != step.entry) return;
  if (edit.names(id).empty()) return;
  if (step.kind == StepKind::remove && is_conflict && node->links == 0) {
    return undo_removal(edit, id);
  }
  if (is_conflict) return contradicted(edit, id, step, sentence);
  error_at(edit, id, sentence);
  settle_names(edit, id);
}

void step_again(Edit& edit, const Step& step) {
  const auto id = owner_of(edit, step);
  forget_moved(edit, step);
  if (!edit.find(id)) return;
  edit.end_step(id);
  edit.touch(id);
  if (makes(step)) forget_making(edit, id, step);
  settle_names(edit, id);
}

void step_moot(Edit& edit, const Step& step) {
  const auto id = owner_of(edit, step);
  forget_moved(edit, step);
  const auto node = edit.find(id);
  if (!node) return;
  edit.end_step(id);
  edit.touch(id);
  if (makes(step)) {
    forget_making(edit, id, step);
    return settle_names(edit, id);
  }
  if (step.kind <= StepKind::blocked) return settle_names(edit, id);
  if (!step.entry || node->entry != step.entry) return;
  if (step.kind == StepKind::remove) {
    return clear_server_name(edit, step.from_folder, step.from.name, id);
  }
  const bool about_name = step.kind == StepKind::rename || step.kind == StepKind::exchange;
  if (about_name) clear_server_name(edit, step.from_folder, step.from.name, id);
  for (const auto& name : edit.names(id)) {
    if (name.server != id) continue;
    if (about_name) return;
    clear_server_name(edit, name.folder, name.text, id);
  }
  vanish(edit, id);
}

}  // namespace ebb::fusefs
