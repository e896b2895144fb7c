#include <cerrno>
#include <utility>

#include "base/check.h"
#include "store/store_impl.h"

namespace ebb::store {
namespace {

constexpr std::uint64_t kArgumentEnd = std::uint64_t{1} << 48;

void expect_table(Table table, std::uint64_t argument) {
  CHECK(table != Table::names && table != Table::links && argument < kArgumentEnd);
}

}  // namespace

void Store::Impl::begin() {
  CHECK(!in_transaction);
  broken.reset();
  // Memory is bounded whether or not the owner makes checkpoints.
  if (over_bound(2)) {
    if (auto r = checkpoint(); !r) broken = r.error();
  }
  in_transaction = true;
  live_before = live;
  pages.begin();
}

Result<> Store::Impl::write_live() {
  return pages.write(FileNo::super, kLivePage * kPageSize, bytes_of(pack(live)));
}

// What this boot claimed without syncing it is sure again only when everything older has been dealt
// with.
void Store::Impl::settle_boot() {
  bool any = false;
  auto r = tree.scan({owner_of(Table::unsettled, 0), 0}, [&](std::uint64_t, const Cell&) {
    any = true;
    return false;
  });
  if (!r || any) return;
  live.boot = boot;
  boot_unsettled = false;
}

Result<> Store::Impl::commit() {
  const auto write = [this]() -> Result<> {
    if (broken) return pass(*broken);
    if (auto r = journal->usable(); !r) return r;
    if (!pages.changed() && live == live_before) return {};
    if (auto r = write_live(); !r) return r;
    return journal->append(pages.redo());
  };
  const bool unsettled_before = boot_unsettled;
  if (!broken && boot_unsettled) settle_boot();
  auto result = write();
  if (!result) {
    boot_unsettled = unsettled_before;
    abort();
    return result;
  }
  pages.keep();
  in_transaction = false;
  return {};
}

void Store::Impl::abort() {
  pages.abort();
  const auto sequence = live.sequence;
  live = live_before;
  live.sequence = sequence;  // a number that was given is not given again
  in_transaction = false;
}

// A change that fails after it has begun leaves half of itself behind, and with it the transaction.
template <class Change>
auto Store::Impl::change(Change make_change) -> decltype(make_change()) {
  if (broken) return pass(*broken);
  const auto size = pages.redo().size();
  const auto before = live;
  auto result = make_change();
  if (!result && (pages.redo().size() != size || !(live == before))) broken = result.error();
  return result;
}

Transaction::Transaction(Store& store) : store_(store) {
  store_.impl_->begin();
}

Transaction::~Transaction() {
  if (open_) store_.impl_->abort();
}

Result<NodeId> Transaction::make_node(Kind kind, std::uint32_t generation) {
  auto& impl = *store_.impl_;
  return impl.change([&] { return impl.nodes.make(kind, generation); });
}

Result<> Transaction::put(NodeId id, const Node& node) {
  auto& impl = *store_.impl_;
  return impl.change([&] { return impl.nodes.put(id, node); });
}

Result<> Transaction::drop_node(NodeId id) {
  auto& impl = *store_.impl_;
  return impl.change([&]() -> Result<> {
    auto record = impl.nodes.record(id);
    if (!record) return pass(record.error());
    if (record->parent_cookie != 0 || id == kRootNode) return fail(Errc::in_use);
    if (kind_of(*record) == Kind::folder) {
      auto any = impl.names.any_in(id);
      if (!any) return pass(any.error());
      if (*any) return fail_errno(ENOTEMPTY);
    }
    return impl.nodes.drop(id, *record);
  });
}

Result<> Transaction::bind(NodeId folder, std::string_view name, Side side, NodeId node) {
  auto& impl = *store_.impl_;
  return impl.change([&] { return impl.names.bind(folder, name, side, node); });
}

Result<> Transaction::set_name_flags(NodeId folder, std::string_view name, std::uint16_t flags) {
  auto& impl = *store_.impl_;
  return impl.change([&] { return impl.names.set_flags(folder, name, flags); });
}

Result<> Transaction::set_text(NodeId id, Text which, ByteView bytes) {
  auto& impl = *store_.impl_;
  return impl.change([&] { return impl.nodes.set_text(id, which, bytes); });
}

Result<> Transaction::put_cell(Table table, std::uint64_t argument, std::uint64_t key,
                               const Cell& cell) {
  expect_table(table, argument);
  auto& impl = *store_.impl_;
  return impl.change([&] { return impl.tree.put({owner_of(table, argument), key}, cell); });
}

Result<> Transaction::erase_cell(Table table, std::uint64_t argument, std::uint64_t key) {
  expect_table(table, argument);
  auto& impl = *store_.impl_;
  return impl.change([&]() -> Result<> {
    auto erased = impl.tree.erase({owner_of(table, argument), key});
    if (!erased) return pass(erased.error());
    return {};
  });
}

Result<> Transaction::erase_cells(Table table, std::uint64_t argument) {
  expect_table(table, argument);
  auto& impl = *store_.impl_;
  const auto owner = owner_of(table, argument);
  return impl.change([&]() -> Result<> {
    Result<> result;
    auto scanned = impl.tree.scan({owner, 0}, [&](std::uint64_t key, const Cell&) {
      auto erased = impl.tree.erase({owner, key});
      if (!erased) result = pass(erased.error());
      return result.has_value();
    });
    return result ? scanned : result;
  });
}

std::uint64_t Transaction::next_sequence() {
  return ++store_.impl_->live.sequence;
}

Result<> Transaction::commit() {
  CHECK(open_);
  open_ = false;
  return store_.impl_->commit();
}

}  // namespace ebb::store
