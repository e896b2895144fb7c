// After an absence longer than the server's log of changes: what is known is compared with the
// server folder by folder, and listed anew where it differs.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <vector>

#include "base/ids.h"
#include "proto/messages.h"

namespace ebb::fusefs {

struct Core;

/// Under the client's lock.  While it is under way what is listed counts as listed, so that the
/// changes of the watch are worked in; how far the watch has come is not recorded before it is over
/// (Watching::remember), so that a crash begins it again.
class Comparing {
 public:
  explicit Comparing(Core& core) : core_(core) {}

  void begin();
  /// What was asked for is asked for again when there is a connection.
  void lost();
  /// The server's past is another one: comparing numbers means nothing.
  void drop();
  bool under_way() const { return !waiting_.empty() || !asked_.empty(); }
  /// Sends what is waiting.
  void pump();

 private:
  void ask();
  void heard(std::uint32_t session, const proto::Body& body);
  bool list_anew(EntryId folder);

  Core& core_;
  std::deque<NodeId> waiting_;
  std::map<std::uint32_t, std::vector<NodeId>> asked_;
};

}  // namespace ebb::fusefs
