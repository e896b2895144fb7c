#include "fusefs/core/tree.h"

#include <algorithm>
#include <cerrno>
#include <exception>

#include "fusefs/core/access_times.h"
#include "fusefs/core/errno.h"
#include "fusefs/core/queue_records.h"
#include "fusefs/core/tree_edit.h"

namespace ebb::fusefs {

/// Names of a list that one transaction takes.
constexpr std::size_t kListedAtOnce = 4096;

using store::Name;
using store::Node;
using store::Table;
using store::Text;

struct Tree::Impl {
  Impl(TreeSeams seams, TreeOptions options) : core(std::move(seams), options) {}

  /// One change: all of it or nothing.
  template <class F>
  auto change(F&& apply) -> Result<decltype(apply(std::declval<Edit&>()))> {
    using T = decltype(apply(std::declval<Edit&>()));
    try {
      Edit edit(core);
      if constexpr (std::is_void_v<T>) {
        apply(edit);
        edit.finish();
        return {};
      } else {
        auto result = apply(edit);
        edit.finish();
        return result;
      }
    } catch (const Failure& failure) {
      return pass(as_errno(failure.error));
    }
  }

  template <class F>
  auto read(F&& look) const -> Result<decltype(look(std::declval<const store::Store&>()))> {
    try {
      return look(core.store());
    } catch (const Failure& failure) {
      return pass(as_errno(failure.error));
    }
  }

