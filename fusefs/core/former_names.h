// Names that were deleted or renamed away a moment ago.  Editors save by moving the old file out of
// the way and making the name anew; a name made anew soon enough is still the same entry.
#pragma once

#include <cstddef>
#include <deque>
#include <list>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "base/clock.h"
#include "base/ids.h"
#include "store/status.h"

namespace ebb::fusefs {

inline constexpr Duration kFormerNameLife = std::chrono::seconds(15);
/// A program that deletes a big tree fills this; the oldest go first.
inline constexpr std::size_t kFormerNamesMax = 4096;

/// New files that may still be on their way to the name they are made for.
inline constexpr std::size_t kNewFilesMax = 256;

struct FormerName {
  NodeId node;
  store::Status status = store::Status::untracked;
};

/// In memory alone: after a restart nothing is remembered.
class FormerNames {
 public:
  void remember(NodeId folder, std::string name, const FormerName& former, Time now);
  /// What had the name, if it went less than kFormerNameLife ago; it is forgotten by that.
  std::optional<FormerName> take(NodeId folder, const std::string& name, Time now);

  /// A file was made; the last ones are known for kFormerNameLife.
  void made(NodeId node, Time now);
  bool made_lately(NodeId node, Time now) const;

 private:
  using Key = std::pair<NodeId, std::string>;
  struct Kept {
    FormerName former;
    Time since;
    std::list<Key>::iterator order;
  };

  void forget(std::map<Key, Kept>::iterator it);
  void expire(Time now);

  std::map<Key, Kept> names_;
  std::list<Key> order_;                      // oldest first
  std::deque<std::pair<NodeId, Time>> made_;  // oldest first
};

}  // namespace ebb::fusefs
