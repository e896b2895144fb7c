#include "store/tree.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>

#include "base/check.h"

namespace ebb::store {
namespace {

TreeKey packed(Key key) {
  TreeKey out;
  out.owner = key.owner;
  out.item = key.item;
  return out;
}

}  // namespace

/// What one page says about a key.  Trivial: it is filled while the page is guarded.
struct Tree::Probe {
  bool valid;
  bool leaf;
  bool found;
  bool has_upper;
  std::uint8_t level;
  std::uint16_t count;
  std::uint16_t index;  // leaf: where the key is or belongs; inner: the child to take
  std::uint64_t child;
  std::uint64_t used;
  Key upper;
  LeafCell cell;  // leaf: the one at index, with index < count
  std::uint8_t order[kLeafCells];
};

namespace {

// Runs under guard: trivial objects only.
template <class Probe>
void probe_leaf(const LeafPage& page, Key key, Probe& probe) {
  probe.count = page.head.count;
  probe.used = page.head.used;
  if (probe.count > kLeafCells) return;
  std::memcpy(probe.order, page.order, sizeof probe.order);
  std::uint16_t low = 0;
  std::uint16_t high = probe.count;
  while (low < high) {
    const auto middle = static_cast<std::uint16_t>((low + high) / 2);
    if (probe.order[middle] >= kLeafCells) return;
    const auto at = key_of(page.cells[probe.order[middle]].key);
    if (at < key) {
      low = static_cast<std::uint16_t>(middle + 1);
    } else {
      high = middle;
    }
  }
  probe.index = low;
  if (low < probe.count) {
    if (probe.order[low] >= kLeafCells) return;
    const auto& cell = page.cells[probe.order[low]];
    probe.found = key_of(cell.key) == key;
    probe.cell = cell;
  }
  probe.valid = true;
}

template <class Probe>
void probe_inner(const InnerPage& page, Key key, Probe& probe) {
  probe.count = page.head.count;
  if (probe.count == 0 || probe.count > kInnerEntries) return;
  std::uint16_t low =
      1;  // the last entry whose key is not above; the first stands for everything below
  std::uint16_t high = probe.count;
  while (low < high) {
    const auto middle = static_cast<std::uint16_t>((low + high) / 2);
    if (key_of(page.entries[middle].key) <= key) {
      low = static_cast<std::uint16_t>(middle + 1);
    } else {
      high = middle;
    }
  }
  probe.index = static_cast<std::uint16_t>(low - 1);
  probe.child = page.entries[probe.index].child;
  probe.has_upper = low < probe.count;
  if (probe.has_upper) probe.upper = key_of(page.entries[low].key);
  probe.valid = true;
}

}  // namespace

Result<> Tree::probe_page(std::uint64_t page, Key key, Probe& probe) const {
  probe.valid = probe.leaf = probe.found = probe.has_upper = false;
  if (page == 0 || page >= live_.dirmap_used) {
    return pages_.corrupt(FileNo::dirmap, page * kPageSize, "no such page");
  }
  auto r = pages_.look(FileNo::dirmap, page, [&](const std::byte* bytes) {
    const auto& head = *reinterpret_cast<const TreePageHead*>(bytes);
    probe.level = head.level;
    if (head.type == static_cast<std::uint8_t>(TreePageType::leaf) && head.level == 0) {
      probe.leaf = true;
      probe_leaf(*reinterpret_cast<const LeafPage*>(bytes), key, probe);
    } else if (head.type == static_cast<std::uint8_t>(TreePageType::inner) && head.level > 0) {
      probe_inner(*reinterpret_cast<const InnerPage*>(bytes), key, probe);
    }
  });
  if (!r) return r;
  if (!probe.valid) return pages_.corrupt(FileNo::dirmap, page * kPageSize, "bad page");
  return {};
}

Result<> Tree::descend(Key key, Path& path, Probe& probe) const {
  path.depth = 0;
  path.has_upper = false;
  path.leaf = live_.root;
  for (int level = -1;;) {
    if (auto r = probe_page(path.leaf, key, probe); !r) return r;
    if (level >= 0 && probe.level != level - 1) {
      return pages_.corrupt(FileNo::dirmap, path.leaf * kPageSize, "wrong level");
    }
    if (probe.leaf) return {};
    if (path.depth == kDepthMax) {
      return pages_.corrupt(FileNo::dirmap, path.leaf * kPageSize, "too deep");
    }
    level = probe.level;
    if (probe.has_upper) {
      path.has_upper = true;
      path.upper = probe.upper;
    }
    path.inner[static_cast<std::size_t>(path.depth++)] = {path.leaf, probe.index};
    path.leaf = probe.child;
  }
}

Result<> Tree::copy_leaf(Key from, Path& path, LeafCopy& copy) const {
  Probe probe;
  if (auto r = descend(from, path, probe); !r) return r;
  auto r = pages_.look(FileNo::dirmap, path.leaf, [&](const std::byte* bytes) {
    std::memcpy(&copy.page, bytes, sizeof copy.page);
  });
  if (!r) return r;
  copy.begin = probe.index;
  for (std::size_t i = 0; i < copy.page.head.count; ++i) {
    if (i >= kLeafCells || copy.page.order[i] >= kLeafCells) {
      return pages_.corrupt(FileNo::dirmap, path.leaf * kPageSize, "bad order");
    }
  }
  return {};
}

Result<std::optional<Cell>> Tree::find(Key key) const {
  Path path;
  Probe probe;
  if (auto r = descend(key, path, probe); !r) return pass(r.error());
  if (!probe.found) return std::nullopt;
  Cell cell;
  std::memcpy(cell.data(), probe.cell.payload, cell.size());
  return cell;
}

Result<std::optional<std::pair<Key, Cell>>> Tree::seek(Key key) const {
  Path path;
  Probe probe;
  if (auto r = descend(key, path, probe); !r) return pass(r.error());
  if (probe.index == probe.count) {
    if (!path.has_upper) return std::nullopt;
    if (auto r = descend(Key(path.upper), path, probe); !r) return pass(r.error());
    if (probe.index == probe.count) {
      return pages_.corrupt(FileNo::dirmap, path.leaf * kPageSize, "bad page");
    }
  }
  std::pair<Key, Cell> out{key_of(probe.cell.key), {}};
  std::memcpy(out.second.data(), probe.cell.payload, out.second.size());
  return out;
}

// ---------------------------------------------------------------------------------------- pages

Result<std::uint64_t> Tree::take_page() {
  const auto page = live_.dirmap_free;
  if (page == 0) {
    if (auto r = pages_.grow(FileNo::dirmap, live_.dirmap_used + 1); !r) return pass(r.error());
    return live_.dirmap_used++;
  }
  auto head = pages_.get<TreePageHead>(FileNo::dirmap, page * kPageSize);
  if (!head) return pass(head.error());
  if (page >= live_.dirmap_used || head->type != static_cast<std::uint8_t>(TreePageType::free) ||
      head->used >= live_.dirmap_used) {
    return pages_.corrupt(FileNo::dirmap, page * kPageSize, "bad free page");
  }
  live_.dirmap_free = head->used;
  return page;
}

Result<> Tree::give_page(std::uint64_t page) {
  TreePageHead head{};
  head.type = static_cast<std::uint8_t>(TreePageType::free);
  head.used = live_.dirmap_free;
  if (auto r = write_page(page, &head, 0, sizeof head); !r) return r;
  live_.dirmap_free = page;
  return {};
}

Result<> Tree::write_page(std::uint64_t page, const void* bytes, std::size_t offset,
                          std::size_t size) {
  return pages_.write(FileNo::dirmap, page * kPageSize + offset,
                      {static_cast<const std::byte*>(bytes), size});
}

Result<> Tree::create() {
  auto page = take_page();
  if (!page) return pass(page.error());
  TreePageHead head{};
  head.type = static_cast<std::uint8_t>(TreePageType::leaf);
  live_.root = *page;
  return write_page(*page, &head, 0, sizeof head);
}

Result<InnerPage> Tree::inner_page(std::uint64_t page) const {
  InnerPage copy;
  auto r = pages_.look(FileNo::dirmap, page,
                       [&](const std::byte* bytes) { std::memcpy(&copy, bytes, sizeof copy); });
  if (!r) return pass(r.error());
  if (copy.head.count > kInnerEntries) {
    return pages_.corrupt(FileNo::dirmap, page * kPageSize, "bad page");
  }
  return copy;
}

// ---------------------------------------------------------------------------------------- insert

Result<> Tree::put(Key key, const Cell& cell) {
  Path path;
  Probe probe;
  if (auto r = descend(key, path, probe); !r) return r;
  if (probe.found) {
    const std::size_t at = offsetof(LeafPage, cells) + probe.order[probe.index] * sizeof(LeafCell) +
                           offsetof(LeafCell, payload);
    return write_page(path.leaf, cell.data(), at, cell.size());
  }
  if (probe.count < kLeafCells) return insert_in_leaf(path, probe, key, cell);
  return split_leaf(path, probe, key, cell);
}

Result<> Tree::insert_in_leaf(const Path& path, const Probe& probe, Key key, const Cell& cell) {
  const auto slot = static_cast<std::uint8_t>(std::countr_one(probe.used));
  if (slot >= kLeafCells) return pages_.corrupt(FileNo::dirmap, path.leaf * kPageSize, "no cell");
  LeafCell entry;
  entry.key = packed(key);
  std::memcpy(entry.payload, cell.data(), cell.size());
  const std::size_t at = offsetof(LeafPage, cells) + slot * sizeof entry;
  if (auto r = write_page(path.leaf, &entry, at, sizeof entry); !r) return r;
  std::uint8_t tail[kLeafCells];
  tail[0] = slot;
  const std::size_t after = probe.count - probe.index;
  std::memcpy(tail + 1, probe.order + probe.index, after);
  const auto order_at = offsetof(LeafPage, order) + probe.index;
  if (auto r = write_page(path.leaf, tail, order_at, after + 1); !r) return r;
  TreePageHead head{};
  head.type = static_cast<std::uint8_t>(TreePageType::leaf);
  head.count = static_cast<std::uint16_t>(probe.count + 1);
  head.used = probe.used | std::uint64_t{1} << slot;
  return write_page(path.leaf, &head, 0, sizeof head);
}

// The upper half moves to a new page on the right.  Keys that come in rising order fill their
// pages: when the new key is the last one of a full page, it alone goes right.
Result<> Tree::split_leaf(Path& path, const Probe& probe, Key key, const Cell& cell) {
  LeafPage left;
  auto copied = pages_.look(FileNo::dirmap, path.leaf, [&](const std::byte* bytes) {
    std::memcpy(&left, bytes, sizeof left);
  });
  if (!copied) return copied;
  const std::size_t keep = probe.index == kLeafCells ? kLeafCells : kLeafCells / 2;
  LeafPage right{};
  right.head.type = static_cast<std::uint8_t>(TreePageType::leaf);
  std::uint64_t used = 0;
  for (std::size_t i = 0; i < kLeafCells; ++i) {
    if (left.order[i] >= kLeafCells) {
      return pages_.corrupt(FileNo::dirmap, path.leaf * kPageSize, "bad order");
    }
    if (i < keep) {
      used |= std::uint64_t{1} << left.order[i];
    } else {
      right.order[i - keep] = static_cast<std::uint8_t>(i - keep);
      right.cells[i - keep] = left.cells[left.order[i]];
    }
  }
  const std::size_t moved = kLeafCells - keep;
  right.head.count = static_cast<std::uint16_t>(moved);
  right.head.used = (std::uint64_t{1} << moved) - 1;
  const auto first = moved > 0 ? key_of(right.cells[0].key) : key;
  auto page = take_page();
  if (!page) return pass(page.error());
  const auto size = offsetof(LeafPage, cells) + moved * sizeof(LeafCell);
  if (auto r = write_page(*page, &right, 0, size); !r) return r;
  if (moved > 0) {
    TreePageHead head{};
    head.type = static_cast<std::uint8_t>(TreePageType::leaf);
    head.count = static_cast<std::uint16_t>(keep);
    head.used = used;
    if (auto r = write_page(path.leaf, &head, 0, sizeof head); !r) return r;
  }
  if (auto r = insert_child(path, first, *page, 0); !r) return r;
  return put(key, cell);
}

Result<> Tree::insert_child(Path& path, Key key, std::uint64_t child, std::uint8_t level) {
  if (path.depth == 0) return new_root(key, child, level);
  const auto step = path.inner[static_cast<std::size_t>(--path.depth)];
  auto page = inner_page(step.page);
  if (!page) return pass(page.error());
  InnerEntry entry;
  entry.key = packed(key);
  entry.child = child;
  const std::uint16_t count = page->head.count;
  const auto at = static_cast<std::uint16_t>(step.index + 1);
  if (count == kInnerEntries) {
    path.leaf = step.page;
    return split_inner(path, *page, at, entry);
  }
  std::memmove(page->entries + at + 1, page->entries + at, (count - at) * sizeof entry);
  page->entries[at] = entry;
  page->head.count = static_cast<std::uint16_t>(count + 1);
  const auto offset = sizeof(TreePageHead) + at * sizeof entry;
  if (auto r = write_page(step.page, page->entries + at, offset, (count + 1 - at) * sizeof entry);
      !r) {
    return r;
  }
  return write_page(step.page, &page->head, 0, sizeof page->head);
}

// path.leaf is the full inner page.
Result<> Tree::split_inner(Path& path, InnerPage& page, std::uint16_t at, const InnerEntry& entry) {
  std::array<InnerEntry, kInnerEntries + 1> all;
  std::copy_n(page.entries, at, all.begin());
  all[at] = entry;
  std::copy(page.entries + at, page.entries + kInnerEntries, all.begin() + at + 1);
  const std::size_t keep = at == kInnerEntries ? kInnerEntries : all.size() / 2;
  const auto number = path.leaf;
  const auto level = page.head.level;
  InnerPage right{};
  right.head = page.head;
  right.head.count = static_cast<std::uint16_t>(all.size() - keep);
  std::copy(all.begin() + static_cast<std::ptrdiff_t>(keep), all.end(), right.entries);
  std::copy_n(all.begin(), keep, page.entries);
  page.head.count = static_cast<std::uint16_t>(keep);
  auto fresh = take_page();
  if (!fresh) return pass(fresh.error());
  const auto right_size = sizeof(TreePageHead) + right.head.count * sizeof(InnerEntry);
  if (auto r = write_page(*fresh, &right, 0, right_size); !r) return r;
  const auto left_size = sizeof(TreePageHead) + keep * sizeof(InnerEntry);
  if (auto r = write_page(number, &page, 0, left_size); !r) return r;
  return insert_child(path, key_of(right.entries[0].key), *fresh, level);
}

Result<> Tree::new_root(Key key, std::uint64_t child, std::uint8_t level) {
  InnerPage root{};
  root.head.type = static_cast<std::uint8_t>(TreePageType::inner);
  root.head.level = static_cast<std::uint8_t>(level + 1);
  root.head.count = std::uint16_t{2};
  root.entries[0].child = live_.root;
  root.entries[1].key = packed(key);
  root.entries[1].child = child;
  auto page = take_page();
  if (!page) return pass(page.error());
  live_.root = *page;
  return write_page(*page, &root, 0, sizeof(TreePageHead) + 2 * sizeof(InnerEntry));
}

// ---------------------------------------------------------------------------------------- erase

Result<bool> Tree::erase(Key key) {
  Path path;
  Probe probe;
  if (auto r = descend(key, path, probe); !r) return pass(r.error());
  if (!probe.found) return false;
  if (probe.count == 1 && path.depth > 0) {
    if (auto r = remove_leaf(path); !r) return pass(r.error());
    return true;
  }
  const auto slot = probe.order[probe.index];
  const std::size_t after = probe.count - probe.index - 1U;
  const auto order_at = offsetof(LeafPage, order) + probe.index;
  if (auto r = write_page(path.leaf, probe.order + probe.index + 1, order_at, after); !r) {
    return pass(r.error());
  }
  TreePageHead head{};
  head.type = static_cast<std::uint8_t>(TreePageType::leaf);
  head.count = static_cast<std::uint16_t>(probe.count - 1);
  head.used = probe.used & ~(std::uint64_t{1} << slot);
  if (auto r = write_page(path.leaf, &head, 0, sizeof head); !r) return pass(r.error());
  return true;
}

Result<> Tree::remove_leaf(Path& path) {
  auto gone = path.leaf;
  while (path.depth > 0) {
    if (auto r = give_page(gone); !r) return r;
    const auto step = path.inner[static_cast<std::size_t>(--path.depth)];
    auto page = inner_page(step.page);
    if (!page) return pass(page.error());
    const std::uint16_t count = page->head.count;
    if (step.index >= count) {
      return pages_.corrupt(FileNo::dirmap, step.page * kPageSize, "bad page");
    }
    if (count > 1) {
      page->head.count = static_cast<std::uint16_t>(count - 1);
      const auto offset = sizeof(TreePageHead) + step.index * sizeof(InnerEntry);
      const auto size = (count - 1U - step.index) * sizeof(InnerEntry);
      if (auto r = write_page(step.page, page->entries + step.index + 1, offset, size); !r) {
        return r;
      }
      if (auto r = write_page(step.page, &page->head, 0, sizeof page->head); !r) return r;
      return collapse_root();
    }
    gone = step.page;
  }
  // The root has lost its only child: it becomes an empty leaf.
  TreePageHead head{};
  head.type = static_cast<std::uint8_t>(TreePageType::leaf);
  return write_page(gone, &head, 0, sizeof head);
}

Result<> Tree::collapse_root() {
  for (;;) {
    auto page = inner_page(live_.root);
    if (!page) return pass(page.error());
    if (page->head.type != static_cast<std::uint8_t>(TreePageType::inner) ||
        page->head.count != 1) {
      return {};
    }
    const auto former = live_.root;
    live_.root = page->entries[0].child;
    if (auto r = give_page(former); !r) return r;
  }
}

Result<Tree::PageView> Tree::page(std::uint64_t number) const {
  Probe probe;
  if (auto r = probe_page(number, Key{}, probe); !r) return pass(r.error());
  PageView view;
  view.leaf = probe.leaf;
  view.level = probe.level;
  if (!probe.leaf) {
    auto inner = inner_page(number);
    if (!inner) return pass(inner.error());
    for (std::size_t i = 0; i < inner->head.count; ++i) {
      view.children.emplace_back(key_of(inner->entries[i].key), inner->entries[i].child);
    }
    return view;
  }
  LeafPage leaf;
  auto r = pages_.look(FileNo::dirmap, number,
                       [&](const std::byte* bytes) { std::memcpy(&leaf, bytes, sizeof leaf); });
  if (!r) return pass(r.error());
  std::uint64_t used = 0;
  for (std::size_t i = 0; i < leaf.head.count; ++i) {
    if (leaf.order[i] >= kLeafCells) {
      return pages_.corrupt(FileNo::dirmap, number * kPageSize, "bad order");
    }
    used |= std::uint64_t{1} << leaf.order[i];
    const auto& entry = leaf.cells[leaf.order[i]];
    Cell cell;
    std::memcpy(cell.data(), entry.payload, cell.size());
    view.cells.emplace_back(key_of(entry.key), cell);
  }
  if (used != leaf.head.used || std::popcount(used) != leaf.head.count) {
    return pages_.corrupt(FileNo::dirmap, number * kPageSize, "cells do not match");
  }
  return view;
}

}  // namespace ebb::store
