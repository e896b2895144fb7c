// The ordered map in dirmap: a B+tree of (owner, item) -> 48 bytes.  Format: ebb-store(5),
// "dirmap".
//
// Invariants: all leaves are at level 0 and equally deep; no page but the root is empty; a freed
// page is in the free list of super at once.  Pages are never merged, only freed when the last
// entry goes.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "base/result.h"
#include "store/leaf.h"
#include "store/live.h"
#include "store/pages.h"
#include "store/store.h"

namespace ebb::store {

/// The keys of one argument of a Table share this owner; the names of a folder have its NodeId.
inline std::uint64_t owner_of(Table table, std::uint64_t argument) {
  return std::uint64_t{1} << 63 | static_cast<std::uint64_t>(table) << 48 | argument;
}

/// Part of the store; the owner's lock guards it.  The changing calls belong to the open
/// transaction.
class Tree {
 public:
  Tree(Pages& pages, Live& live) : pages_(pages), live_(live) {}

  /// Makes an empty tree in a new store.
  Result<> create();

  Result<std::optional<Cell>> find(Key key) const;
  /// The first cell at or after a key.
  Result<std::optional<std::pair<Key, Cell>>> seek(Key key) const;
  /// Visits the cells of `from.owner` from `from.item` on, in order, until visit returns false. The
  /// visitor may change the tree; changes to keys that it has not reached may be seen or not.
  template <class Visit>  // bool visit(std::uint64_t item, const Cell& cell)
  Result<> scan(Key from, Visit&& visit) const;

  Result<> put(Key key, const Cell& cell);
  /// True when it was there.
  Result<bool> erase(Key key);

  // For check: the pages themselves.
  struct PageView {
    bool leaf = false;
    std::uint8_t level = 0;
    std::vector<std::pair<Key, std::uint64_t>> children;
    std::vector<std::pair<Key, Cell>> cells;
  };
  Result<PageView> page(std::uint64_t number) const;

 private:
  static constexpr int kDepthMax = 12;
  struct Step {
    std::uint64_t page = 0;
    std::uint16_t index = 0;  // of the child taken
  };
  struct Path {
    std::array<Step, kDepthMax> inner;
    int depth = 0;
    std::uint64_t leaf = 0;
    Bounds bounds;
    bool has_upper = false;  // bounds.high is the first key of the next leaf
  };
  enum class Descent { ok, no_page, bad_page, wrong_level, too_deep };

  Result<> descend(Key key, Path& path, leaf::Probe& probe) const;
  Descent walk_down(Key key, Path& path, leaf::Probe& probe) const;
  Descent take_child(const InnerPage& page, Key key, Path& path) const;
  Result<LeafPage> leaf_page(std::uint64_t page) const;
  Result<> leaf_front(std::uint64_t page, LeafPage& front) const;
  Result<InnerPage> inner_page(std::uint64_t page) const;

  Result<std::uint64_t> take_page();
  Result<> give_page(std::uint64_t page);
  Result<> write_page(std::uint64_t page, const void* bytes, std::size_t offset, std::size_t size);
  Result<> write_leaf(std::uint64_t page, const LeafPage& leaf);
  Result<> write_slots(std::uint64_t page, const LeafPage& leaf, std::size_t from);

  Result<> insert_in_leaf(const Path& path, const leaf::Probe& probe, Key key, const Cell& cell);
  Result<> insert_in_full_leaf(Path path, const leaf::Probe& probe, Key key, const Cell& cell);
  Result<> split_leaf(Path& path, LeafPage& left, const leaf::Probe& probe, Key key,
                      const Cell& cell);
  Result<> insert_child(Path& path, Key key, std::uint64_t child, std::uint8_t level);
  Result<> split_inner(Path& path, InnerPage& page, std::uint16_t at, const InnerEntry& entry);
  Result<> new_root(Key key, std::uint64_t child, std::uint8_t level);
  Result<> remove_leaf(Path& path);
  Result<> collapse_root();

  Pages& pages_;
  Live& live_;
};

template <class Visit>
Result<> Tree::scan(Key from, Visit&& visit) const {
  const auto owner = from.owner;
  for (;;) {
    Path path;
    leaf::Probe probe;
    if (auto r = descend(from, path, probe); !r) return r;
    auto page = leaf_page(path.leaf);
    if (!page) return pass(page.error());
    for (std::size_t i = probe.index; i < page->head.count; ++i) {
      const auto key = leaf::key_at(*page, i);
      if (key.owner != owner) return {};
      if (!visit(key.item, leaf::cell_at(*page, i))) return {};
    }
    if (!path.has_upper || path.bounds.high.owner != owner) return {};
    if (path.bounds.high <= from) {
      return pages_.corrupt(FileNo::dirmap, path.leaf * kPageSize, "order");
    }
    from = path.bounds.high;
  }
}

}  // namespace ebb::store
