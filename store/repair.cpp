#include "store/repair.h"

#include <algorithm>
#include <cerrno>
#include <unordered_set>
#include <utility>

#include <fmt/format.h>

#include "store/check.h"
#include "store/check_client.h"
#include "store/errors.h"
#include "store/replacing.h"
#include "store/salvage.h"

namespace ebb::store {
namespace {

constexpr std::size_t kChangesAtOnce = 500;
constexpr const char* kPurpose = "check --repair";
constexpr auto kLastTable = Table::access_times;

/// Gives a new store the secret of the old one, so that cookies stay what they were.
class OneSecret final : public Random {
 public:
  explicit OneSecret(std::optional<std::uint64_t> secret) : secret_(secret) {}
  std::uint64_t next() override { return secret_ ? *secret_ : system_random().next(); }

 private:
  const std::optional<std::uint64_t> secret_;
};

/// Carries all that can be read into a new store.  Node ids stay.
class Rebuild {
 public:
  Rebuild(Salvage& old, Store& fresh) : old_(old), fresh_(fresh) {}

  Result<> run() {
    slots_ = old_.nodes();
    if (auto r = make_nodes(); !r) return r;
    if (auto r = names_and_cells(); !r) return r;
    if (auto r = free_rest(); !r) return r;
    if (auto r = reach_sequence(); !r) return r;
    return fresh_.checkpoint();
  }
  std::vector<NodeId> nodes() const {
    std::vector<NodeId> out;
    for (const auto& slot : slots_) {
      if (slot.node) out.push_back(slot.id);
    }
    return out;
  }

 private:
  /// Calls step(transaction) until it says that it is done, many times a transaction.
  template <class Step>
  Result<> in_transactions(Step step) {
    for (bool more = true; more;) {
      Transaction t(fresh_);
      for (std::size_t i = 0; more && i < kChangesAtOnce; ++i) {
        auto r = step(t);
        if (!r) return pass(r.error());
        more = *r;
      }
      if (auto r = t.commit(); !r) return r;
      if (fresh_.wants_checkpoint()) {
        if (auto r = fresh_.checkpoint(); !r) return r;
      }
    }
    return {};
  }

  Result<> make_nodes() {
    std::size_t at = 0;
    auto r = in_transactions([&](Transaction& t) -> Result<bool> {
      if (at == slots_.size()) return false;
      auto made = make_node(t, slots_[at++]);
      if (!made) return pass(made.error());
      return true;
    });
    if (!r) return r;
    Transaction t(fresh_);
    if (auto root = old_.node(kRootNode)) {
      if (auto put = fill(t, kRootNode, *root); !put) return put;
    } else {
      old_.lose("the record of the root is lost");
    }
    return t.commit();
  }

  /// Records are used in order.  One that was free is dropped again, and has the next generation
  /// then.
  Result<> make_node(Transaction& t, Salvage::Slot& slot) {
    const auto kind = slot.node ? slot.node->kind : Kind::file;
    const auto generation = slot.id.generation();
    auto id = t.make_node(kind, slot.node || generation == 0 ? generation : generation - 1);
    if (!id) return pass(id.error());
    if (id->index() != slot.id.index()) return fail(Errc::corrupt, "records out of order");
    slot.id = *id;
    if (slot.node) kept_.insert(id->value);
    return slot.node ? fill(t, *id, *slot.node) : Result<>{};
  }

  Result<> fill(Transaction& t, NodeId id, Node node) {
    if (node.is_folder()) node.set(kListed, false);  // a name of it may be lost: the server says
    if (auto r = t.put(id, node); !r) return r;
    for (int i = 0; i < kTexts; ++i) {
      const auto text = old_.text(id, static_cast<Text>(i));
      if (text.empty()) continue;
      if (auto r = t.set_text(id, static_cast<Text>(i), text); !r) return r;
    }
    return {};
  }

  Result<> names_and_cells() {
    std::vector<std::pair<Key, Cell>> cells;
    old_.each_cell([&](const Key& key, const Cell& cell) { cells.emplace_back(key, cell); });
    std::size_t at = 0;
    return in_transactions([&](Transaction& t) -> Result<bool> {
      if (at == cells.size()) return false;
      const auto& [key, cell] = cells[at++];
      auto r = key.owner >> 63 == 0 ? put_name(t, key, cell) : put_cell(t, key, cell);
      if (!r) return pass(r.error());
      return true;
    });
  }

