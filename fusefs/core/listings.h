// Folders whose names are not known yet, being asked for.  One request for a folder, shared by all
// who wait.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "fusefs/core/client.h"
#include "fusefs/core/lock.h"
#include "proto/messages.h"

namespace ebb::fusefs {

struct Core;

/// Under the client's lock.
class Listings {
 public:
  explicit Listings(Core& core) : core_(core) {}

  /// The ticket is resumed when the folder is listed or cannot be.
  Ticket wait(NodeId folder, std::function<void(Ticket, const Result<>&)> resume, Ticket again);
  /// Lists it, nobody waits.
  void want(NodeId folder);
  bool under_way() const { return !asked_.empty(); }
  void ready();
  void lost();
  /// The server is known to be away.
  void away();
  /// Sends what is wanted and not sent.
  void pump();
  Time next_deadline() const;

 private:
  struct Page {
    std::vector<proto::NamedEntry> entries;
    Seq sequence;
  };
  struct Asked {
    NodeId folder;
    EntryId entry;
    std::uint32_t session = 0;
    std::vector<Ticket> waiters;
    std::map<EntryId, Page> pages;  // folders that have begun and not ended
    std::size_t entries = 0;
    bool again = false;  // wanted once more since it was asked for
  };
  using AskedPtr = std::shared_ptr<Asked>;

  AskedPtr ask(NodeId folder);
  void send(const AskedPtr& asked);
  void heard(const AskedPtr& asked, const proto::Body& body);
  void page(const AskedPtr& asked, const proto::ListPage& page);
  std::uint32_t next_budget();
  void resume(const AskedPtr& asked, const Result<>& result);
  void finish(const AskedPtr& asked, const Result<>& result);
  bool is_newest(const AskedPtr& asked, NodeId folder) const;
  void ask_later(NodeId folder);

  Core& core_;
  std::map<NodeId, AskedPtr> asked_;
  std::set<NodeId> failed_;  // in doubt still: asked for again at retry_at_
  Time retry_at_{};
  std::uint32_t budget_ = 0;
  Time asked_at_{};
};

}  // namespace ebb::fusefs
