// What the kernel and applications hold of each node: the lookup count, and open handles.  Two
// counters, because a node lives for either of them and its content may be exchanged only without
// the second.  And whether the kernel may have pages of a content that the node has no more.
#pragma once

#include <cstdint>
#include <unordered_map>

#include "base/ids.h"

namespace ebb::fusefs {

/// Under the client's lock.
class Inodes {
 public:
  void looked_up(NodeId node, std::uint64_t times = 1) { table_[node].lookups += times; }
  /// True when nobody holds the node any more.
  bool forget(NodeId node, std::uint64_t times);
  void opened(NodeId node, bool writer);
  bool closed(NodeId node, bool writer);

  /// The kernel was told of all names of the folder, or of one that is not there: what comes to it
  /// may contradict what the kernel keeps.
  void saw_names(NodeId folder);
  bool names_seen(NodeId folder) const;

  /// The kernel's pages of it, if there are any, are not what the node has now.  The kernel is not
  /// told: it would wait for pages that somebody is reading.  The next open drops them.
  void pages_outdated(NodeId node);
  /// Whether the kernel may keep its pages over an opening; false once after pages_outdated().
  bool keeps_pages(NodeId node);

  /// The root is never forgotten.
  bool in_use(NodeId node) const { return node == kRootNode || table_.count(node) != 0; }
  bool open(NodeId node) const;
  std::uint32_t writers(NodeId node) const;
  std::uint32_t handles(NodeId node) const;

 private:
  struct Held {
    std::uint64_t lookups = 0;
    std::uint32_t handles = 0;
    std::uint32_t writers = 0;
    bool names_seen = false;
    bool pages_outdated = false;
  };
  bool drop_if_free(NodeId node);

  std::unordered_map<NodeId, Held> table_;
};

}  // namespace ebb::fusefs
