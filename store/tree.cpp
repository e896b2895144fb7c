#include "store/tree.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace ebb::store {
namespace {

bool is_leaf(const TreePageHead& head) {
  return head.type == static_cast<std::uint8_t>(TreePageType::leaf) && head.level == 0;
}
bool is_inner(const TreePageHead& head) {
  return head.type == static_cast<std::uint8_t>(TreePageType::inner) && head.level > 0 &&
         head.count > 0 && head.count <= kInnerEntries;
}

}  // namespace

// Runs under guard: trivial objects only.
Tree::Descent Tree::take_child(const InnerPage& page, Key key, Path& path) const {
  if (path.depth == kDepthMax) return Descent::too_deep;
  // The last entry whose key is not above; the first stands for everything below.
  const std::uint16_t count = page.head.count;
  const auto others = static_cast<std::uint16_t>(count - 1);
  auto index = first_not_below(others, key, path.bounds,
                               [&](std::uint16_t i) { return key_of(page.entries[i + 1].key); });
  if (index < others && key_of(page.entries[index + 1].key) == key) ++index;
  if (index > 0) path.bounds.low = key_of(page.entries[index].key);
  if (index < others) {
    path.bounds.high = key_of(page.entries[index + 1].key);
    path.has_upper = true;
  }
  path.inner[static_cast<std::size_t>(path.depth++)] = {path.leaf, index};
  path.leaf = page.entries[index].child;
  return Descent::ok;
}

// Runs under guard: trivial objects only.
Tree::Descent Tree::walk_down(Key key, Path& path, leaf::Probe& probe) const {
  for (int level = -1;;) {
    if (path.leaf == 0 || path.leaf >= live_.dirmap_used) return Descent::no_page;
    const auto* bytes = pages_.peek(FileNo::dirmap, path.leaf);
    // Head and slots are asked of the memory in one go, not one after the other.
    for (std::size_t at = 0; at < 256; at += 64) __builtin_prefetch(bytes + at);
    const auto& head = *reinterpret_cast<const TreePageHead*>(bytes);
    if (!is_leaf(head) && !is_inner(head)) return Descent::bad_page;
    if (level >= 0 && head.level != level - 1) return Descent::wrong_level;
    if (is_leaf(head)) {
      leaf::probe(*reinterpret_cast<const LeafPage*>(bytes), key, path.bounds, probe);
      return probe.valid ? Descent::ok : Descent::bad_page;
    }
    level = head.level;
    const auto taken = take_child(*reinterpret_cast<const InnerPage*>(bytes), key, path);
    if (taken != Descent::ok) return taken;
  }
}

Result<> Tree::descend(Key key, Path& path, leaf::Probe& probe) const {
  path.leaf = live_.root;
  auto reached = Descent::ok;
  auto walk = [&] { reached = walk_down(key, path, probe); };
  if (auto r = pages_.guard(FileNo::dirmap, walk); !r) return r;
  if (reached == Descent::ok) return {};
  constexpr const char* kWhat[] = {"", "no such page", "bad page", "wrong level", "too deep"};
  return pages_.corrupt(FileNo::dirmap, path.leaf * kPageSize, kWhat[static_cast<int>(reached)]);
}

Result<std::optional<Cell>> Tree::find(Key key) const {
  Path path;
  leaf::Probe probe;
  if (auto r = descend(key, path, probe); !r) return pass(r.error());
  if (!probe.found) return std::nullopt;
  return probe.cell;
}

Result<std::optional<std::pair<Key, Cell>>> Tree::seek(Key key) const {
  Path path;
  leaf::Probe probe;
  if (auto r = descend(key, path, probe); !r) return pass(r.error());
  if (probe.index == probe.count) {
    if (!path.has_upper) return std::nullopt;
    const auto next = path.bounds.high;
    path = {};
    if (auto r = descend(next, path, probe); !r) return pass(r.error());
    if (probe.index == probe.count) {
      return pages_.corrupt(FileNo::dirmap, path.leaf * kPageSize, "bad page");
    }
  }
  return std::pair(probe.key, probe.cell);
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
      head->next >= live_.dirmap_used) {
    return pages_.corrupt(FileNo::dirmap, page * kPageSize, "bad free page");
  }
  live_.dirmap_free = head->next;
  return page;
}

