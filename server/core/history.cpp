#include "server/core/history.h"

#include <algorithm>
#include <cerrno>

#include "base/hash.h"
#include "server/core/cells.h"

namespace ebb::server {

using store::Cell;
using store::Table;
using store::Text;

namespace {

constexpr std::uint8_t kLayout = 1;
constexpr std::uint64_t kRecords = 0;
constexpr std::uint64_t kDoomed = 1;
constexpr std::uint64_t kRuns = 2;
constexpr std::uint64_t kByEntry = std::uint64_t{1} << 46;
constexpr std::uint64_t kByPath = std::uint64_t{1} << 47;

std::uint64_t by_entry(EntryId entry) {
  return kByEntry | NodeId{entry.value}.index();
}

std::uint64_t by_path(const std::string& path) {
  return kByPath | (xxh3(as_bytes(path)) & (kByEntry - 1));
}

Bytes pack(const Kept& kept) {
  Bytes out;
  Writer writer(out);
  writer.number(kLayout)
      .number(kept.number)
      .long_bytes(as_bytes(kept.path))
      .number(static_cast<std::uint8_t>(kept.kind))
      .number(static_cast<std::uint8_t>(kept.deleted))
      .number(kept.entry.value)
      .number(kept.version.value)
      .number(kept.after.value)
      .number(kept.size)
      .number(kept.bytes)
      .number(kept.mode)
      .number(kept.mtime)
      .number(kept.when)
      .number(kept.client.value)
      .short_text(kept.client_name)
      .short_text(kept.file);
  return out;
}

Result<Kept> unpack(ByteView bytes) {
  Kept kept;
  Reader reader(bytes);
  const auto layout = reader.number<std::uint8_t>();
  kept.number = reader.number<std::uint64_t>();
  kept.path = as_text(reader.long_bytes());
  kept.kind = static_cast<proto::EntryKind>(reader.number<std::uint8_t>());
  kept.deleted = reader.number<std::uint8_t>() != 0;
  kept.entry = EntryId{reader.number<std::uint64_t>()};
  kept.version = Version{reader.number<std::uint64_t>()};
  kept.after = Version{reader.number<std::uint64_t>()};
  kept.size = reader.number<std::uint64_t>();
  kept.bytes = reader.number<std::uint64_t>();
  kept.mode = reader.number<std::uint32_t>();
  kept.mtime = reader.number<WallNs>();
  kept.when = reader.number<WallNs>();
  kept.client = ClientId{reader.number<std::uint64_t>()};
  kept.client_name = reader.short_text();
  kept.file = reader.short_text();
  if (!reader.ok() || layout != kLayout) {
    return fail_errno(EIO, "a record of history in the database makes no sense");
  }
  return kept;
}

struct RunCell {
  Le<std::uint64_t> client;  //  0
  Le<std::uint64_t> count;   //  8
  Le<std::uint64_t> begin;   // 16
  Le<std::uint64_t> end;     // 24
};

Cell node_cell(NodeId id) {
  return to_cell(Le<std::uint64_t>(id.value));
}
NodeId node_of(const Cell& cell) {
  return NodeId{from_cell<Le<std::uint64_t>>(cell)};
}

}  // namespace

Result<History> History::open(store::Store& store) {
  History history(store);
  auto ok = store.scan(Table::history, kRuns, 0, [&](std::uint64_t number, const Cell& cell) {
    history.last_run_[ClientId{from_cell<RunCell>(cell).client}] = number;
    return true;
  });
  if (!ok) return pass(ok.error());
  return history;
}

// ---- records

Result<> History::note(store::Transaction& tx, const Kept& kept) {
  auto id = tx.make_node(store::Kind::file);
  if (!id) return pass(id.error());
  const Bytes packed = pack(kept);
  if (auto ok = tx.set_text(*id, Text::extra, packed); !ok) return ok;
  for (const auto argument : {kRecords, by_entry(kept.entry), by_path(kept.path)}) {
    auto ok = tx.put_cell(Table::history, argument, kept.number, node_cell(*id));
    if (!ok) return ok;
  }
  return set_bytes(tx, bytes() + kept.bytes);
}

Result<Kept> History::kept(const Cell& cell) const {
  auto packed = store_->text(node_of(cell), Text::extra);
  if (!packed) return pass(packed.error());
  return unpack(*packed);
}

Result<std::vector<Kept>> History::indexed(std::uint64_t argument, std::size_t most,
                                           const std::function<bool(const Kept&)>& wanted) const {
  std::vector<Kept> out;
  Result<> inner;
  auto ok = store_->scan(Table::history, argument, 0, [&](std::uint64_t, const Cell& cell) {
    auto one = kept(cell);
    if (!one) inner = pass(one.error());
    if (one && wanted(*one)) out.push_back(std::move(*one));
    return inner.has_value();
  });
  if (ok && !inner) ok = inner;
  if (!ok) return pass(ok.error());
  std::reverse(out.begin(), out.end());
  if (out.size() > most) out.resize(most);
  return out;
}

Result<std::vector<Kept>> History::of_path(const std::string& path, std::size_t most) const {
  return indexed(by_path(path), most, [&](const Kept& kept) { return kept.path == path; });
}

Result<std::vector<Kept>> History::of_entry(EntryId entry, std::size_t most) const {
  return indexed(by_entry(entry), most, [&](const Kept& kept) { return kept.entry == entry; });
}

Result<> History::read(std::uint64_t number, const std::function<bool(const Kept&)>& visit) const {
  Result<> inner;
  auto ok = store_->scan(Table::history, kRecords, number, [&](std::uint64_t, const Cell& cell) {
    auto one = kept(cell);
    if (!one) inner = pass(one.error());
    return one && visit(*one);
  });
  return ok ? inner : ok;
}

std::uint64_t History::bytes() const {
  auto cell =
      store_->cell(Table::settings, 0, static_cast<std::uint64_t>(Setting::history_bytes));
  return cell && *cell ? std::uint64_t{from_cell<Le<std::uint64_t>>(**cell)} : 0;
}

Result<> History::set_bytes(store::Transaction& tx, std::uint64_t bytes) {
  return tx.put_cell(Table::settings, 0, static_cast<std::uint64_t>(Setting::history_bytes),
                     to_cell(Le<std::uint64_t>(bytes)));
}

// ---- what goes

Result<bool> History::expire(store::Transaction& tx, WallNs now, std::uint64_t bytes_max,
                             std::size_t most) {
  std::vector<std::pair<Kept, NodeId>> old;
  std::uint64_t left = bytes();
  Result<> inner;
  auto ok = store_->scan(Table::history, kRecords, 0, [&](std::uint64_t, const Cell& cell) {
    auto one = kept(cell);
    if (!one) {
      inner = pass(one.error());
      return false;
    }
    const WallNs age = now - one->when;
    const bool goes = age > kHistoryAge || (age > kHistoryLeast && left > bytes_max);
    if (!goes || old.size() == most) return false;
    left -= std::min(left, one->bytes);
    old.emplace_back(std::move(*one), node_of(cell));
    return true;
  });
  if (ok && !inner) ok = inner;
  if (!ok) return pass(ok.error());
  if (old.empty()) return false;
  for (const auto& [one, node] : old) {
    for (const auto argument : {kRecords, by_entry(one.entry), by_path(one.path)}) {
      ok = tx.erase_cell(Table::history, argument, one.number);
      if (!ok) return pass(ok.error());
    }
    ok = tx.put_cell(Table::history, kDoomed, one.number, node_cell(node));
    if (!ok) return pass(ok.error());
  }
  ok = set_bytes(tx, left);
  if (!ok) return pass(ok.error());
  return true;
}

Result<std::vector<History::Doomed>> History::doomed() const {
  std::vector<Doomed> out;
  Result<> inner;
  auto ok = store_->scan(Table::history, kDoomed, 0, [&](std::uint64_t number, const Cell& cell) {
    auto one = kept(cell);
    if (!one) inner = pass(one.error());
    if (one) out.push_back({number, std::move(one->file)});
    return one.has_value();
  });
  if (ok && !inner) ok = inner;
  if (!ok) return pass(ok.error());
  return out;
}

Result<> History::removed(store::Transaction& tx, std::uint64_t number) {
  auto cell = store_->cell(Table::history, kDoomed, number);
  if (!cell) return pass(cell.error());
  if (!*cell) return {};
  if (auto ok = tx.drop_node(node_of(**cell)); !ok) return ok;
  return tx.erase_cell(Table::history, kDoomed, number);
}

// ---- runs of deletions

Result<std::uint64_t> History::note_deletion(store::Transaction& tx, std::uint64_t number,
                                             ClientId client, WallNs now) {
  std::uint64_t key = number;
  RunCell run{};
  run.client = client.value;
  run.begin = static_cast<std::uint64_t>(now);
  if (const auto last = last_run_.find(client); last != last_run_.end()) {
    auto cell = store_->cell(Table::history, kRuns, last->second);
    if (!cell) return pass(cell.error());
    const auto former = *cell ? from_cell<RunCell>(**cell) : RunCell{};
    const WallNs pause = now - static_cast<WallNs>(std::uint64_t{former.end});
    if (*cell && pause <= kRunGap && pause >= -kRunGap) {
      key = last->second;
      run = former;
    } else if (*cell && former.count < kMassDeletion) {
      auto ok = tx.erase_cell(Table::history, kRuns, last->second);
      if (!ok) return pass(ok.error());
    }
  }
  run.count = run.count + 1;
  run.end = static_cast<std::uint64_t>(now);
  if (auto ok = tx.put_cell(Table::history, kRuns, key, to_cell(run)); !ok) {
    return pass(ok.error());
  }
  last_run_[client] = key;
  if (run.count == kMassDeletion) {
    if (auto ok = forget_runs(tx); !ok) return pass(ok.error());
  }
  return std::uint64_t{run.count};
}

Result<> History::forget_runs(store::Transaction& tx) {
  std::vector<std::uint64_t> all;
  auto ok = store_->scan(Table::history, kRuns, 0, [&](std::uint64_t number, const Cell&) {
    all.push_back(number);
    return true;
  });
  for (std::size_t i = 0; ok && i + kRunsMax < all.size(); ++i) {
    ok = tx.erase_cell(Table::history, kRuns, all[i]);
  }
  return ok;
}

Result<std::vector<DeletionRun>> History::runs() const {
  std::vector<DeletionRun> out;
  auto ok = store_->scan(Table::history, kRuns, 0, [&](std::uint64_t, const Cell& cell) {
    const auto run = from_cell<RunCell>(cell);
    if (run.count >= kMassDeletion) {
      out.push_back({ClientId{run.client}, run.count, static_cast<WallNs>(std::uint64_t{run.begin}),
                     static_cast<WallNs>(std::uint64_t{run.end})});
    }
    return true;
  });
  if (!ok) return pass(ok.error());
  return out;
}

}  // namespace ebb::server
