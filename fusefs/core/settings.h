// The small facts that the client keeps in its store beside the tree: who it is, which tree this
// is, how far it has seen the server's changes, which operation ids are used up.
#pragma once

#include <cstdint>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "base/seams.h"
#include "store/status.h"
#include "store/store.h"
#include "store/transition.h"

namespace ebb::fusefs {

/// A status transition that was accepted and is not done.
struct StoredTransition {
  NodeId node;
  store::Status to = store::Status::untracked;
  store::Plan plan = store::Plan::refused;  // of a folder, as it was checked
};

/// Under the client's lock.  Every setter is a transaction of its own; durable with the store's
/// next sync.
class Settings {
 public:
  /// Reads what is there; a store without a client id gets a random one.
  Result<> load(store::Store& store, Random& random);

  ClientId client() const { return client_; }
  TreeId tree() const { return tree_; }
  Result<> set_tree(TreeId tree);

  Epoch epoch() const { return epoch_; }
  Seq sequence() const { return sequence_; }
  Result<> set_seen(Epoch epoch, Seq sequence);

  /// Ids are reserved in blocks, so that most cost no transaction.  The block is recorded before
  /// any id of it is given.
  Result<OpId> next_operation();

  Result<> add_transition(const StoredTransition& transition);
  Result<> remove_transition(NodeId node);
  std::vector<StoredTransition> transitions() const;

 private:
  Result<> put(std::uint64_t argument, std::uint64_t key, ByteView bytes);
  Result<> erase(std::uint64_t argument, std::uint64_t key);

  store::Store* store_ = nullptr;
  ClientId client_;
  TreeId tree_;
  Epoch epoch_;
  Seq sequence_;
  std::uint64_t operation_ = 0;           // the last one given
  std::uint64_t operation_reserved_ = 0;  // the last one of the block
};

}  // namespace ebb::fusefs