Result<> Tree::give_page(std::uint64_t page) {
  TreePageHead head{};
  head.type = static_cast<std::uint8_t>(TreePageType::free);
  head.next = live_.dirmap_free;
  if (auto r = write_page(page, &head, 0, sizeof head); !r) return r;
  live_.dirmap_free = page;
  return {};
}

Result<> Tree::write_page(std::uint64_t page, const void* bytes, std::size_t offset,
                          std::size_t size) {
  return pages_.write(FileNo::dirmap, page * kPageSize + offset,
                      {static_cast<const std::byte*>(bytes), size});
}

/// All of it but what lies between the slots and the cells.
Result<> Tree::write_leaf(std::uint64_t page, const LeafPage& leaf) {
  if (auto r = write_slots(page, leaf, 0); !r) return r;
  const std::size_t bottom = leaf.head.bottom;
  return write_page(page, reinterpret_cast<const std::byte*>(&leaf) + bottom, bottom,
                    kPageSize - bottom);
}

/// The head, and the slots from one on.
Result<> Tree::write_slots(std::uint64_t page, const LeafPage& leaf, std::size_t from) {
  constexpr auto kSlot = sizeof leaf.slots[0];
  const auto offset = offsetof(LeafPage, slots) + from * kSlot;
  if (auto r = write_page(page, leaf.slots + from, offset, (leaf.head.count - from) * kSlot); !r) {
    return r;
  }
  return write_page(page, &leaf.head, 0, sizeof leaf.head);
}

Result<> Tree::create() {
  auto page = take_page();
  if (!page) return pass(page.error());
  live_.root = *page;
  return write_leaf(*page, leaf::empty());
}

Result<LeafPage> Tree::leaf_page(std::uint64_t page) const {
  LeafPage copy;
  auto r = pages_.look(FileNo::dirmap, page,
                       [&](const std::byte* bytes) { std::memcpy(&copy, bytes, sizeof copy); });
  if (!r) return pass(r.error());
  if (!is_leaf(copy.head) || !leaf::sound(copy)) {
    return pages_.corrupt(FileNo::dirmap, page * kPageSize, "bad page");
  }
  return copy;
}

/// What a probe of it has found holds: its type, how many slots it has.
Result<> Tree::leaf_front(std::uint64_t page, LeafPage& front) const {
  bool good = false;
  auto r = pages_.look(FileNo::dirmap, page, [&](const std::byte* bytes) {
    good = leaf::copy_front(*reinterpret_cast<const LeafPage*>(bytes), front);
  });
  if (r && !good) return pages_.corrupt(FileNo::dirmap, page * kPageSize, "bad page");
  return r;
}

Result<InnerPage> Tree::inner_page(std::uint64_t page) const {
  InnerPage copy;
  auto r = pages_.look(FileNo::dirmap, page,
                       [&](const std::byte* bytes) { std::memcpy(&copy, bytes, sizeof copy); });
  if (!r) return pass(r.error());
  if (!is_inner(copy.head)) {
    return pages_.corrupt(FileNo::dirmap, page * kPageSize, "bad page");
  }
  return copy;
}

// ---------------------------------------------------------------------------------------- insert

Result<> Tree::put(Key key, const Cell& cell) {
  Path path;
  leaf::Probe probe;
  if (auto r = descend(key, path, probe); !r) return r;
  if (!probe.found) return insert_in_leaf(path, probe, key, cell);
  if (probe.size == leaf::size_of(cell)) {
    return write_page(path.leaf, cell.data(), probe.at + sizeof(CellHead), probe.size);
  }
  if (auto r = erase(key); !r) return pass(r.error());
  return put(key, cell);
}

