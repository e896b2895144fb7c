#include "store/leaf.h"

#include <cstring>

namespace ebb::store {

TreeKey packed(Key key) {
  TreeKey out;
  out.owner = key.owner;
  out.item = key.item;
  return out;
}

namespace leaf {
namespace {

static_assert(sizeof(Cell) == kPayload);

std::size_t slots_end(std::size_t count) {
  return offsetof(LeafPage, slots) + count * sizeof(LeafPage{}.slots[0]);
}
const std::byte* bytes(const LeafPage& page) {
  return reinterpret_cast<const std::byte*>(&page);
}
std::byte* bytes(LeafPage& page) {
  return reinterpret_cast<std::byte*>(&page);
}

/// False where the cell is not in the page.
bool head_at(const LeafPage& page, std::size_t index, CellHead& head) {
  const std::size_t at = page.slots[index];
  if (at < slots_end(page.head.count) || at + sizeof head > kPageSize) return false;
  std::memcpy(&head, bytes(page) + at, sizeof head);
  return head.size <= kPayload && at + sizeof head + head.size <= kPageSize;
}

std::size_t whole_size(const LeafPage& page, std::size_t index) {
  CellHead head;
  std::memcpy(&head, bytes(page) + page.slots[index], sizeof head);
  return sizeof head + head.size;
}

std::size_t room(const LeafPage& page) {
  return page.head.bottom - slots_end(page.head.count);
}

}  // namespace

void probe(const LeafPage& page, Key key, const Bounds& bounds, Probe& out) {
  out.valid = out.found = false;
  out.count = page.head.count;
  if (slots_end(out.count) > kPageSize) return;
  CellHead head;
  bool good = true;
  out.index = first_not_below(out.count, key, bounds, [&](std::uint16_t index) {
    if (!head_at(page, index, head)) good = false;
    return good ? key_of(head.key) : Key{};
  });
  if (!good) return;
  if (out.index < out.count) {
    if (!head_at(page, out.index, head)) return;
    out.at = page.slots[out.index];
    out.size = head.size;
    out.key = key_of(head.key);
    out.found = out.key == key;
    out.cell = {};
    std::memcpy(out.cell.data(), bytes(page) + out.at + sizeof head, head.size);
  }
  out.valid = true;
}

bool sound(const LeafPage& page) {
  const std::size_t count = page.head.count;
  const std::size_t bottom = page.head.bottom;
  if (slots_end(count) > bottom || bottom > kPageSize) return false;
  std::size_t sum = page.head.loose;
  for (std::size_t i = 0; i < count; ++i) {
    CellHead head;
    if (page.slots[i] < bottom || !head_at(page, i, head)) return false;
    sum += sizeof head + head.size;
  }
  return sum == kPageSize - bottom;
}

bool copy_front(const LeafPage& page, LeafPage& out) {
  const std::size_t end = slots_end(page.head.count);
  if (end > page.head.bottom || page.head.bottom > kPageSize) return false;
  std::memcpy(&out, &page, end);
  return true;
}

Key key_at(const LeafPage& page, std::size_t index) {
  CellHead head;
  std::memcpy(&head, bytes(page) + page.slots[index], sizeof head);
  return key_of(head.key);
}

Cell cell_at(const LeafPage& page, std::size_t index) {
  CellHead head;
  const auto* at = bytes(page) + page.slots[index];
  std::memcpy(&head, at, sizeof head);
  Cell cell{};
  std::memcpy(cell.data(), at + sizeof head, head.size);
  return cell;
}

std::uint8_t size_of(const Cell& cell) {
  std::size_t size = cell.size();
  while (size > 0 && cell[size - 1] == std::byte{0}) --size;
  return static_cast<std::uint8_t>(size);
}

LeafPage empty() {
  LeafPage page{};
  page.head.type = static_cast<std::uint8_t>(TreePageType::leaf);
  page.head.bottom = static_cast<std::uint16_t>(kPageSize);
  return page;
}

bool fits(const LeafPage& page, std::uint8_t size, bool squeezed) {
  const auto needed = sizeof(page.slots[0]) + sizeof(CellHead) + size;
  const std::size_t loose = page.head.loose;
  return room(page) + (squeezed ? loose : 0) >= needed;
}

void squeeze(LeafPage& page) {
  auto out = empty();
  std::size_t bottom = kPageSize;
  for (std::size_t i = 0; i < page.head.count; ++i) {
    const auto size = whole_size(page, i);
    bottom -= size;
    std::memcpy(bytes(out) + bottom, bytes(page) + page.slots[i], size);
    out.slots[i] = static_cast<std::uint16_t>(bottom);
  }
  out.head.count = page.head.count;
  out.head.bottom = static_cast<std::uint16_t>(bottom);
  page = out;
}

void insert(LeafPage& page, std::size_t index, Key key, const Cell& cell) {
  CellHead head;
  head.key = packed(key);
  head.size = size_of(cell);
  const std::size_t at = page.head.bottom - (sizeof head + head.size);
  std::memcpy(bytes(page) + at, &head, sizeof head);
  std::memcpy(bytes(page) + at + sizeof head, cell.data(), head.size);
  const std::size_t count = page.head.count;
  std::memmove(page.slots + index + 1, page.slots + index, (count - index) * sizeof page.slots[0]);
  page.slots[index] = static_cast<std::uint16_t>(at);
  page.head.count = static_cast<std::uint16_t>(count + 1);
  page.head.bottom = static_cast<std::uint16_t>(at);
}

void erase(LeafPage& page, std::size_t index, std::uint8_t size) {
  const std::size_t count = page.head.count;
  page.head.loose = static_cast<std::uint16_t>(page.head.loose + sizeof(CellHead) + size);
  std::memmove(page.slots + index, page.slots + index + 1,
               (count - index - 1) * sizeof page.slots[0]);
  page.head.count = static_cast<std::uint16_t>(count - 1);
}

std::size_t half(const LeafPage& page) {
  const std::size_t count = page.head.count;
  const std::size_t used = kPageSize - page.head.bottom - page.head.loose;
  std::size_t keep = 0;
  for (std::size_t size = 0; keep + 1 < count && size < used / 2; ++keep) {
    size += whole_size(page, keep);
  }
  return keep;
}

LeafPage split(LeafPage& page, std::size_t keep) {
  auto right = empty();
  std::size_t moved = 0;
  for (auto i = keep; i < page.head.count; ++i) {
    insert(right, i - keep, key_at(page, i), cell_at(page, i));
    moved += whole_size(page, i);
  }
  page.head.count = static_cast<std::uint16_t>(keep);
  page.head.loose = static_cast<std::uint16_t>(page.head.loose + moved);
  return right;
}

}  // namespace leaf
}  // namespace ebb::store
