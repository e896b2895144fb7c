// A walk through everything that is shown beneath a folder, as deep and wide as it may be, in as
// many pieces as the caller likes: it holds a place a folder of the way down, and no names.
//
// Names that come while it is under way are seen or not; those that stay are seen once.
// Threads: under the client's lock.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "store/store.h"

namespace ebb::fusefs {

class FolderWalk {
 public:
  FolderWalk(const store::Store& store, NodeId root) : store_(&store) { descend(root); }

  struct Place {
    enum class What { entry, end_of_folder, end } what = What::end;
    NodeId node;             // the entry, or the folder that ends
    std::uint64_t mark = 0;  // of a folder that ends: what was given to descend()
  };
  Result<Place> next();
  /// next() gives the same place again.
  void stay();
  /// Into the folder of the last place.
  void descend(NodeId folder, std::uint64_t mark = 0);
  /// Once more through the folder that has just ended.
  void again(NodeId folder, std::uint64_t mark) { descend(folder, mark); }

 private:
  struct Level {
    NodeId folder;
    std::uint64_t cookie = 0;
    std::uint64_t former = 0;  // the cookie before the last step
    std::uint64_t mark = 0;
  };

  const store::Store* store_;
  std::vector<Level> levels_;
  Level ended_;          // the last one that ended
  bool at_end_ = false;  // the last place was the end of ended_
};

}  // namespace ebb::fusefs