  Result<> put_name(Transaction& t, const Key& key, const Cell& cell) {
    const auto name = old_.name(key, cell);
    if (!name) return {};
    const auto folder = fresh_.node(name->folder);
    const bool held = kept_.contains(key.owner) && folder && folder->is_folder();
    bool bound = false;
    for (const auto side : {Side::local, Side::server}) {
      const auto node = name->at(side);
      if (!node) continue;
      if (!held || !kept_.contains(node.value)) {
        old_.lose(fmt::format("'{}' in folder {:x}: its {} is lost", name->text, key.owner,
                              held ? "record" : "folder"));
        continue;
      }
      if (auto r = t.bind(name->folder, name->text, side, node); !r) return r;
      bound = true;
    }
    if (!bound || name->flags == 0) return {};
    return t.set_name_flags(name->folder, name->text, name->flags);
  }

  Result<> put_cell(Transaction& t, const Key& key, const Cell& cell) {
    const auto table = static_cast<Table>((key.owner << 1) >> 49);
    if (table == Table::links || table == Table::names || table > kLastTable) return {};
    return t.put_cell(table, key.owner & ((std::uint64_t{1} << 48) - 1), key.item, cell);
  }

  Result<> free_rest() {
    std::size_t at = 0;
    return in_transactions([&](Transaction& t) -> Result<bool> {
      while (at < slots_.size() && slots_[at].node) ++at;
      if (at == slots_.size()) return false;
      if (auto r = t.drop_node(slots_[at++].id); !r) return pass(r.error());
      return true;
    });
  }

  Result<> reach_sequence() {
    const auto last = old_.sequence();
    Transaction t(fresh_);
    for (auto given = fresh_.sequence(); given < last; ++given) (void)t.next_sequence();
    return t.commit();
  }

  Salvage& old_;
  Store& fresh_;
  std::vector<Salvage::Slot> slots_;
  std::unordered_set<std::uint64_t> kept_{
      kRootNode.value};  // the others are placeholders until the end
};

Result<std::string> free_name(FileIo& io, const std::string& wanted) {
  for (int i = 1;; ++i) {
    const auto path = i == 1 ? wanted : fmt::format("{}-{}", wanted, i);
    auto there = io.exists(path);
    if (!there) return pass(there.error());
    if (!*there) return path;
  }
}

/// From the copy of the damaged store into the fresh one.
Result<std::vector<NodeId>> rebuild(FileIo& io, const std::string& from, const std::string& to,
                                    RepairReport& report) {
  Salvage old(io, from, report.done);
  if (auto r = old.open(); !r) return pass(r.error());
  OneSecret random(old.secret());
  StoreOptions options;
  options.tree = old.tree();
  options.random = &random;
  options.purpose = kPurpose;
  auto fresh = Store::open(io, to, options);
  if (!fresh) return pass(fresh.error());
  Rebuild work(old, **fresh);
  if (auto r = work.run(); !r) return pass(r.error());
  return work.nodes();
}

Result<std::vector<NodeId>> rebuild_beside(FileIo& io, const std::string& folder,
                                           RepairReport& report) {
  auto held = io.lock(folder + "/lock", kPurpose);
  if (!held) return pass(held.error());
  auto kept = free_name(io, folder + ".damaged");
  if (!kept) return pass(kept.error());
  if (auto r = copy_store(io, folder, *kept); !r) return pass(r.error());
  auto fresh = prepare_replacement(io, folder);
  if (!fresh) return pass(fresh.error());
  auto nodes = rebuild(io, *kept, *fresh, report);
  if (!nodes) return nodes;
  if (auto r = declare_replacement(io, folder); !r) return pass(r.error());
  if (auto r = replace(io, folder); !r) return pass(r.error());
  report.kept_as = *kept;
  return nodes;
}

Result<bool> sound(FileIo& io, const std::string& folder, RepairReport& report) {
  auto found = check(io, folder);
  if (found) {
    report.done = found->problems;
    return found->clean();
  }
  if (found.error().code != Errc::corrupt) return pass(found.error());
  report.done.push_back(found.error().message());
  return false;
}

}  // namespace

Result<RepairReport> repair(FileIo& io, const std::string& folder, bool client) {
  RepairReport report;
  auto whole = sound(io, folder, report);
  if (!whole) return pass(whole.error());
  std::vector<NodeId> nodes;
  if (!*whole) {
    auto found = rebuild_beside(io, folder, report);
    if (!found) return pass(found.error());
    nodes = std::move(*found);
  }
  if (!client) return report;
  StoreOptions options;
  options.create = false;
  options.purpose = kPurpose;
  auto store = Store::open(io, folder, options);
  if (!store) return pass(store.error());
  if (auto r = mend_client(**store, nodes, report.done); !r) return pass(r.error());
  if (auto r = (*store)->checkpoint(); !r) return pass(r.error());
  return report;
}

}  // namespace ebb::store
