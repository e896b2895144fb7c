// The log of changes of the served tree, by sequence: what a watching client missed, and what it
// gets live. Format: Table::changes, argument 0 the change, argument 1 what its name has beyond the
// first bytes.
#pragma once

#include <functional>
#include <string>

#include "base/ids.h"
#include "proto/messages.h"
#include "store/store.h"

namespace ebb::server {

/// Who did it; none = another program on the server.
struct Origin {
  ClientId client;
  OpId operation;
};

/// Guarded by the owner's lock of the store.
class ChangeLog {
 public:
  struct Record {
    Seq sequence;
    proto::ChangeKind kind = proto::ChangeKind::entry_changed;
    NodeId entry;
    NodeId folder;
    std::string name;
    Origin origin;
  };

  static Result<ChangeLog> open(store::Store& store, std::uint64_t changes_max);

  /// Gives the change its sequence, and forgets what is more than `changes_max` sequences old.
  Result<Seq> append(store::Transaction& tx, Record record);
  /// True when every change after `sequence` is here.
  bool reaches(Seq sequence) const { return sequence.value >= floor_; }
  /// Visits the changes after `sequence` up to `last`, in order, until `visit` returns false.
  Result<> read(Seq sequence, Seq last, const std::function<bool(const Record&)>& visit) const;

 private:
  explicit ChangeLog(store::Store& store, std::uint64_t max) : store_(&store), max_(max) {}
  Result<> trim(store::Transaction& tx, std::uint64_t newest);

  store::Store* store_;
  std::uint64_t max_;
  std::uint64_t floor_ = 0;  // changes up to this one may be missing
};

}  // namespace ebb::server
