// What must hold of a tree between calls, and at the end of a run.
#include <algorithm>
#include <functional>

#include "fusefs/core/planner.h"
#include "fusefs/core/rollup.h"
#include "fusefs/core/tree_edit.h"
#include "tests/support/tree_world.h"

namespace ebb::test {

using fusefs::Counts;
using fusefs::Kind;
using fusefs::Status;
using store::Name;
using store::Node;

namespace {

/// One look at the whole tree.
class Check {
 public:
  Check(const store::Store& store, fusefs::Tree& tree) : store_(store), tree_(tree) {}

  std::string run() {
    visit(kRootNode);
    for (const auto& [id, names] : names_) check_node(id);
    check_tables();
    return wrong_;
  }

 private:
  void wrong(NodeId id, const std::string& what) {
    wrong_ += tree_.path(id) + " (" + std::to_string(id.value) + "): " + what + "\n";
  }

  void visit(NodeId folder) {
    if (!names_.emplace(folder, std::vector<Name>{}).second) return;
    std::vector<Name> names;
    (void)store_.list(folder, 0, [&](const Name& name) {
      names.push_back(name);
      return true;
    });
    for (const auto& name : names) check_name(folder, name);
    names_[folder] = names;
    for (const auto& name : names) {
      for (const auto id : {name.local, name.server}) {
        if (!id) continue;
        if (store_.node(id)->is_folder()) {
          visit(id);
        } else {
          names_.emplace(id, std::vector<Name>{});
        }
      }
    }
  }

  void check_name(NodeId folder, const Name& name) {
    const auto above = *store_.node(folder);
    if (name.local) check_belonging(above, name);
    if (name.local == name.server) return;
    const bool going = (name.flags & fusefs::kGoing) != 0;
    const bool absent = (name.flags & store::kAbsent) != 0;
    if (name.server && going && !store_.node(name.server)->has(store::kQueued)) {
      wrong(name.server, "goes and is not queued");
    }
    if (name.server && !going && !name.local && !absent) wrong(name.server, "shown nowhere");
    if (!name.local) return;
    const auto local = *store_.node(name.local);
    const bool waits = local.has(store::kQueued);
    if (fusefs::is_synced(local.status) && !waits) wrong(name.local, "arrives and is not queued");
  }

  void check_belonging(const Node& above, const Name& name) {
    const auto node = *store_.node(name.local);
    if (above.status == Status::local && fusefs::is_synced(node.status)) {
      wrong(name.local, "synced in a local folder");
    }
    if (above.status == Status::remote && node.kind != Kind::symlink &&
        node.status != Status::remote) {
      wrong(name.local, "not remote in a remote folder");
    }
  }

  void check_node(NodeId id) {
    const auto node = *store_.node(id);
    if (node.has(store::kOrphan)) wrong(id, "an orphan with names");
    if (!fusefs::is_synced(node.status) && (node.entry || node.has(store::kQueued))) {
      wrong(id, "local with an entry or in the queue");
    }
    if (node.entry && tree_.of_entry(node.entry) != id) wrong(id, "not the node of its entry");
    const bool waits =
        fusefs::plan(fusefs::facts_of(store_, id, false)).kind != fusefs::StepKind::nothing;
    const auto queued = tree_.queued(id);
    const bool under_way = queued && queued->operation;
    if (waits != queued.has_value() && !under_way) wrong(id, "waits and queue do not agree");
    if (node.is_folder()) check_counts(id, node);
  }

  void check_counts(NodeId id, const Node& node) {
    Counts sum;
    for (const auto& [other, names] : names_) {
      const auto child = *store_.node(other);
      if (other == kRootNode || child.parent != id) continue;
      const auto all = fusefs::all_counts(child);
      sum.error += all.error;
      sum.conflict += all.conflict;
      sum.waiting += all.waiting;
      sum.partial += all.partial;
    }
    const Counts kept{node.beneath_error, node.beneath_conflict, node.beneath_waiting,
                      node.beneath_partial};
    if (sum != kept) wrong(id, "counts are off");
  }

