#include "server/core/receipts.h"

#include <algorithm>
#include <vector>

#include "base/hash.h"
#include "server/core/cells.h"

namespace ebb::server {

using store::Cell;
using store::Table;

namespace {

struct ReceiptCell {
  Le<std::uint64_t> zero;                //  0
  Le<std::uint64_t> entry;               //  8
  Le<std::uint64_t> content_version;     // 16
  Le<std::uint64_t> attributes_version;  // 24
  Le<std::uint64_t> hash;                // 32
  Le<std::uint64_t> sequence;            // 40
};
static_assert(sizeof(ReceiptCell) == 48);

struct ClientCell {
  Le<std::uint32_t> number;     // 0
  Le<std::uint32_t> name_size;  // 4
  char name[40];                // 8  what it calls itself, its first bytes
};
static_assert(sizeof(ClientCell) == 48);

}  // namespace

Result<std::optional<std::uint64_t>> Receipts::number(ClientId client) const {
  auto cell = store_.cell(Table::clients, 0, client.value);
  if (!cell) return pass(cell.error());
  if (!*cell) return std::optional<std::uint64_t>();
  return std::optional<std::uint64_t>(from_cell<ClientCell>(**cell).number);
}

Result<std::uint64_t> Receipts::number(store::Transaction& tx, ClientId client,
                                       const std::string& name) {
  auto known = number(client);
  if (!known) return pass(known.error());
  if (*known && name.empty()) return **known;
  const auto counter = static_cast<std::uint64_t>(Setting::clients);
  std::uint64_t given = known->value_or(0);
  if (given == 0) {
    auto last = store_.cell(Table::settings, 0, counter);
    if (!last) return pass(last.error());
    given = (*last ? std::uint64_t{from_cell<Le<std::uint64_t>>(**last)} : 0) + 1;
    auto ok = tx.put_cell(Table::settings, 0, counter, to_cell(Le<std::uint64_t>(given)));
    if (!ok) return pass(ok.error());
  }
  ClientCell cell{};
  cell.number = static_cast<std::uint32_t>(given);
  const std::size_t size = std::min(name.size(), sizeof cell.name);
  cell.name_size = static_cast<std::uint32_t>(size);
  std::copy_n(name.begin(), size, cell.name);
  if (auto ok = tx.put_cell(Table::clients, 0, client.value, to_cell(cell)); !ok) {
    return pass(ok.error());
  }
  return given;
}

Result<> Receipts::note_name(store::Transaction& tx, ClientId client, const std::string& name) {
  auto given = number(tx, client, name);
  return given ? Result<>() : pass(given.error());
}

std::string Receipts::name(ClientId client) const {
  if (!client) return "server";
  auto cell = store_.cell(Table::clients, 0, client.value);
  if (!cell || !*cell) return hex16(client.value);
  const auto known = from_cell<ClientCell>(**cell);
  const std::size_t size = std::min<std::size_t>(known.name_size, sizeof known.name);
  return size == 0 ? hex16(client.value) : std::string(known.name, size);
}

Result<std::optional<Receipt>> Receipts::find(ClientId client, OpId operation) const {
  auto table = number(client);
  if (!table) return pass(table.error());
  if (!*table) return std::optional<Receipt>();
  auto raw = store_.cell(Table::receipts, **table, operation.value);
  if (!raw) return pass(raw.error());
  if (!*raw) return std::optional<Receipt>();
  const auto cell = from_cell<ReceiptCell>(**raw);
  return std::optional(Receipt{EntryId{cell.entry}, Version{cell.content_version},
                               Version{cell.attributes_version}, cell.hash, Seq{cell.sequence}});
}

Result<> Receipts::put(store::Transaction& tx, ClientId client, OpId operation,
                       const Receipt& receipt) {
  auto table = number(tx, client, "");
  if (!table) return pass(table.error());
  ReceiptCell cell{};
  cell.entry = receipt.entry.value;
  cell.content_version = receipt.content_version.value;
  cell.attributes_version = receipt.attributes_version.value;
  cell.hash = receipt.hash;
  cell.sequence = receipt.sequence.value;
  return tx.put_cell(Table::receipts, *table, operation.value, to_cell(cell));
}

Result<> Receipts::forget_one(store::Transaction& tx, ClientId client, OpId operation) {
  auto there = find(client, operation);
  if (!there) return pass(there.error());
  if (!*there) return {};
  return tx.erase_cell(Table::receipts, **number(client), operation.value);
}

Result<> Receipts::forget(store::Transaction& tx, ClientId client, OpId answered) {
  auto table = number(client);
  if (!table) return pass(table.error());
  if (!*table) return {};
  std::vector<std::uint64_t> old;
  auto ok = store_.scan(Table::receipts, **table, 0, [&](std::uint64_t key, const Cell&) {
    if (key <= answered.value) old.push_back(key);
    return key <= answered.value;
  });
  if (!ok) return ok;
  for (auto key : old) {
    if (auto done = tx.erase_cell(Table::receipts, **table, key); !done) return done;
  }
  return {};
}

}  // namespace ebb::server