  TreeCore core;
};

Tree::Tree(TreeSeams seams, TreeOptions options)
    : impl_(std::make_shared<Impl>(std::move(seams), options)) {}

Result<> Tree::start() {
  return impl_->change([](Edit& edit) { fusefs::start(edit); });
}

TreeEffects Tree::take_effects() {
  return std::exchange(impl_->core.effects, {});
}
std::vector<NodeId> Tree::suspects() const {
  return impl_->core.suspects;
}

// ---- reading

Result<Node> Tree::node(NodeId id) const {
  return impl_->read([&](const store::Store& store) { return node_of(store, id); });
}

Result<NodeId> Tree::find(NodeId folder, std::string_view name) const {
  return impl_->read([&](const store::Store& store) {
    if (!node_of(store, folder).is_folder()) refuse(ENOTDIR);
    if (name.size() > store::kNameMax) refuse(ENAMETOOLONG);
    const auto cell = find_name(store, folder, name);
    if (!cell || !cell->local) refuse(ENOENT);
    return cell->local;
  });
}

namespace {

/// As everywhere: its name, its ".", and the ".." of each folder in it; 1 while they are not known.
std::uint32_t folder_links(NodeId id, const Node& node) {
  if (id != kRootNode && node.links == 0) return 0;
  return node.has(store::kListed) ? 2 + node.subfolders : 1;
}

}  // namespace

Attributes Tree::attributes(NodeId id, const Node& node) const {
  const auto& options = impl_->core.options;
  Attributes out;
  out.node = id;
  out.kind = node.kind;
  out.mode = node.mode;
  out.links = node.is_folder() ? folder_links(id, node) : node.links;
  out.uid = options.server_owners ? node.uid : options.uid;
  out.gid = options.server_owners ? node.gid : options.gid;
  out.size = node.size;
  out.blocks = node.size / 512 + (node.size % 512 != 0 ? 1 : 0);
  out.counted = node.has(store::kSparse) && node.has(store::kWhole) ? node.content : 0;
  out.mtime = node.mtime;
  out.ctime = node.ctime;
  out.device = node.device;
  out.atime = node.has(store::kAccessTime)
                  ? access_time(impl_->core.store(), id).value_or(node.mtime)
                  : node.mtime;
  return out;
}

Result<bool> Tree::listed(NodeId folder) const {
  return impl_->read([&](const store::Store& store) {
    const auto node = node_of(store, folder);
    if (!node.is_folder()) refuse(ENOTDIR);
    return node.has(store::kListed);
  });
}

Result<> Tree::list(NodeId folder, std::uint64_t cookie,
                    const std::function<bool(const FolderEntry&)>& visit) const {
  auto listed = impl_->core.store().list(folder, cookie, [&](const Name& name) {
    if (!name.local) return true;
    const auto child = impl_->core.store().node(name.local);
    if (!child) return true;
    return visit({name.text, name.cookie, attributes(name.local, *child)});
  });
  if (!listed) return pass(as_errno(listed.error()));
  return {};
}

Result<std::string> Tree::target(NodeId id) const {
  return impl_->read([&](const store::Store& store) {
    if (node_of(store, id).kind != Kind::symlink) refuse(EINVAL);
    return std::string(as_text(need(store.text(id, Text::target))));
  });
}

Result<Xattrs> Tree::xattrs(NodeId id) const {
  return impl_->read([&](const store::Store& store) {
    return need(unpack_xattrs(need(store.text(id, Text::xattrs))));
  });
}

namespace {

std::optional<Name> shown_name(const store::Store& store, NodeId id) {
  for (auto& name : names_of(store, id)) {
    if (name.local == id) return std::move(name);
  }
  return std::nullopt;
}

}  // namespace

std::string Tree::path(NodeId id) const {
  const auto found = impl_->read([&](const store::Store& store) {
    std::string path;
    for (int depth = 0; id != kRootNode && depth < kDepthMax; ++depth) {
      const auto name = shown_name(store, id);
      if (!name) return std::string();
      path = path.empty() ? name->text : name->text + "/" + path;
      id = name->folder;
    }
    return path;
  });
  return found.value_or("");
}

std::optional<Tree::Place> Tree::place(NodeId id) const {
  const auto name = impl_->read([&](const store::Store& store) { return shown_name(store, id); });
  if (!name || !*name) return std::nullopt;
  return Place{(*name)->folder, (*name)->cookie};
}

std::optional<NodeId> Tree::of_entry(EntryId entry) const {
  const auto found =
      impl_->read([&](const store::Store& store) { return find_entry(store, entry); });
  return found ? *found : std::nullopt;
}

State Tree::state(NodeId id, const Node& node) const {
  return state_of(node, activity_of(impl_->core, id));
}

bool Tree::kept(NodeId id) const {
  return impl_->read([&](const store::Store& store) { return is_kept(store, id); }).value_or(false);
}

Result<Tree::Hidden> Tree::hidden(NodeId id) const {
  return impl_->read([&](const store::Store& store) {
    Hidden out;
    for (const auto& name : names_of(store, id)) {
      const bool other = name.server && name.server != id && (name.flags & kGoing) == 0;
      out.hides = out.hides || (name.local == id && other);
    }
    if (!node_of(store, id).is_folder()) return out;
    need(store.list(id, 0, [&](const Name& name) {
      if (!name.local && (name.flags & store::kAbsent) != 0) ++out.absent;
      return true;
    }));
    return out;
  });
}

// ---- changes made here

Result<NodeId> Tree::make(NodeId folder, std::string_view name, Kind kind, std::uint32_t mode,
                          const Maker& maker, std::string_view target) {
  return impl_->change([&](Edit& edit) {
    return fusefs::make(edit, folder, std::string(name), kind, mode, maker, target);
  });
}

Result<NodeId> Tree::make_special(NodeId folder, std::string_view name, Kind kind,
                                  std::uint64_t device, std::uint32_t mode, const Maker& maker) {
  return impl_->change([&](Edit& edit) {
    const auto id = fusefs::make(edit, folder, std::string(name), kind, mode, maker, {});
    edit.change(id, [&](Node& n) { n.device = device; });
    return id;
  });
}

Result<NodeId> Tree::make_nameless(NodeId folder, std::uint32_t mode, const Maker& maker) {
  return impl_->change([&](Edit& e) { return fusefs::make_nameless(e, folder, mode, maker); });
}

Result<> Tree::link(NodeId id, NodeId folder, std::string_view name) {
  return impl_->change([&](Edit& e) { fusefs::link(e, id, folder, std::string(name)); });
}

Result<> Tree::unlink(NodeId folder, std::string_view name) {
  return impl_->change([&](Edit& e) { fusefs::unlink(e, folder, std::string(name)); });
}

Result<> Tree::remove_folder(NodeId folder, std::string_view name) {
  return impl_->change([&](Edit& e) { fusefs::remove_folder(e, folder, std::string(name)); });
}

Result<> Tree::rename(NodeId from, std::string_view name, NodeId to, std::string_view new_name,
                      unsigned flags) {
  return impl_->change([&](Edit& edit) {
    fusefs::rename(edit, from, std::string(name), to, std::string(new_name), flags);
  });
}

Result<> Tree::set_attributes(NodeId id, const AttributeChange& change) {
  return impl_->change([&](Edit& edit) { fusefs::set_attributes(edit, id, change); });
}

Result<> Tree::set_xattr(NodeId id, std::string_view name, std::string_view value, int flags) {
  return impl_->change(
      [&](Edit& edit) { fusefs::set_xattr(edit, id, std::string(name), value, flags); });
}

Result<> Tree::remove_xattr(NodeId id, std::string_view name) {
  return impl_->change([&](Edit& edit) { fusefs::remove_xattr(edit, id, std::string(name)); });
}

Result<> Tree::set_pin(NodeId id, Pin pin) {
  return impl_->change([&](Edit& edit) { edit.change(id, [&](Node& n) { n.pin = pin; }); });
}

// ---- content

std::uint64_t Tree::new_content_number() {
  auto& numbers = impl_->core.content_numbers;
  if (numbers.next == numbers.end) {
    const auto reserved = impl_->change([](Edit& edit) { return reserve_content_numbers(edit); });
    if (!reserved) return 0;
    numbers = *reserved;
  }
  return numbers.next++;
}

Result<> Tree::empty_content(NodeId id) {
  return impl_->change([&](Edit& edit) { fusefs::empty_content(edit, id); });
}

Result<> Tree::set_content(NodeId id, std::uint64_t number, bool open_for_write) {
  return impl_->change([&](Edit& edit) {
    const auto former = edit.node(id).content;
    if (former != 0 && former != number) edit.effects.contents_to_remove.push_back(former);
    edit.change(id, [&](Node& n) { n.content = number; });
    if (open_for_write) fusefs::set_open_for_write(edit, id, true);
  });
}

Result<> Tree::content_written(NodeId id, std::uint64_t size, std::optional<WallNs> mtime) {
  return impl_->change([&](Edit& edit) { fusefs::content_written(edit, id, size, mtime); });
}

Result<> Tree::content_written_whole(NodeId id, std::uint64_t size) {
  return impl_->change([&](Edit& edit) {
    fusefs::set_here(edit, id, {}, true, false);
    fusefs::content_written(edit, id, size);
  });
}

Result<> Tree::set_here(NodeId id, ByteView extents, bool whole, bool settled) {
  return impl_->change([&](Edit& edit) { fusefs::set_here(edit, id, extents, whole, settled); });
}

Result<bool> Tree::content_lost(NodeId id) {
  return impl_->change([&](Edit& edit) { return fusefs::content_lost(edit, id); });
}

Result<> Tree::set_sparse(NodeId id) {
  return impl_->change(
      [&](Edit& edit) { edit.change(id, [](Node& n) { n.set(store::kSparse); }); });
}

Result<> Tree::set_unsynced(NodeId id, bool on) {
  return impl_->change(
      [&](Edit& edit) { edit.change(id, [&](Node& n) { n.set(store::kUnsynced, on); }); });
}

Result<> Tree::set_hash(NodeId id, std::uint64_t hash) {
  return impl_->change([&](Edit& edit) {
    edit.change(id, [&](Node& n) {
      n.hash = hash;
      n.hash_known = true;
    });
  });
}

namespace {

/// What cannot be read is wanted later: the next call tries again.
void each_in(const store::Store& store, Table table, std::uint64_t argument,
             const std::function<bool(NodeId)>& visit) {
  (void)store.scan(table, argument, 0, [&](std::uint64_t, const store::Cell& cell) {
    return visit(unpack_node(cell));
  });
}

}  // namespace

void Tree::pulls(const std::function<bool(NodeId)>& visit) const {
  each_in(impl_->core.store(), Table::pulls, 0, visit);
}

void Tree::unsure(const std::function<bool(NodeId)>& visit) const {
  each_in(impl_->core.store(), Table::unsettled, kUnsureTable, visit);
}

void Tree::in_doubt(const std::function<bool(NodeId)>& visit) const {
  each_in(impl_->core.store(), Table::unsettled, kInDoubtTable, visit);
}

Result<> Tree::set_open_for_write(NodeId id, bool on) {
  return impl_->change([&](Edit& edit) { fusefs::set_open_for_write(edit, id, on); });
}

Result<> Tree::set_status(NodeId id, Status to) {
  return impl_->change([&](Edit& edit) { fusefs::set_status(edit, id, to); });
}

Result<> Tree::detach(NodeId id) {
  return impl_->change([&](Edit& edit) { fusefs::detach(edit, id); });
}

Result<> Tree::list_anew(NodeId folder) {
  return impl_->change(
      [&](Edit& edit) { edit.change(folder, [](Node& n) { n.set(store::kListed, false); }); });
}

Result<bool> Tree::names_wait(NodeId id) const {
  return impl_->read([&](const store::Store& store) {
    const auto node = node_of(store, id);
    return node.entry && has_open_names(store, id);
  });
}

// ---- the server's side

Result<> Tree::listed_by_server(NodeId folder, const std::vector<proto::NamedEntry>& entries,
                                bool settles) {
  // In slices, for a transaction is bounded.  One that breaks off leaves names that are true, and
  // the folder as one that is still to be listed.
  std::span<const proto::NamedEntry> rest(entries);
  do {
    const auto slice = rest.first(std::min(rest.size(), kListedAtOnce));
    rest = rest.subspan(slice.size());
    const auto done = impl_->change([&](Edit& edit) {
      const bool goes_on = names_listed(edit, folder, slice);
      if (goes_on && rest.empty()) all_names_listed(edit, folder, entries, settles);
      return goes_on;
    });
    if (!done) return pass(done.error());
    if (!*done) return {};
  } while (!rest.empty());
  return {};
}

Result<> Tree::changed_by_server(const proto::Change& change) {
  return impl_->change([&](Edit& edit) { fusefs::changed_by_server(edit, change); });
}

Result<> Tree::entry_from_server(const proto::Entry& entry) {
  return impl_->change([&](Edit& edit) {
    const auto id = find_entry(edit.core.store(), entry.id);
    if (id) edit.answered(*id, store::kUnsure);
    fusefs::entry_from_server(edit, entry);
  });
}

Result<> Tree::entry_gone(EntryId entry) {
  return impl_->change([&](Edit& edit) { fusefs::entry_gone(edit, entry); });
}

std::vector<NodeId> Tree::listed_folders() const {
  return fusefs::listed_folders(impl_->core.store());
}

Result<proto::FolderSummary> Tree::folder_summary(NodeId folder) const {
  return impl_->read(
      [&](const store::Store& store) { return fusefs::folder_summary(store, folder); });
}

Result<> Tree::doubt(NodeId folder) {
  return impl_->change([&](Edit& edit) { edit.relist(folder); });
}

Result<> Tree::doubt_entry(NodeId id) {
  return impl_->change([&](Edit& edit) {
    if (edit.find(id)) edit.unsure(id);
  });
}

Result<> Tree::forget_listings() {
  return impl_->change([](Edit& edit) { edit.relist_all(kRootNode); });
}

Result<> Tree::begin_anew() {
  return impl_->change([](Edit& edit) { fusefs::begin_anew(edit); });
}

// ---- the queue

void Tree::queue(const std::function<bool(const Queued&)>& visit) const {
  // A disk that cannot be read shows as a queue that ends early; every change would fail as well.
  (void)impl_->core.store().scan(Table::queue, 0, 0,
                                 [&](std::uint64_t sequence, const store::Cell& cell) {
                                   return visit(unpack_queued(sequence, cell));
                                 });
}

std::optional<Queued> Tree::queued(NodeId id) const {
  const auto found = impl_->read([&](const store::Store& store) {
    const auto node = find_node(store, id);
    return node ? find_queued(store, *node) : std::nullopt;
  });
  return found ? *found : std::nullopt;
}

std::uint64_t Tree::queue_length() const {
  return impl_->core.queue_length;
}

Result<Step> Tree::next_step(NodeId id) const {
  return impl_->read([&](const store::Store& store) {
    const auto under_way = step_under_way(store, id, node_of(store, id));
    return under_way ? *under_way : plan(facts_of(store, id, true));
  });
}

Result<> Tree::step_begins(const Step& step, OpId operation) {
  return impl_->change([&](Edit& edit) { fusefs::step_begins(edit, step, operation); });
}

Result<> Tree::step_done(Step step, const StepReceipt& receipt) {
  return impl_->change([&](Edit& edit) {
    find_folders(edit.core.store(), step);
    fusefs::step_done(edit, step, receipt);
  });
}

Result<> Tree::step_refused(Step step, bool conflict, std::string_view sentence) {
  return impl_->change([&](Edit& edit) {
    find_folders(edit.core.store(), step);
    fusefs::step_refused(edit, step, conflict, sentence);
  });
}

bool Tree::place_taken(Step step) const {
  const auto taken = impl_->read([&](const store::Store& store) {
    find_folders(store, step);
    const auto cell =
        step.place_folder ? find_name(store, step.place_folder, step.place.name) : std::nullopt;
    const bool other =
        cell && cell->server && cell->server != step.node && cell->local == step.node;
    return other && (cell->flags & kGoing) == 0 && node_of(store, cell->server).entry;
  });
  return taken && *taken;
}

Result<> Tree::settle_names(NodeId id) {
  return impl_->change([&](Edit& edit) { fusefs::settle_names(edit, id); });
}

std::optional<Step> Tree::unanswered(NodeId id) const {
  const auto step = impl_->read(
      [&](const store::Store& store) { return step_under_way(store, id, node_of(store, id)); });
  return step ? *step : std::nullopt;
}

Result<> Tree::step_again(Step step) {
  return impl_->change([&](Edit& edit) {
    find_folders(edit.core.store(), step);
    fusefs::step_again(edit, step);
  });
}

Result<> Tree::step_moot(Step step) {
  return impl_->change([&](Edit& edit) {
    find_folders(edit.core.store(), step);
    fusefs::step_moot(edit, step);
  });
}

void Tree::set_active(NodeId id, State active, bool on) {
  auto& own = impl_->core.activity[id];
  auto& count = active == State::pulling   ? own.own_pulling
                : active == State::pushing ? own.own_pushing
                                           : own.own_waiting;
  if (!on && count == 0) return;
  count += on ? 1u : -1u;
  impl_->core.activity_moved = true;
  if (!own.owns()) impl_->core.activity.erase(id);
}

Result<> Tree::unused(NodeId id) {
  return impl_->change([&](Edit& edit) {
    const auto node = edit.find(id);
    if (node && node->has(store::kOrphan)) edit.touch(id);
  });
}

}  // namespace ebb::fusefs
