// What a peer sees of the tree: all of it, or one folder as if that were the root.
//
// Everything that a peer asks goes through inward() before anybody looks at it, and everything that
// it is told through outward() before it is sent; nothing else knows of subtrees.  A request for
// what lies outside becomes one for an entry that never was, and is answered as those are: nothing
// tells what is outside from what is nowhere.
#pragma once

#include <string>

#include "proto/messages.h"
#include "server/core/tree.h"

namespace ebb::server {

/// Looks at the record, under its owner's lock.  The tree outlives the view.
class View {
 public:
  /// Of the whole tree.
  View() = default;
  View(const Tree& tree, NodeId top) : tree_(&tree), top_(top) {}

  bool whole() const { return tree_ == nullptr; }
  /// False: the folder is no more, and the peer has nothing to look at.
  bool stands() const { return whole() || tree_->named(top_); }
  /// The peer's own name for the tree: another folder is another tree.
  TreeId tree_id(const TreeId& whole) const;

  /// Makes the peer's request one of the whole tree's.  Errc::not_supported for what is not known
  /// to stay inside.
  Result<> inward(proto::Body& request) const;
  /// The reverse.  False: the peer is not told.
  bool outward(proto::Body& answer, ClientId peer) const;
  /// Whether a former name, from the root of the whole tree, lies inside.
  bool shows(const std::string& path) const;

 private:
  bool holds(EntryId id) const;
  std::string prefix() const;
  void in(EntryId& id) const;
  void in(proto::Place& place) const { in(place.folder); }
  void in_path(std::string& path) const;
  void out(EntryId& id) const;
  bool out(proto::Change& change, ClientId peer) const;
  void out(proto::HistoryPage& page, ClientId peer) const;

  const Tree* tree_ = nullptr;
  NodeId top_;
};

}  // namespace ebb::server
