#include "fusefs/core/tree_edit.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/check.h"
#include "fusefs/core/access_times.h"
#include "fusefs/core/queue_records.h"

namespace ebb::fusefs {

using store::Name;
using store::Node;
using store::Side;
using store::Table;
using store::Text;

bool TreeCore::in_limbo(NodeId node) const {
  return std::any_of(limbo.begin(), limbo.end(), [&](const Limbo& l) { return l.node == node; });
}

std::vector<Name> Edit::names_in(NodeId folder) const {
  std::vector<Name> names;
  need(core.store().list(folder, 0, [&](const Name& name) {
    names.push_back(name);
    return true;
  }));
  return names;
}

void Edit::save(NodeId id, const Node& before, const Node& after) {
  need(txn_.put(id, after));
  const auto counted = all_counts(before);
  const auto counts = all_counts(after);
  if (counted != counts) count(counting_folder(id, after), counted, counts);
}

void Edit::count(NodeId folder, const Counts& before, const Counts& after) {
  for (int depth = 0; folder; ++depth) {
    if (depth > kDepthMax) refuse(ELOOP, "folders in a circle");
    auto record = node(folder);
    adjust(record, before, after);
    need(txn_.put(folder, record));
    folder = counting_folder(folder, record);
  }
}

NodeId Edit::create(const Node& fresh) {
  const auto id = need(txn_.make_node(fresh.kind));
  need(txn_.put(id, fresh));
  touch(id);
  return id;
}

void Edit::bind(NodeId folder, std::string_view text, Side side, NodeId id) {
  const auto cell = name(folder, text);
  const auto former = cell ? cell->at(side) : NodeId{};
  if (former == id) return;
  std::vector<std::pair<NodeId, NodeId>> stood;  // node, where it counted
  for (const auto other : {former, id}) {
    if (other) stood.emplace_back(other, counting_folder(other, node(other)));
  }
  need(txn_.bind(folder, text, side, id));
  for (const auto& [other, before] : stood) {
    const auto record = node(other);
    const auto after = counting_folder(other, record);
    touch(other);
    if (before == after) continue;
    count(before, all_counts(record), {});
    count(after, {}, all_counts(record));
    activity_moved_ = activity_moved_ || core.activity.contains(other);
  }
}

void Edit::flag(NodeId folder, std::string_view text, std::uint16_t bit, bool on) {
  const auto cell = name(folder, text);
  if (!cell) return;
  const auto flags = static_cast<std::uint16_t>(on ? cell->flags | bit : cell->flags & ~bit);
  if (flags == cell->flags) return;
  need(txn_.set_name_flags(folder, text, flags));
  if (cell->server) touch(cell->server);
}

void Edit::set_text(NodeId id, Text which, ByteView bytes) {
  need(txn_.set_text(id, which, bytes));
}

void Edit::put_cell(Table table, std::uint64_t argument, std::uint64_t key, NodeId id) {
  need(txn_.put_cell(table, argument, key, pack_node(id)));
}

void Edit::put_time(Table table, std::uint64_t key, WallNs time) {
  need(txn_.put_cell(table, 0, key, pack_time(time)));
}

void Edit::erase_cell(Table table, std::uint64_t argument, std::uint64_t key) {
  need(txn_.erase_cell(table, argument, key));
}

void Edit::set_entry(NodeId id, EntryId entry) {
  const auto former = node(id).entry;
  if (former && former != entry && find_entry(core.store(), former) == id) {
    erase_cell(Table::entries, 0, former.value);
  }
  change(id, [&](Node& n) { n.entry = entry; });
  if (!entry) {
    answered(id, store::kUnsure);
    answered(id, store::kInDoubt);
  }
  if (entry) put_cell(Table::entries, 0, entry.value, id);
  touch(id);
}

void Edit::changed(NodeId id) {
  touch(id);
  changed_.insert(id);
}

void Edit::put_queued(const Queued& queued) {
  need(txn_.put_cell(Table::queue, 0, queued.sequence, pack_queued(queued)));
}

void Edit::move_queued(NodeId from, NodeId to) {
  const auto queued = find_queued(core.store(), node(from));
  if (!queued) return;
  if (node(to).has(store::kQueued)) dequeue(to);
  const auto step = need(core.store().text(from, Text::extra));
  dequeue(from);
  ++enqueued_;
  auto moved = *queued;
  moved.node = to;
  put_queued(moved);
  set_text(to, Text::extra, step);
  change(to, [&](Node& n) {
    n.set(store::kQueued);
    n.queue_seq = moved.sequence;
  });
  if (moved.operation) {
    afterwards.push_back([this_core = &core, from, to] { this_core->moved_steps[from] = to; });
  }
  touch(from);
  touch(to);
}

void Edit::end_step(NodeId id) {
  auto queued = find_queued(core.store(), node(id));
  if (!queued || !queued->operation) return;
  // Names that a list left alone because of this step.
  if (core.contested.contains(id)) {
    auto step = need(unpack_step(need(core.store().text(id, Text::extra))));
    find_folders(core.store(), step);
    for (const auto folder : {step.from_folder, step.place_folder}) relist(folder);
    afterwards.push_back([this_core = &core, id] { this_core->contested.erase(id); });
  }
  queued->operation = {};
  put_queued(*queued);
  set_text(id, Text::extra, {});
  effects.queue_changed = true;
  touch(id);
}

namespace {

std::uint64_t table_of(store::NodeFlag question) {
  return question == store::kUnsure ? kUnsureTable : kInDoubtTable;
}

}  // namespace

void Edit::unsure(NodeId id) {
  if (!node(id).entry) return;
  change(id, [](Node& n) { n.set(store::kUnsure); });
  put_cell(Table::unsettled, kUnsureTable, id.index(), id);
  effects.unsure.push_back(id);
}

void Edit::relist(NodeId folder) {
  const auto record = folder ? find(folder) : std::nullopt;
  if (!record || !record->is_folder() || !record->entry) return;
  change(folder, [](Node& n) { n.set(store::kInDoubt); });
  put_cell(Table::unsettled, kInDoubtTable, folder.index(), folder);
  effects.unlisted.push_back(folder);
}

void Edit::relist_all(NodeId folder) {
  relist(folder);
  change(folder, [](Node& n) { n.set(store::kDeepDoubt, n.has(store::kInDoubt)); });
}

void Edit::answered(NodeId id, store::NodeFlag question) {
  if (!node(id).has(question)) return;
  change(id, [&](Node& n) {
    n.set(question, false);
    if (question == store::kInDoubt) n.set(store::kDeepDoubt, false);
  });
  erase_cell(Table::unsettled, table_of(question), id.index());
}

void Edit::drop_content(NodeId id) {
  const auto before = node(id);
  auto after = before;
  if (after.content != 0) effects.contents_to_remove.push_back(after.content);
  after.content = 0;
  after.hash = 0;
  after.hash_known = false;
  after.set(store::kWhole, false);
  after.set(store::kSparse, false);
  after.set(store::kUnsynced, false);
  after.set(store::kVolatile, false);
  set_text(id, Text::extents, {});
  erase_cell(Table::unsettled, kUnsettledTable, id.index());
  save(id, before, after);
}

void Edit::want_content(NodeId id) {
  change(id, [](Node& n) { n.set(store::kPulling); });
  put_cell(Table::pulls, 0, id.index(), id);
  effects.wanted.push_back(id);
}

bool Edit::keeps(NodeId folder) {
  const auto [it, fresh] = keeps_.emplace(folder, false);
  if (fresh) it->second = is_kept(core.store(), folder);
  return it->second;
}

void Edit::send_to_limbo(NodeId id) {
  kept_.insert(id);
  touch(id);
}

void Edit::drop_expired_limbo() {
  while (!core.limbo.empty()) {
    const auto& oldest = core.limbo.front();
    const bool full = core.limbo.size() > kLimboMax;
    if (!full && now() - oldest.since < kLimboLife) return;
    touch(oldest.node);
    core.limbo.pop_front();
  }
}

// ---- the end of a change

void Edit::finish() {
  while (settled_ < touched_.size()) settle(touched_[settled_++]);
  need(txn_.commit());
  for (const auto& action : afterwards) action();
  for (const auto id : kept_) core.limbo.push_back({id, now()});
  core.queue_length += enqueued_ - dequeued_;
  if (activity_moved_) core.activity_moved = true;
  take_effects();
}

void Edit::settle(NodeId id) {
  auto record = find(id);
  if (!record) return;
  if (id != kRootNode && record->links == 0 && names(id).empty()) return lose(id, *record);
  if (record->has(store::kOrphan)) {
    change(id, [](Node& n) { n.set(store::kOrphan, false); });
    erase_cell(Table::orphans, 0, id.index());
    std::erase_if(core.limbo, [&](const TreeCore::Limbo& l) { return l.node == id; });
    record = node(id);
  }
  const auto queued = find_queued(core.store(), *record);
  const bool under_way = queued && queued->operation;
  const bool waits = under_way || plan(facts_of(core.store(), id, false)).kind != StepKind::nothing;
  if (waits) return enqueue(id, *record);
  if (queued) dequeue(id);
}

void Edit::enqueue(NodeId id, const Node& record) {
  const bool refresh = changed_.erase(id) > 0;
  auto queued = find_queued(core.store(), record);
  if (queued && !refresh) return;
  const auto at = wall();
  if (!queued) {
    queued.emplace();
    queued->sequence = next_sequence();
    queued->node = id;
    queued->first_change = at;
    ++enqueued_;
    change(id, [&](Node& n) {
      n.set(store::kQueued);
      n.queue_seq = queued->sequence;
    });
  }
  queued->last_change = at;
  put_queued(*queued);
  effects.queue_changed = true;
}

void Edit::dequeue(NodeId id) {
  const auto record = node(id);
  if (!record.has(store::kQueued)) return;
  ++dequeued_;
  erase_cell(Table::queue, 0, record.queue_seq);
  set_text(id, Text::extra, {});
  change(id, [](Node& n) {
    n.set(store::kQueued, false);
    n.queue_seq = 0;
  });
  effects.queue_changed = true;
}

void Edit::lose(NodeId id, Node record) {
  dequeue(id);
  erase_cell(Table::pulls, 0, id.index());
  if (kept_.contains(id) || core.in_limbo(id)) {
    if (record.has(store::kOrphan)) return;
    change(id, [](Node& n) { n.set(store::kOrphan); });
    return put_cell(Table::orphans, 0, id.index(), id);
  }
  if (record.entry) set_entry(id, {});
  if (record.is_folder()) drop_subtree(*this, id);
  erase_cell(Table::unsettled, kUnsettledTable, id.index());
  if (core.seams.in_use(id)) {
    change(id, [](Node& n) {
      n.flags &= ~(store::kContentDirty | store::kAttributesDirty | store::kConflict |
                   store::kError | store::kPulling | store::kVolatile);
      n.set(store::kOrphan);
      n.content_base = n.content_server = n.attributes_base = n.attributes_server = {};
    });
    return put_cell(Table::orphans, 0, id.index(), id);
  }
  if (record.has(store::kOrphan)) erase_cell(Table::orphans, 0, id.index());
  erase_cell(Table::unsettled, kOpenForWriteTable, id.index());
  if (record.content != 0) effects.contents_to_remove.push_back(record.content);
  forget_access_time(*this, id, record);
  need(txn_.drop_node(id));
}

namespace {

template <class T>
void append(std::vector<T>& to, std::vector<T>& from) {
  to.insert(to.end(), std::make_move_iterator(from.begin()), std::make_move_iterator(from.end()));
}

}  // namespace

void Edit::take_effects() {
  auto& to = core.effects;
  append(to.contents_to_remove, effects.contents_to_remove);
  append(to.outdated, effects.outdated);
  append(to.attributes_changed, effects.attributes_changed);
  append(to.content_changed, effects.content_changed);
  append(to.names_changed, effects.names_changed);
  append(to.wanted, effects.wanted);
  append(to.replaced, effects.replaced);
  append(to.unsure, effects.unsure);
  append(to.unlisted, effects.unlisted);
  append(to.to_list, effects.to_list);
  to.queue_changed = to.queue_changed || effects.queue_changed;
}

// ---- activity

namespace {

void add_beneath(TreeCore& core, NodeId id, const Activity& own) {
  const auto record = find_node(core.store(), id);
  auto folder = record ? counting_folder(id, *record) : NodeId{};
  for (int depth = 0; folder && depth < kDepthMax; ++depth) {
    auto& above = core.activity[folder];
    above.beneath_pulling += own.own_pulling;
    above.beneath_pushing += own.own_pushing;
    above.beneath_waiting += own.own_waiting;
    folder = counting_folder(folder, node_of(core.store(), folder));
  }
}

void recount_activity(TreeCore& core) {
  Activities own;
  for (const auto& [id, activity] : core.activity) {
    if (!activity.owns()) continue;
    own[id].own_pulling = activity.own_pulling;
    own[id].own_pushing = activity.own_pushing;
    own[id].own_waiting = activity.own_waiting;
  }
  core.activity = own;
  for (const auto& [id, activity] : own) {
    try {
      add_beneath(core, id, activity);
    } catch (const Failure&) {
    }
  }
}

}  // namespace

Activity activity_of(TreeCore& core, NodeId id) {
  if (std::exchange(core.activity_moved, false)) recount_activity(core);
  const auto it = core.activity.find(id);
  return it == core.activity.end() ? Activity{} : it->second;
}

}  // namespace ebb::fusefs