Result<> Tree::insert_in_leaf(const Path& path, const leaf::Probe& probe, Key key,
                              const Cell& cell) {
  LeafPage front;
  if (auto r = leaf_front(path.leaf, front); !r) return r;
  const auto size = leaf::size_of(cell);
  if (!leaf::fits(front, size, false)) return insert_in_full_leaf(path, probe, key, cell);
  leaf::insert(front, probe.index, key, cell);
  const std::size_t at = front.head.bottom;
  const auto* bytes = reinterpret_cast<const std::byte*>(&front) + at;
  if (auto r = write_page(path.leaf, bytes, at, sizeof(CellHead) + size); !r) return r;
  return write_slots(path.leaf, front, probe.index);
}

Result<> Tree::insert_in_full_leaf(Path path, const leaf::Probe& probe, Key key, const Cell& cell) {
  auto page = leaf_page(path.leaf);
  if (!page) return pass(page.error());
  if (!leaf::fits(*page, leaf::size_of(cell), true)) {
    return split_leaf(path, *page, probe, key, cell);
  }
  leaf::squeeze(*page);
  leaf::insert(*page, probe.index, key, cell);
  return write_leaf(path.leaf, *page);
}

// The upper half moves to a new page on the right.  Keys that come in rising order fill their
// pages: when the new key is the last one of a full page, it alone goes right.
Result<> Tree::split_leaf(Path& path, LeafPage& left, const leaf::Probe& probe, Key key,
                          const Cell& cell) {
  const std::size_t keep = probe.index == probe.count ? probe.count : leaf::half(left);
  const auto right = leaf::split(left, keep);
  const auto first = right.head.count > 0 ? leaf::key_at(right, 0) : key;
  auto page = take_page();
  if (!page) return pass(page.error());
  if (auto r = write_leaf(*page, right); !r) return r;
  if (auto r = write_page(path.leaf, &left.head, 0, sizeof left.head); !r) return r;
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
  leaf::Probe probe;
  if (auto r = descend(key, path, probe); !r) return pass(r.error());
  if (!probe.found) return false;
  if (probe.count == 1 && path.depth > 0) {
    if (auto r = remove_leaf(path); !r) return pass(r.error());
    return true;
  }
  LeafPage front;
  if (auto r = leaf_front(path.leaf, front); !r) return pass(r.error());
  leaf::erase(front, probe.index, probe.size);
  if (auto r = write_slots(path.leaf, front, probe.index); !r) return pass(r.error());
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
  return write_leaf(gone, leaf::empty());
}

Result<> Tree::collapse_root() {
  for (;;) {
    auto head = pages_.get<TreePageHead>(FileNo::dirmap, live_.root * kPageSize);
    if (!head) return pass(head.error());
    if (!is_inner(*head) || head->count != 1) return {};
    auto page = inner_page(live_.root);
    if (!page) return pass(page.error());
    const auto former = live_.root;
    live_.root = page->entries[0].child;
    if (auto r = give_page(former); !r) return r;
  }
}

Result<Tree::PageView> Tree::page(std::uint64_t number) const {
  if (number == 0 || number >= live_.dirmap_used) {
    return pages_.corrupt(FileNo::dirmap, number * kPageSize, "no such page");
  }
  auto head = pages_.get<TreePageHead>(FileNo::dirmap, number * kPageSize);
  if (!head) return pass(head.error());
  PageView view;
  view.level = head->level;
  view.leaf = is_leaf(*head);
  if (!view.leaf) {
    auto inner = inner_page(number);
    if (!inner) return pass(inner.error());
    for (std::size_t i = 0; i < inner->head.count; ++i) {
      view.children.emplace_back(key_of(inner->entries[i].key), inner->entries[i].child);
    }
    return view;
  }
  auto page = leaf_page(number);
  if (!page) return pass(page.error());
  for (std::size_t i = 0; i < page->head.count; ++i) {
    view.cells.emplace_back(leaf::key_at(*page, i), leaf::cell_at(*page, i));
  }
  return view;
}

}  // namespace ebb::store
