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
  /// Everything that was listed before is listed again, from the root down.
  void again();
  bool under_way() const { return !asked_.empty(); }
  void ready();
  void lost();
  /// The server is known to be away.
  void away();
  /// Sends what is wanted and not sent.
  void pump();

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
  };
  using AskedPtr = std::shared_ptr<Asked>;

  AskedPtr ask(NodeId folder);
  void send(const AskedPtr& asked);
  void heard(const AskedPtr& asked, const proto::Body& body);
  void page(const AskedPtr& asked, const proto::ListPage& page);
  std::uint32_t next_budget();
  void resume(const AskedPtr& asked, const Result<>& result);
  void folders_in(NodeId folder);
  void finish(const AskedPtr& asked, const Result<>& result);

  Core& core_;
  std::map<NodeId, AskedPtr> asked_;
  std::uint32_t budget_ = 0;
  Time asked_at_{};
  bool again_ = false;  // what is listed now was listed before, and so were the folders in it
};

}  // namespace ebb::fusefs
