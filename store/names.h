// Names of folders and the lists of a node's names, in the tree of dirmap.  Format: ebb-store(5),
// "dirmap".
//
// Invariants
//   - A node's record has its first name (parent, parent_cookie); every further one is a cell of
//     Table::links.  Each name with the node on either side is in exactly one place.
//   - The first name is one whose local side is the node, if there is any.
//   - links is the number of names whose local side is the node.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "store/heap.h"
#include "store/live.h"
#include "store/node.h"
#include "store/nodes.h"
#include "store/tree.h"

namespace ebb::store {

inline std::uint64_t server_of(const NameCell& cell) {
  return (cell.flags & kOneNode) != 0 ? cell.local : cell.server;
}

/// Part of the store; the owner's lock guards it.  The changing calls belong to the open
/// transaction.
class Names {
 public:
  Names(Pages& pages, Live& live, Tree& tree, Heap& heap, Nodes& nodes)
      : pages_(pages), live_(live), tree_(tree), heap_(heap), nodes_(nodes) {}

  void set_secret(std::uint64_t secret) { secret_ = secret; }

  Result<Name> get(NodeId folder, std::string_view name) const;  // ENOENT
  Result<Name> at(NodeId folder, std::uint64_t cookie) const;    // ENOENT
  Result<Name> decode(NodeId folder, std::uint64_t cookie, const Cell& cell) const;
  Result<std::vector<Name>> of(NodeId node) const;
  Result<bool> any_in(NodeId folder) const;

  Result<> bind(NodeId folder, std::string_view name, Side side, NodeId node);
  Result<> set_flags(NodeId folder, std::string_view name, std::uint16_t flags);

 private:
  struct Found {
    std::uint64_t cookie = 0;
    std::optional<NameCell> cell;  // none: the name does not exist, and would get this cookie
  };
  struct Place {
    std::uint64_t folder = 0;
    std::uint64_t cookie = 0;
    friend bool operator==(const Place&, const Place&) = default;
  };

  std::uint64_t hash(ByteView bytes) const;
  Result<Found> find(NodeId folder, std::string_view name) const;
  Result<bool> same(const NameCell& cell, std::string_view name) const;
  Result<NameCell> new_cell(std::string_view name);
  Result<> store_cell(NodeId folder, const Found& found);
  Result<> expect_folder(NodeId folder) const;

  Result<> count_subfolders(NodeId folder, NodeId from, NodeId to);
  Result<> lose(NodeId node, Place place, Side side, bool listed);
  Result<> gain(NodeId node, Place place, Side side, bool listed);
  Result<> prefer_local(NodeId node, NodeRecord& record);
  Result<> take_first_from_links(NodeId node, NodeRecord& record);
  Result<bool> is_local(Place place, NodeId node) const;
  Result<std::vector<Place>> links_of(NodeId node) const;
  Result<> add_link(NodeId node, Place place);
  Result<> remove_link(NodeId node, Place place);

  Pages& pages_;
  Live& live_;
  Tree& tree_;
  Heap& heap_;
  Nodes& nodes_;
  std::uint64_t secret_ = 0;
};

}  // namespace ebb::store
