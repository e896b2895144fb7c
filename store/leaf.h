// A leaf of the tree in dirmap: cells of any size, found through slots that stand in the order of
// the keys.  Work on the bytes of one page in memory.  Format: ebb-store(5), "dirmap".
//
// A page from the disk is not trusted: probe() believes nothing that it has not looked at, and the
// changing calls are for a page that is sound().
#pragma once

#include <compare>
#include <cstdint>
#include <limits>

#include "store/layout.h"
#include "store/store.h"

namespace ebb::store {

struct Key {
  std::uint64_t owner = 0;
  std::uint64_t item = 0;
  friend auto operator<=>(const Key&, const Key&) = default;
};
inline Key key_of(const TreeKey& key) {
  return {key.owner, key.item};
}
TreeKey packed(Key key);

/// Keys from `low` to `high`, neither included: what is known of a page before it is looked at.
struct Bounds {
  Key low;
  Key high{std::numeric_limits<std::uint64_t>::max(), std::numeric_limits<std::uint64_t>::max()};
};

/// The first of `count` entries whose key is not below `key`.  Halves what is left; but between two
/// keys of one owner the items, which are hashes in a folder and numbers in a table, say where to
/// look, and that is most often there.  Trivial: it runs under guard.
template <class KeyAt>  // Key key_at(std::uint16_t)
std::uint16_t first_not_below(std::uint16_t count, Key key, Bounds bounds, KeyAt key_at) {
  std::uint16_t begin = 0;
  std::uint16_t end = count;
  for (int guesses = 4; begin < end; --guesses) {
    auto at = static_cast<std::uint16_t>((begin + end) / 2);
    if (guesses > 0 && bounds.low.owner == key.owner && bounds.high.owner == key.owner &&
        bounds.low.item < key.item && key.item < bounds.high.item) {
      const auto before = static_cast<double>(key.item - bounds.low.item);
      const auto width = static_cast<double>(bounds.high.item - bounds.low.item);
      at = static_cast<std::uint16_t>(begin + static_cast<int>((end - begin) * (before / width)));
      if (at >= end) at = static_cast<std::uint16_t>(end - 1);
    }
    const Key found = key_at(at);
    if (found == key) return at;
    if (found < key) {
      begin = static_cast<std::uint16_t>(at + 1);
      bounds.low = found;
    } else {
      end = at;
      bounds.high = found;
    }
  }
  return begin;
}

namespace leaf {

/// What a leaf says about a key.  Trivial: it is filled while the page is guarded.
struct Probe {
  bool valid;
  bool found;
  std::uint16_t index;  // where the key is or belongs
  std::uint16_t count;
  std::uint16_t at;  // with index < count: the offset of the cell there, its payload's size, and it
  std::uint8_t size;
  Key key;
  Cell cell;
};
void probe(const LeafPage& page, Key key, const Bounds& bounds, Probe& out);

/// Slots and cells are in the page, and their sizes add up.
bool sound(const LeafPage& page);
/// The head and the slots of a page, which is what insert() and erase() need: the cells are not
/// copied.  False where they do not fit below the cells.
bool copy_front(const LeafPage& page, LeafPage& out);

Key key_at(const LeafPage& page, std::size_t index);
Cell cell_at(const LeafPage& page, std::size_t index);
/// Without the zeros at the end.
std::uint8_t size_of(const Cell& cell);

LeafPage empty();
/// Room for one more cell of that size; `squeezed`: after squeeze().
bool fits(const LeafPage& page, std::uint8_t size, bool squeezed);
void squeeze(LeafPage& page);
/// It fits.
void insert(LeafPage& page, std::size_t index, Key key, const Cell& cell);
/// The cell there has a payload of `size`.
void erase(LeafPage& page, std::size_t index, std::uint8_t size);
/// How many cells stay when the page is halved.
std::size_t half(const LeafPage& page);
/// Moves the cells from `keep` on to an empty page.
LeafPage split(LeafPage& page, std::size_t keep);

}  // namespace leaf

}  // namespace ebb::store
