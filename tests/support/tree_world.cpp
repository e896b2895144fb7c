#include "tests/support/tree_world.h"

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <sstream>

#include "base/check.h"
#include "fusefs/core/planner.h"

namespace ebb::test {

using fusefs::Kind;
using fusefs::State;
using fusefs::Status;
using fusefs::Step;
using fusefs::StepKind;
using store::Name;
using store::Node;

namespace {

template <class T>
void must(const Result<T>& result) {
  if (!result) std::cerr << "unexpected: " << result.error().message() << std::endl;
  CHECK(result.has_value());
}

/// For a person with a seed.
template <class... T>
void trace(const T&... parts) {
  static const bool on = std::getenv("EBB_TRACE") != nullptr;
  if (on) ((std::cerr << parts << ' '), ...) << std::endl;
}

}  // namespace

// ---- the model of the server

ModelServer::ModelServer() {
  entries_[kRootEntry] = {Kind::folder, Version(1), Version(1), 0755, {}};
}

bool ModelServer::is_folder(EntryId id) const {
  const auto it = entries_.find(id);
  return it != entries_.end() && it->second.kind == Kind::folder;
}

bool ModelServer::empty(EntryId folder) const {
  const auto it = names_.lower_bound({folder, ""});
  return it == names_.end() || it->first.first != folder;
}

bool ModelServer::inside(EntryId folder, EntryId other) const {
  if (folder == other) return true;
  for (const auto& [place, entry] : names_) {
    if (entry == folder) return inside(place.first, other);
  }
  return false;
}

std::optional<EntryId> ModelServer::at(EntryId folder, const std::string& name) const {
  const auto it = names_.find({folder, name});
  if (it == names_.end()) return std::nullopt;
  return it->second;
}

std::optional<EntryId> ModelServer::find(const std::string& path) const {
  std::optional<EntryId> at_entry = kRootEntry;
  std::istringstream in(path);
  for (std::string name; at_entry && std::getline(in, name, '/');) at_entry = at(*at_entry, name);
  return at_entry;
}

proto::Entry ModelServer::entry(EntryId id) const {
  const auto& e = entries_.at(id);
  proto::Entry out;
  out.id = id;
  out.kind = static_cast<proto::EntryKind>(e.kind);
  out.size = e.kind == Kind::file ? e.content.size() : 0;
  out.content_version = e.content_version;
  out.attributes_version = e.attributes_version;
  out.attributes.mode = e.mode;
  if (e.kind == Kind::symlink) out.target = e.content;
  return out;
}

std::vector<proto::NamedEntry> ModelServer::list(EntryId folder) const {
  std::vector<proto::NamedEntry> out;
  for (const auto& [place, id] : names_) {
    if (place.first == folder) out.push_back({place.second, entry(id)});
  }
  return out;
}

void ModelServer::tell(proto::ChangeKind kind, const Place& place, EntryId id) {
  proto::Change change;
  change.sequence = Seq(++sequence_);
  change.kind = kind;
  change.place = {place.first, place.second};
  change.entry.id = id;
  if (kind != proto::ChangeKind::name_gone) change.entry = entry(id);
  change.by = by_;
  change.operation = operation_;
  changes.push_back(change);
}

void ModelServer::set_name(EntryId folder, const std::string& name, EntryId id) {
  names_[{folder, name}] = id;
  tell(proto::ChangeKind::name_set, {folder, name}, id);
}

void ModelServer::clear_name(EntryId folder, const std::string& name) {
  const auto id = names_.at({folder, name});
  names_.erase({folder, name});
  tell(proto::ChangeKind::name_gone, {folder, name}, id);
}

void ModelServer::drop_nameless(EntryId id) {
  const bool named =
      std::any_of(names_.begin(), names_.end(), [&](const auto& n) { return n.second == id; });
  if (!named) entries_.erase(id);
}

EntryId ModelServer::make(EntryId folder, const std::string& name, Kind kind,
                          const std::string& content) {
  if (!is_folder(folder) || at(folder, name)) return {};
  const EntryId id(++last_entry_);
  entries_[id] = {kind, next(), Version(sequence_), 0644, content};
  if (kind == Kind::file) history_.insert(content);
  set_name(folder, name, id);
  return id;
}

bool ModelServer::write(EntryId id, const std::string& content) {
  const auto it = entries_.find(id);
  if (it == entries_.end() || it->second.kind != Kind::file) return false;
  it->second.content = content;
  it->second.content_version = it->second.attributes_version = next();
  history_.insert(content);
  tell(proto::ChangeKind::entry_changed, {}, id);
  return true;
}

bool ModelServer::change_mode(EntryId id, std::uint32_t mode) {
  const auto it = entries_.find(id);
  if (it == entries_.end()) return false;
  it->second.mode = mode;
  it->second.attributes_version = next();
  tell(proto::ChangeKind::entry_changed, {}, id);
  return true;
}

bool ModelServer::link(EntryId id, EntryId folder, const std::string& name) {
  if (!has(id) || is_folder(id) || !is_folder(folder) || at(folder, name)) return false;
  set_name(folder, name, id);
  return true;
}

bool ModelServer::rename(EntryId from, const std::string& name, EntryId to,
                         const std::string& new_name) {
  const auto id = at(from, name);
  if (!id || !is_folder(to) || at(to, new_name)) return false;
  if (is_folder(*id) && inside(to, *id)) return false;
  set_name(to, new_name, *id);
  clear_name(from, name);
  return true;
}

bool ModelServer::remove(EntryId folder, const std::string& name) {
  const auto id = at(folder, name);
  if (!id || (is_folder(*id) && !empty(*id))) return false;
  clear_name(folder, name);
  drop_nameless(*id);
  return true;
}

fusefs::StepReceipt ModelServer::receipt(EntryId id) const {
  fusefs::StepReceipt out;
  out.entry = id;
  const auto it = entries_.find(id);
  if (it == entries_.end()) return out;
  out.content_version = it->second.content_version;
  out.attributes_version = it->second.attributes_version;
  return out;
}

bool ModelServer::names_entry(const proto::Place& place, EntryId id) const {
  return at(place.folder, place.name) == id;
}

namespace {

ModelServer::Answer refuse(proto::Errc code) {
  ModelServer::Answer answer;
  answer.code = code;
  return answer;
}

}  // namespace

/// Equal content counts as landed.
ModelServer::Answer ModelServer::adopt(EntryId id, Kind kind, const Sent& sent, proto::Errc code) {
  const auto& there = entries_.at(id);
  const bool equal =
      kind == Kind::file && there.kind == Kind::file && there.content == sent.content;
  if (!equal) return refuse(code);
  change_mode(id, sent.mode);
  return {proto::Errc::ok, receipt(id), sent.content};
}

ModelServer::Answer ModelServer::create(const Step& step, Kind kind, const Sent& sent) {
  if (!is_folder(step.place.folder)) return refuse(proto::Errc::not_found);
  if (const auto there = at(step.place.folder, step.place.name)) {
    return adopt(*there, kind, sent, proto::Errc::exists);
  }
  const auto id = make(step.place.folder, step.place.name, kind, sent.content);
  entries_[id].mode = sent.mode;
  return {proto::Errc::ok, receipt(id), sent.content};
}

ModelServer::Answer ModelServer::push(const Step& step, const Sent& sent) {
  if (!step.entry) return create(step, Kind::file, sent);
  if (!has(step.entry)) return refuse(proto::Errc::not_found);
  if (entries_.at(step.entry).content_version != step.content_version) {
    return adopt(step.entry, Kind::file, sent, proto::Errc::moved_on);
  }
  entries_.at(step.entry).mode = sent.mode;
  write(step.entry, sent.content);
  return {proto::Errc::ok, receipt(step.entry), sent.content};
}

ModelServer::Answer ModelServer::move(const Step& step) {
  if (!names_entry(step.from, step.entry)) return refuse(proto::Errc::not_found);
  if (!is_folder(step.place.folder)) return refuse(proto::Errc::not_found);
  if (at(step.place.folder, step.place.name)) return refuse(proto::Errc::exists);
  if (!rename(step.from.folder, step.from.name, step.place.folder, step.place.name)) {
    return refuse(proto::Errc::would_cycle);
  }
  return {proto::Errc::ok, receipt(step.entry), {}};
}

ModelServer::Answer ModelServer::exchange(const Step& step) {
  if (!names_entry(step.from, step.entry)) return refuse(proto::Errc::not_found);
  if (!names_entry(step.place, step.other_entry)) return refuse(proto::Errc::moved_on);
  if (inside(step.from.folder, step.other_entry) || inside(step.place.folder, step.entry)) {
    return refuse(proto::Errc::would_cycle);
  }
  set_name(step.place.folder, step.place.name, step.entry);
  set_name(step.from.folder, step.from.name, step.other_entry);
  return {proto::Errc::ok, receipt(step.entry), {}};
}

ModelServer::Answer ModelServer::take_away(const Step& step) {
  if (!names_entry(step.from, step.entry)) return refuse(proto::Errc::not_found);
  if (is_folder(step.entry) && !empty(step.entry)) return refuse(proto::Errc::not_empty);
  const auto& e = entries_.at(step.entry);
  if (e.kind == Kind::file && e.content_version != step.content_version) {
    return refuse(proto::Errc::moved_on);
  }
  const auto out = receipt(step.entry);
  remove(step.from.folder, step.from.name);
  return {proto::Errc::ok, out, {}};
}

ModelServer::Answer ModelServer::apply(const Step& step, const Sent& sent) {
  switch (step.kind) {
    case StepKind::push:
      return push(step, sent);
    case StepKind::make_folder:
      return create(step, Kind::folder, {"", sent.mode});
    case StepKind::make_symlink:
      return create(step, Kind::symlink, sent);
    case StepKind::link:
      if (!has(step.entry)) return refuse(proto::Errc::not_found);
      if (at(step.place.folder, step.place.name)) return refuse(proto::Errc::exists);
      if (!link(step.entry, step.place.folder, step.place.name)) {
        return refuse(proto::Errc::not_found);
      }
      return {proto::Errc::ok, receipt(step.entry), {}};
    case StepKind::rename:
      return move(step);
    case StepKind::exchange:
      return exchange(step);
    case StepKind::remove:
      return take_away(step);
    case StepKind::set_attributes:
      if (!has(step.entry)) return refuse(proto::Errc::not_found);
      if (entries_.at(step.entry).attributes_version != step.attributes_version) {
        return refuse(proto::Errc::moved_on);
      }
      change_mode(step.entry, sent.mode);
      return {proto::Errc::ok, receipt(step.entry), {}};
    default:
      CHECK(false);
  }
  return {};
}

ModelServer::Answer ModelServer::execute(const Step& step, OpId operation, const Sent& sent) {
  if (const auto it = answers_.find(operation); it != answers_.end()) return it->second;
  by_ = kWorldClient;
  operation_ = operation;
  const auto answer = apply(step, sent);
  by_ = {};
  operation_ = {};
  ++steps_done_;
  if (answer.code == proto::Errc::ok) answers_[operation] = answer;
  return answer;
}

// ---- the world

TreeWorld::TreeWorld(Status root) : root_(root) {
  start();
}

void TreeWorld::start() {
  auto opened = store::Store::open(*io_, "/state/data", {});
  CHECK(opened.has_value());
  store_ = std::move(*opened);
  fusefs::TreeOptions options;
  options.root = root_;
  options.client = kWorldClient;
  options.host = "here";
  tree_.emplace(fusefs::TreeSeams{*store_, clock, [this](NodeId id) { return in_use.contains(id); },
                                  [this](NodeId id) { return open.contains(id); }},
                options);
  must(tree_->start());
}

void TreeWorld::reopen(bool power_cut) {
  apply_effects();
  if (power_cut) must(store_->sync());
  tree_.reset();
  store_.reset();
  open.clear();
  in_use.clear();
  sent_.clear();
  if (power_cut) {
    io_->crash(++crashes_, FakeFileIo::Crash::lose_unsynced);
  } else {
    io_->kill_process();
  }
  start();
  server.changes.insert(server.changes.begin(), held_.begin(), held_.end());
  held_.clear();
}

std::pair<NodeId, std::string> TreeWorld::split(const std::string& path) {
  const auto slash = path.rfind('/');
  if (slash == path.npos) return {kRootNode, path};
  return {at(path.substr(0, slash)), path.substr(slash + 1)};
}

NodeId TreeWorld::at(const std::string& path) {
  NodeId id = kRootNode;
  std::istringstream in(path);
  for (std::string name; std::getline(in, name, '/');) {
    const auto found = tree_->find(id, name);
    if (!found) return {};
    id = *found;
  }
  return id;
}

std::string TreeWorld::ls(const std::string& path) {
  std::set<std::string> names;
  must(tree_->list(at(path), 0, [&](const fusefs::FolderEntry& e) {
    names.insert(e.name);
    return true;
  }));
  std::string out;
  for (const auto& name : names) out += (out.empty() ? "" : " ") + name;
  return out;
}

Result<NodeId> TreeWorld::make(const std::string& path, Kind kind) {
  const auto [folder, name] = split(path);
  return tree_->make(folder, name, kind, 0644, {});
}

NodeId TreeWorld::file(const std::string& path, const std::string& content) {
  const auto id = *make(path);
  CHECK(write(id, content));
  return id;
}

NodeId TreeWorld::symlink(const std::string& path, const std::string& target) {
  const auto [folder, name] = split(path);
  return *tree_->make(folder, name, Kind::symlink, 0777, {}, target);
}

bool TreeWorld::write(NodeId id, const std::string& content) {
  auto node = *tree_->node(id);
  if (!node.has(store::kWhole) && !pull(id)) return false;
  node = *tree_->node(id);
  if (node.content == 0) {
    must(tree_->set_content(id, tree_->new_content_number()));
    node = *tree_->node(id);
  }
  contents[node.content] = content;
  must(tree_->content_written(id, content.size()));
  return true;
}

Result<> TreeWorld::unlink(const std::string& path) {
  const auto [folder, name] = split(path);
  return tree_->unlink(folder, name);
}

Result<> TreeWorld::rmdir(const std::string& path) {
  const auto [folder, name] = split(path);
  return tree_->remove_folder(folder, name);
}

Result<> TreeWorld::rename(const std::string& from, const std::string& to, unsigned flags) {
  const auto [folder, name] = split(from);
  const auto [other, new_name] = split(to);
  return tree_->rename(folder, name, other, new_name, flags);
}

Result<> TreeWorld::link(const std::string& from, const std::string& to) {
  const auto [folder, name] = split(to);
  return tree_->link(at(from), folder, name);
}

State TreeWorld::state(const std::string& path) {
  const auto id = at(path);
  return tree_->state(id, *tree_->node(id));
}

int TreeWorld::error(const Result<>& result) {
  return result ? 0 : result.error().code.value();
}

// ---- news

void TreeWorld::list(NodeId folder) {
  const auto node = tree_->node(folder);
  if (!node || !node->entry || !server.has(node->entry)) return;
  // On a real connection the changes up to a listing come before it.
  hear();
  const auto fresh = tree_->node(folder);
  if (!fresh || !fresh->entry || !server.has(fresh->entry)) return;
  trace("  list", folder.value);
  must(tree_->listed_by_server(folder, server.list(fresh->entry)));
}

void TreeWorld::list_all() {
  std::vector<NodeId> folders{kRootNode};
  while (!folders.empty()) {
    const auto folder = folders.back();
    folders.pop_back();
    const auto node = tree_->node(folder);
    if (!node || !node->is_folder()) continue;
    if (!node->has(store::kListed) || node->has(store::kInDoubt)) list(folder);
    if (!tree_->node(folder)) continue;
    must(tree_->list(folder, 0, [&](const fusefs::FolderEntry& e) {
      folders.push_back(e.attributes.node);
      return true;
    }));
  }
}

void TreeWorld::hear_one() {
  if (server.changes.empty()) return;
  const auto change = server.changes.front();
  server.changes.pop_front();
  const bool ours = std::any_of(sent_.begin(), sent_.end(), [&](const Sent& s) {
    return change.by == kWorldClient && s.operation == change.operation;
  });
  trace(ours ? "  hold" : "  hear", static_cast<int>(change.kind), change.place.folder.value,
        change.place.name, change.entry.id.value, "v", change.entry.content_version.value, "op",
        change.operation.value);
  if (ours) {
    held_.push_back(change);
  } else {
    must(tree_->changed_by_server(change));
  }
}

void TreeWorld::hear() {
  while (!server.changes.empty()) hear_one();
}

// ---- steps

bool TreeWorld::send(NodeId id) {
  const auto flying = [&](const Sent& s) { return s.step.node == id; };
  if (std::any_of(sent_.begin(), sent_.end(), flying)) return false;
  auto step = tree_->next_step(id);
  if (step && step->kind == StepKind::blocked && !tree_->node(id)->has(store::kError)) {
    must(tree_->settle_names(id));
    step = tree_->next_step(id);
  }
  const auto queued = tree_->queued(id);
  if (!step || !queued || step->kind <= StepKind::blocked) return false;
  const auto operation = queued->operation ? queued->operation : OpId(++last_operation_);
  if (!queued->operation) must(tree_->step_begins(*step, operation));
  const auto node = *tree_->node(id);
  ModelServer::Sent sent{contents[node.content], node.mode};
  if (node.kind == Kind::symlink) sent.content = *tree_->target(id);
  const auto answer = server.execute(*step, operation, sent);
  trace("  send op", operation.value, "kind", static_cast<int>(step->kind), "node", id.value,
        "entry", step->entry.value, step->from.name, "->", step->place.folder.value,
        step->place.name, "code", static_cast<int>(answer.code), sent.content);
  sent_.push_back({*step, operation, answer, sent.content});
  return true;
}

/// As Pushes does it.
void TreeWorld::contradicted(const Sent& sent) {
  const auto& step = sent.step;
  const bool content =
      step.kind == StepKind::push && step.entry && sent.answer.code == proto::Errc::moved_on;
  const bool known = step.kind == StepKind::remove || content || tree_->place_taken(step);
  if (known || ++refusals_[step.node] >= 4) {
    must(tree_->step_refused(step, true, "moved on"));
  } else {
    must(tree_->step_again(step));
  }
  // What stands in the way was perhaps not told while it could have been our own.
  if (step.place_folder) list(step.place_folder);
}

void TreeWorld::deliver(const Sent& sent) {
  const auto& step = sent.step;
  auto receipt = sent.answer.receipt;
  receipt.content_is_ours = sent.answer.landed == sent.content;
  switch (sent.answer.code) {
    case proto::Errc::ok:
      must(tree_->step_done(step, receipt));
      refusals_.erase(step.node);
      break;
    case proto::Errc::not_found:
      must(tree_->step_moot(step));
      break;
    case proto::Errc::moved_on:
    case proto::Errc::exists:
    case proto::Errc::not_empty:
    case proto::Errc::would_cycle:
      contradicted(sent);
      break;
    default:
      must(tree_->step_refused(step, false, "refused"));
  }
}

bool TreeWorld::answer_one() {
  if (sent_.empty()) return false;
  const auto sent = sent_.front();
  sent_.pop_front();
  trace("  answer op", sent.operation.value);
  deliver(sent);
  auto held = std::exchange(held_, {});
  for (const auto& change : held) {
    if (change.operation == sent.operation) {
      must(tree_->changed_by_server(change));
    } else {
      held_.push_back(change);
    }
  }
  return true;
}

bool TreeWorld::send_some() {
  std::vector<NodeId> nodes;
  tree_->queue([&](const fusefs::Queued& queued) {
    nodes.push_back(queued.node);
    return true;
  });
  for (const auto id : nodes) {
    if (send(id)) return true;
  }
  return false;
}

bool TreeWorld::settle() {
  for (int round = 0; round < 5000; ++round) {
    hear();
    list_all();
    apply_effects();
    std::vector<NodeId> wanted;
    tree_->pulls([&](NodeId id) {
      wanted.push_back(id);
      return true;
    });
    for (const auto id : wanted) pull(id);
    if (!answer_one() && !send_some() && server.changes.empty()) return true;
  }
  return false;
}

bool TreeWorld::pull(NodeId id) {
  const auto node = tree_->node(id);
  if (!node || node->kind != Kind::file || !node->entry || !server.has(node->entry)) return false;
  if (node->has(store::kWhole)) return true;
  const auto entry = server.entry(node->entry);
  if (entry.content_version != node->content_base) {
    must(tree_->entry_from_server(entry));
    return false;
  }
  if (node->content == 0) must(tree_->set_content(id, tree_->new_content_number()));
  contents[tree_->node(id)->content] = server.content(node->entry);
  must(tree_->set_here(id, {}, true, true));
  return true;
}

void TreeWorld::apply_effects() {
  auto now = tree_->take_effects();
  for (const auto number : now.contents_to_remove) contents.erase(number);
  for (const auto id : now.wanted) pull(id);
  for (const auto id : now.unsure) {
    const auto node = tree_->node(id);
    if (!node || !node->entry || !server.has(node->entry)) continue;
    must(tree_->entry_from_server(server.entry(node->entry)));
  }
  for (const auto& name : now.names_changed) effects.names_changed.push_back(name);
  for (const auto id : now.replaced) effects.replaced.push_back(id);
  for (const auto id : now.content_changed) effects.content_changed.push_back(id);
  for (const auto id : now.wanted) effects.wanted.push_back(id);
  for (const auto number : now.contents_to_remove) effects.contents_to_remove.push_back(number);
}

std::vector<std::string> TreeWorld::plan_words() {
  static const char* const kWords[] = {"nothing",      "after",    "blocked",        "make_folder",
                                       "make_symlink", "push",     "set_attributes", "link",
                                       "rename",       "exchange", "remove"};
  std::vector<std::string> words;
  tree_->queue([&](const fusefs::Queued& queued) {
    words.emplace_back(kWords[static_cast<int>(tree_->next_step(queued.node)->kind)]);
    return true;
  });
  return words;
}

}  // namespace ebb::test
