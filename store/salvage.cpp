#include "store/salvage.h"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>

#include "base/hash.h"
#include "store/check.h"
#include "store/journal.h"

namespace ebb::store {

void Salvage::lose(std::string what) {
  if (lost_.size() < kProblemsMax) lost_.push_back(std::move(what));
}

Result<> Salvage::open() {
  if (auto r = fill_gaps(); !r) return r;
  if (auto r = pages_.open(); !r) return r;
  read_slot();
  replay();
  // Everything that there is room for counts as used; what is not sound says so itself.
  live_.mdt_used = (std::max<std::uint64_t>(pages_.capacity(FileNo::mdt), 1) - 1) * kNodesInPage;
  live_.fname_used = pages_.capacity(FileNo::fname) * kTextSlotsInPage;
  live_.dirmap_used = pages_.capacity(FileNo::dirmap);
  return pages_.grow_to_overlay();
}

/// A file that is missing or cut short in its first pages gets empty ones.
Result<> Salvage::fill_gaps() {
  for (const auto* name : kFileNames) {
    const auto path = folder_ + "/" + name;
    auto file = io_.open(path, OpenMode::create);
    if (!file) return pass(file.error());
    auto size = (*file)->size();
    if (!size) return pass(size.error());
    if (*size % kPageSize == 0 && *size >= 2 * kPageSize) continue;
    lose(fmt::format("{} at {}: the file is missing or cut short", path, *size));
    const auto whole = std::max<std::uint64_t>((*size + kPageSize - 1) / kPageSize, 3) * kPageSize;
    if (auto r = (*file)->allocate(whole); !r) return r;
  }
  return {};
}

void Salvage::read_slot() {
  std::uint64_t number = 0;
  for (const std::uint64_t page : {0, 1}) {
    auto slot = pages_.get<CheckpointSlot>(FileNo::super, page * kPageSize);
    if (!slot || slot->magic != kSlotMagic || slot->version != kFormat) continue;
    if (slot->xxh3 != xxh3(bytes_of(*slot).first(offsetof(CheckpointSlot, xxh3)))) continue;
    if (slot->number <= number) continue;
    number = slot->number;
    std::memcpy(tree_id_.bytes.data(), slot->tree, sizeof slot->tree);
    secret_ = slot->secret;
    first_journal_ = slot->first_journal;
    first_sequence_ = slot->first_sequence;
  }
  if (number == 0) lose(fmt::format("{}/super at 0: no checkpoint can be read", folder_));
  for (const auto file : {FileNo::mdt, FileNo::fname, FileNo::dirmap}) {
    if (tree_id_) break;
    auto header = pages_.get<FileHeader>(file, 0);
    if (!header || header->magic != kFileMagic) continue;
    if (header->xxh3 != xxh3(bytes_of(*header).first(offsetof(FileHeader, xxh3)))) continue;
    std::memcpy(tree_id_.bytes.data(), header->tree, sizeof header->tree);
  }
}

/// Without a checkpoint the oldest journal that is there is the first.
void Salvage::replay() {
  if (!secret_) {
    const auto numbers = Journal::list(io_, folder_);
    if (!numbers || numbers->empty()) return;
    auto file = io_.open(folder_ + "/" + Journal::name(numbers->front()), OpenMode::read);
    JournalHeader header{};
    if (!file || !(*file)->read_at(0, std::as_writable_bytes(std::span(&header, 1)))) return;
    if (header.magic != kJournalMagic) return;
    first_journal_ = header.number;
    first_sequence_ = header.first_sequence;
  }
  auto done = replay_journals(io_, folder_, tree_id_, first_journal_, first_sequence_,
                              [this](FileNo file, std::uint64_t offset, ByteView bytes) {
                                return pages_.replay(file, offset, bytes);
                              });
  if (!done) lose(fmt::format("the changes after it are lost: {}", done.error().message()));
}

std::uint64_t Salvage::sequence() {
  Live live;
  auto record = pages_.get<LiveRecord>(FileNo::super, kLivePage * kPageSize);
  constexpr std::uint64_t kSumPlausible = std::uint64_t{1} << 30;  // beyond: damaged, sum and all
  constexpr std::uint64_t kPlausible = std::uint64_t{1} << 28;     // beyond: a damaged number
  if (record && unpack(*record, live) && live.sequence < kSumPlausible) return live.sequence;
  std::uint64_t highest = 0;
  const auto see = [&](std::uint64_t number) {
    if (number < kPlausible) highest = std::max(highest, number);
  };
  for (const auto& slot : nodes()) {
    if (slot.node) see(slot.node->queue_seq);
  }
  each_cell([&](const Key& key, const Cell&) {
    for (const auto table : {Table::queue, Table::changes, Table::intents}) {
      if (key.owner == owner_of(table, 0)) see(key.item);
    }
  });
  constexpr std::uint64_t kSkipped = 1u << 20;  // numbers given that nothing shows any more
  return highest + kSkipped;
}

std::vector<Salvage::Slot> Salvage::nodes() {
  std::vector<Slot> out;
  std::size_t used = 0;
  for (std::uint64_t index = 2; index < live_.mdt_used; ++index) {
    auto record = nodes_.at(index);
    Slot slot;
    if (!record) lose(fmt::format("record {} is lost: {}", index, record.error().message()));
    if (record) slot.id = NodeId::make(index, generation_of(*record));
    if (!record) slot.id = NodeId::make(index, 0);
    if (record && kind_of(*record) != Kind::none) slot.node = node(slot.id);
    out.push_back(slot);
    if (slot.node || !record || generation_of(*record) != 0) used = out.size();
  }
  out.resize(used);
  return out;
}

std::optional<Node> Salvage::node(NodeId id) {
  auto found = nodes_.get(id);
  if (!found) return std::nullopt;
  return *found;
}

Bytes Salvage::text(NodeId id, Text which) {
  auto found = nodes_.text(id, which);
  if (found && found->size() <= kTextMax) return *found;
  lose(fmt::format("node {:x}: text {} is lost", id.value, static_cast<int>(which)));
  return {};
}

void Salvage::each_cell(const std::function<void(const Key&, const Cell&)>& visit) {
  for (std::uint64_t number = 1; number < live_.dirmap_used; ++number) {
    auto head = pages_.get<TreePageHead>(FileNo::dirmap, number * kPageSize);
    if (head && (head->type == 0 || head->type == static_cast<std::uint8_t>(TreePageType::free) ||
                 head->type == static_cast<std::uint8_t>(TreePageType::inner))) {
      continue;  // free, never used, or said again by what is below
    }
    auto page = tree_.page(number);
    if (!page) {
      lose(fmt::format("a page of names and tables is lost: {}", page.error().message()));
      continue;
    }
    for (const auto& [key, cell] : page->cells) visit(key, cell);
  }
}

std::optional<Name> Salvage::name(const Key& key, const Cell& cell) {
  auto name = names_.decode(NodeId(key.owner), key.item, cell);
  if (name) return *name;
  lose(fmt::format("a name is lost: {}", name.error().message()));
  return std::nullopt;
}

}  // namespace ebb::store
