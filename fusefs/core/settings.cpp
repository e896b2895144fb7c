#include "fusefs/core/settings.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace ebb::fusefs {
namespace {

using store::Cell;
using store::Table;

// Table::settings, argument kFacts: one cell a fact.  The other arguments are small tables of their
// own.
constexpr std::uint64_t kFacts = 100;
constexpr std::uint64_t kTransitions = 101;
constexpr std::uint64_t kFactClient = 1;
constexpr std::uint64_t kFactTree = 2;
constexpr std::uint64_t kFactSeen = 3;
constexpr std::uint64_t kFactOperation = 4;

constexpr std::uint64_t kOperationBlock = 1024;

std::uint64_t number_at(const Cell& cell, std::size_t offset) {
  std::uint64_t value = 0;
  std::memcpy(&value, cell.data() + offset, sizeof value);
  return value;
}

}  // namespace

Result<> Settings::load(store::Store& store, Random& random) {
  store_ = &store;
  const auto visit = [&](std::uint64_t key, const Cell& cell) {
    if (key == kFactClient) client_ = ClientId(number_at(cell, 0));
    if (key == kFactTree) std::memcpy(tree_.bytes.data(), cell.data(), tree_.bytes.size());
    if (key == kFactSeen) epoch_ = Epoch(number_at(cell, 0)), sequence_ = Seq(number_at(cell, 8));
    if (key == kFactOperation) operation_ = operation_reserved_ = number_at(cell, 0);
    return true;
  };
  if (auto read = store.scan(Table::settings, kFacts, 0, visit); !read) return read;
  if (client_) return {};
  client_ = ClientId((random.next() & ((std::uint64_t{1} << 48) - 1)) | 1);
  return put(kFacts, kFactClient, bytes_of(client_.value));
}

Result<> Settings::set_tree(TreeId tree) {
  if (auto done = put(kFacts, kFactTree, bytes_of(tree.bytes)); !done) return done;
  tree_ = tree;
  return {};
}

Result<> Settings::set_seen(Epoch epoch, Seq sequence) {
  if (epoch == epoch_ && sequence == sequence_) return {};
  const std::uint64_t both[2] = {epoch.value, sequence.value};
  if (auto done = put(kFacts, kFactSeen, bytes_of(both)); !done) return done;
  epoch_ = epoch;
  sequence_ = sequence;
  return {};
}

Result<OpId> Settings::next_operation() {
  if (operation_ == operation_reserved_) {
    const std::uint64_t reserved = operation_reserved_ + kOperationBlock;
    if (auto done = put(kFacts, kFactOperation, bytes_of(reserved)); !done) {
      return pass(done.error());
    }
    operation_reserved_ = reserved;
  }
  return OpId(++operation_);
}

Result<> Settings::add_transition(const StoredTransition& transition) {
  const std::uint64_t all[3] = {transition.node.value, static_cast<std::uint64_t>(transition.to),
                                static_cast<std::uint64_t>(transition.plan)};
  return put(kTransitions, transition.node.value, bytes_of(all));
}

Result<> Settings::remove_transition(NodeId node) {
  return erase(kTransitions, node.value);
}

std::vector<StoredTransition> Settings::transitions() const {
  std::vector<StoredTransition> out;
  const auto visit = [&](std::uint64_t, const Cell& cell) {
    const std::uint64_t to = number_at(cell, 8);
    const std::uint64_t plan = number_at(cell, 16);
    const bool known = to <= static_cast<std::uint64_t>(store::Status::syncmore) &&
                       plan < static_cast<std::uint64_t>(store::kPlans);
    out.push_back({NodeId(number_at(cell, 0)),
                   known ? static_cast<store::Status>(to) : store::Status::untracked,
                   known ? static_cast<store::Plan>(plan) : store::Plan::refused});
    return true;
  };
  const auto read = store_->scan(Table::settings, kTransitions, 0, visit);
  if (!read) out.clear();
  return out;
}

Result<> Settings::put(std::uint64_t argument, std::uint64_t key, ByteView bytes) {
  CHECK(bytes.size() <= Cell{}.size());
  Cell cell{};
  std::copy(bytes.begin(), bytes.end(), cell.begin());
  store::Transaction change(*store_);
  if (auto done = change.put_cell(Table::settings, argument, key, cell); !done) return done;
  return change.commit();
}

Result<> Settings::erase(std::uint64_t argument, std::uint64_t key) {
  store::Transaction change(*store_);
  if (auto done = change.erase_cell(Table::settings, argument, key); !done) return done;
  return change.commit();
}

}  // namespace ebb::fusefs