  void check_tables() {
    std::uint64_t length = 0;
    tree_.queue([&](const fusefs::Queued& queued) {
      ++length;
      const auto node = tree_.node(queued.node);
      if (!node || node->queue_seq != queued.sequence) wrong(queued.node, "queued twice");
      return true;
    });
    if (length != tree_.queue_length()) wrong_ += "queue length\n";
    (void)store_.scan(store::Table::entries, 0, 0, [&](std::uint64_t entry, const store::Cell&) {
      const auto id = tree_.of_entry(EntryId(entry));
      const auto node = tree_.node(*id);
      if (!node || node->entry != EntryId(entry)) wrong(*id, "entries table");
      return true;
    });
  }

  const store::Store& store_;
  fusefs::Tree& tree_;
  std::map<NodeId, std::vector<Name>> names_;
  std::string wrong_;
};

}  // namespace

std::string TreeWorld::queue_text() {
  std::string out;
  const auto words = plan_words();
  std::size_t i = 0;
  tree_->queue([&](const fusefs::Queued& queued) {
    const auto step = *tree_->next_step(queued.node);
    const auto node = *tree_->node(queued.node);
    out += words[i++] + " " + std::to_string(queued.node.value) + " kind " +
           std::to_string(static_cast<int>(node.kind)) + " flags " + std::to_string(node.flags) +
           " entry " + std::to_string(node.entry.value) + " other " +
           std::to_string(step.other.value);
    const auto names = *store_->names_of(queued.node);
    for (const auto& name : names) {
      out += " | " + tree_->path(name.folder) + "/" + name.text +
             (name.local == queued.node ? " L" : "") + (name.server == queued.node ? " S" : "") +
             " " + std::to_string(name.local.value) + ":" + std::to_string(name.server.value) +
             " f" + std::to_string(name.flags);
    }
    out += "\n";
    return true;
  });
  return out;
}

std::string TreeWorld::broken() {
  return Check(*store_, *tree_).run();
}

std::string TreeWorld::differences() {
  std::string out;
  std::function<void(NodeId, EntryId, const std::string&)> compare = [&](NodeId folder,
                                                                         EntryId entry,
                                                                         const std::string& path) {
    std::set<std::string> known;
    (void)store_->list(folder, 0, [&](const Name& name) {
      const auto where = path + "/" + name.text;
      const auto there = server.at(entry, name.text);
      if (name.server) known.insert(name.text);
      const auto id = name.server ? name.server : name.local;
      const auto node = *store_->node(id);
      // What is in error stays as it is.
      const auto stuck = [&](NodeId one) { return one && store_->node(one)->has(store::kError); };
      if (stuck(name.local) || stuck(name.server)) return true;
      if (name.server && node.entry != there.value_or(EntryId{})) out += where + " believed\n";
      if (!name.server && fusefs::is_synced(node.status)) out += where + " not there\n";
      if (name.server && name.local != name.server &&
          (!name.local || fusefs::is_synced(store_->node(name.local)->status)) &&
          (name.flags & store::kAbsent) == 0) {
        out += where + " two sides\n";
      }
      if (!name.server || !there) return true;
      const auto& content = server.content(*there);
      if (node.kind == Kind::file && node.has(store::kWhole) && node.content != 0 &&
          contents[node.content] != content) {
        out += where + " content\n";
      }
      if (server.entry(*there).attributes.mode != node.mode) out += where + " mode\n";
      if (node.is_folder()) compare(id, *there, where);
      return true;
    });
    for (const auto& [place, id] : server.names()) {
      if (place.first != entry || known.contains(place.second)) continue;
      const auto name = store_->name(folder, place.second);
      const bool refused = name && name->local && store_->node(name->local)->has(store::kError);
      if (!refused && store_->node(folder)->has(store::kListed)) {
        out += path + "/" + place.second + " not known\n";
      }
    }
  };
  compare(kRootNode, kRootEntry, "");
  return out;
}

}  // namespace ebb::test
