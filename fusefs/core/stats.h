// Small questions to the server: a fresh word on an entry that the tree is unsure of, and how much
// room there is.
#pragma once

#include <deque>
#include <set>

#include "base/clock.h"
#include "base/ids.h"
#include "fusefs/core/client.h"
#include "fusefs/core/lock.h"
#include "proto/messages.h"

namespace ebb::fusefs {

struct Core;

/// Under the client's lock.
class Stats {
 public:
  explicit Stats(Core& core) : core_(core) {}

  void want(NodeId node);
  /// What the tree is unsure of is asked for.
  void ready();
  void lost();
  /// What was answered last; asks again when that is some seconds old.
  SpaceFigures space();
  void pump();

 private:
  void heard(NodeId node, EntryId entry, std::uint32_t session, const proto::Body& body);

  Core& core_;
  std::set<NodeId> wanted_;
  std::set<NodeId> asked_;
  SpaceFigures space_;
  Time space_asked_{};
  bool space_known_ = false;
};

}  // namespace ebb::fusefs
