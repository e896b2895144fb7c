#include "store/heap.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "store/store.h"

namespace ebb::store {
namespace {

constexpr std::size_t kStringMax = kTextMax + sizeof(TextHead);

}  // namespace

Result<TextSlot> Heap::slot(std::uint32_t index) const {
  if (index < kTextSlotsInPage || index >= live_.fname_used) {
    return pages_.corrupt(FileNo::fname, offset_of(index), "no such slot");
  }
  return pages_.get<TextSlot>(FileNo::fname, offset_of(index));
}

// What is left falls with every slot, so a chain in which bytes went wrong ends.
template <class Visit>
Result<> Heap::walk(std::uint32_t first, Visit&& visit) const {
  std::uint32_t expected = 0;
  for (auto index = first; index != 0;) {
    auto now = slot(index);
    if (!now) return pass(now.error());
    const std::uint32_t left = now->left;
    const std::uint32_t next = now->next;
    const bool good = left > 0 && left <= kStringMax && (expected == 0 || left == expected) &&
                      (next == 0) == (left <= kTextSlotData);
    if (!good) return pages_.corrupt(FileNo::fname, offset_of(index), "bad chain");
    visit(index, *now, left);
    expected = left > kTextSlotData ? left - static_cast<std::uint32_t>(kTextSlotData) : 0;
    index = next;
  }
  return {};
}

Result<Bytes> Heap::read(std::uint32_t first) const {
  Bytes out;
  auto r = walk(first, [&](std::uint32_t, const TextSlot& slot, std::uint32_t left) {
    const auto n = std::min<std::size_t>(left, kTextSlotData);
    const auto* data = reinterpret_cast<const std::byte*>(slot.data);
    out.insert(out.end(), data, data + n);
  });
  if (!r) return pass(r.error());
  return out;
}

Result<> Heap::read_head(std::uint32_t first, std::span<std::byte> out) const {
  CHECK(out.size() <= kTextSlotData);
  auto now = slot(first);
  if (!now) return pass(now.error());
  if (now->left < out.size() || now->left > kStringMax) {
    return pages_.corrupt(FileNo::fname, offset_of(first), "bad chain");
  }
  std::memcpy(out.data(), now->data, out.size());
  return {};
}

Result<> Heap::write_head(std::uint32_t first, ByteView bytes) {
  return pages_.write(FileNo::fname, offset_of(first) + offsetof(TextSlot, data), bytes);
}

Result<std::vector<std::uint32_t>> Heap::slots(std::uint32_t first) const {
  std::vector<std::uint32_t> out;
  auto r = walk(first,
                [&](std::uint32_t index, const TextSlot&, std::uint32_t) { out.push_back(index); });
  if (!r) return pass(r.error());
  return out;
}

Result<std::uint32_t> Heap::take_slot() {
  if (live_.fname_free == 0) {
    if (live_.fname_used >= kTextFree) return fail_errno(ENOSPC, "fname");
    const auto pages = live_.fname_used / kTextSlotsInPage + 1;
    if (auto r = pages_.grow(FileNo::fname, pages); !r) return pass(r.error());
    return static_cast<std::uint32_t>(live_.fname_used++);
  }
  const auto index = static_cast<std::uint32_t>(live_.fname_free);
  auto now = slot(index);
  if (!now) return pass(now.error());
  if (now->left != kTextFree || now->next >= live_.fname_used) {
    return pages_.corrupt(FileNo::fname, offset_of(index), "bad free slot");
  }
  live_.fname_free = now->next;
  return index;
}

Result<std::uint32_t> Heap::write(ByteView bytes) {
  CHECK(!bytes.empty());
  auto next = take_slot();
  if (!next) return next;
  const auto first = *next;
  for (auto index = first; !bytes.empty();) {
    TextSlot slot{};
    slot.left = static_cast<std::uint32_t>(bytes.size());
    const auto n = std::min(bytes.size(), kTextSlotData);
    std::memcpy(slot.data, bytes.data(), n);
    bytes = bytes.subspan(n);
    if (!bytes.empty()) {
      next = take_slot();
      if (!next) return next;
      slot.next = *next;
    }
    if (auto r = pages_.write(FileNo::fname, offset_of(index), bytes_of(slot).first(8 + n)); !r) {
      return pass(r.error());
    }
    index = *next;
  }
  return first;
}

Result<> Heap::free(std::uint32_t first) {
  auto chain = slots(first);
  if (!chain) return pass(chain.error());
  for (const auto index : *chain) {
    TextSlot slot{};
    slot.next = static_cast<std::uint32_t>(live_.fname_free);
    slot.left = kTextFree;
    if (auto r = pages_.write(FileNo::fname, offset_of(index), bytes_of(slot).first(8)); !r) {
      return r;
    }
    live_.fname_free = index;
  }
  return {};
}

}  // namespace ebb::store
