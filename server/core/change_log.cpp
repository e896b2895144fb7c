#include "server/core/change_log.h"

#include <algorithm>
#include <vector>

#include "server/core/cells.h"

namespace ebb::server {

using store::Cell;
using store::Table;

namespace {

constexpr std::size_t kInline = 12;
constexpr std::uint64_t kNameCells = 8;  // keys of argument 1 for each sequence
constexpr std::size_t kTrimmedAtOnce =
    8;  // so that one change costs little, however long the tail is

struct ChangeCell {
  Le<std::uint8_t> kind;        //  0  proto::ChangeKind
  Le<std::uint8_t> name_size;   //  1
  Le<std::uint16_t> zero;       //  2
  char name[kInline];           //  4  its first bytes
  Le<std::uint64_t> client;     // 16
  Le<std::uint64_t> operation;  // 24
  Le<std::uint64_t> entry;      // 32
  Le<std::uint64_t> folder;     // 40
};
static_assert(sizeof(ChangeCell) == 48);

}  // namespace

Result<ChangeLog> ChangeLog::open(store::Store& store, std::uint64_t changes_max) {
  ChangeLog log(store, changes_max);
  auto floor = store.cell(Table::settings, 0, static_cast<std::uint64_t>(Setting::log_floor));
  if (!floor) return pass(floor.error());
  if (*floor) log.floor_ = from_cell<Le<std::uint64_t>>(**floor);
  return log;
}

Result<Seq> ChangeLog::append(store::Transaction& tx, Record record) {
  const std::uint64_t sequence = tx.next_sequence();
  ChangeCell cell{};
  cell.kind = static_cast<std::uint8_t>(record.kind);
  cell.name_size = static_cast<std::uint8_t>(record.name.size());
  std::copy_n(record.name.begin(), std::min(kInline, record.name.size()), cell.name);
  cell.client = record.origin.client.value;
  cell.operation = record.origin.operation.value;
  cell.entry = record.entry.value;
  cell.folder = record.folder.value;
  if (auto ok = tx.put_cell(Table::changes, 0, sequence, to_cell(cell)); !ok) {
    return pass(ok.error());
  }
  std::uint64_t key = sequence * kNameCells;
  for (std::size_t at = kInline; at < record.name.size(); at += sizeof(Cell)) {
    Cell rest{};
    const auto part = as_bytes(record.name).subspan(at);
    std::copy_n(part.begin(), std::min(part.size(), rest.size()), rest.begin());
    if (auto ok = tx.put_cell(Table::changes, 1, key++, rest); !ok) return pass(ok.error());
  }
  if (auto ok = trim(tx, sequence); !ok) return pass(ok.error());
  return Seq{sequence};
}

Result<> ChangeLog::trim(store::Transaction& tx, std::uint64_t newest) {
  if (newest <= max_) return {};
  std::vector<std::pair<std::uint64_t, bool>> old;  // sequence, has a long name
  auto ok = store_->scan(Table::changes, 0, 0, [&](std::uint64_t key, const Cell& cell) {
    if (key > newest - max_ || old.size() == kTrimmedAtOnce) return false;
    old.emplace_back(key, from_cell<ChangeCell>(cell).name_size > kInline);
    return true;
  });
  if (!ok || old.empty()) return ok;
  for (const auto& [sequence, long_name] : old) {
    if (auto done = tx.erase_cell(Table::changes, 0, sequence); !done) return done;
    for (std::uint64_t i = 0; long_name && i < kNameCells; ++i) {
      const std::uint64_t key = sequence * kNameCells + i;
      auto there = store_->cell(Table::changes, 1, key);
      if (!there) return pass(there.error());
      if (!*there) break;
      if (auto done = tx.erase_cell(Table::changes, 1, key); !done) return done;
    }
  }
  // Even if the transaction is taken back: to reach back less far is always right.
  floor_ = old.back().first;
  return tx.put_cell(Table::settings, 0, static_cast<std::uint64_t>(Setting::log_floor),
                     to_cell(Le<std::uint64_t>(floor_)));
}

Result<> ChangeLog::read(Seq sequence, Seq last,
                         const std::function<bool(const Record&)>& visit) const {
  Result<> inner;
  auto ok =
      store_->scan(Table::changes, 0, sequence.value + 1, [&](std::uint64_t key, const Cell& raw) {
        if (key > last.value) return false;
        const auto cell = from_cell<ChangeCell>(raw);
        Record record;
        record.sequence = Seq{key};
        record.kind = static_cast<proto::ChangeKind>(std::uint8_t{cell.kind});
        record.entry = NodeId{cell.entry};
        record.folder = NodeId{cell.folder};
        record.origin = {ClientId{cell.client}, OpId{cell.operation}};
        const std::size_t size = cell.name_size;
        record.name.assign(cell.name, std::min(size, kInline));
        for (std::uint64_t i = 0; record.name.size() < size; ++i) {
          auto rest = store_->cell(Table::changes, 1, key * kNameCells + i);
          if (!rest || !*rest) {
            inner = rest ? fail_errno(EIO, "change log") : Result<>(pass(rest.error()));
            return false;
          }
          record.name.append(as_text(**rest).substr(0, size - record.name.size()));
        }
        return visit(record);
      });
  return ok ? inner : ok;
}

}  // namespace ebb::server
