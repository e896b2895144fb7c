// Who reads one small file of a folder after another gets the next ones before asking for them:
// then a folder of small files does not cost a round trip a file.
#pragma once

#include <cstdint>
#include <set>

#include "base/clock.h"
#include "base/ids.h"

namespace ebb::fusefs {

struct Core;

/// So many small files are opened in a row, each soon after the last, before others are fetched: a
/// look at two or three brings those alone.
inline constexpr unsigned kNeighbourRun = 4;
/// What may be fetched and not opened yet; with kSmallFile it bounds the bytes, too.
inline constexpr std::size_t kNeighboursMost = 32;

/// Under the client's lock.
class Neighbours {
 public:
  explicit Neighbours(Core& core) : core_(core) {}

  /// A small file was opened to be read.  `here`: its content was here already.
  void opened(NodeId node, bool here);

 private:
  void fetch();

  Core& core_;
  unsigned run_ = 0;
  Time last_{};
  NodeId folder_;              // where the last one was opened
  std::uint64_t reached_ = 0;  // the cookie in it up to which names were looked at
  std::set<NodeId> ahead_;     // fetched, or on their way, and not opened yet
};

}  // namespace ebb::fusefs
