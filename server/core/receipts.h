// The answers of operations that changed something, by client and operation id, until the client
// has them.
#pragma once

#include <optional>
#include <string>
#include <unordered_map>

#include "base/ids.h"
#include "store/store.h"

namespace ebb::server {

struct Receipt {
  EntryId entry;
  Version content_version;
  Version attributes_version;
  std::uint64_t hash = 0;  // XXH3-64 of the whole content, of a push
  Seq sequence;
};

/// Guarded by the owner's lock of the store.  Clients have small numbers here: a table's argument
/// is one.
class Receipts {
 public:
  explicit Receipts(store::Store& store) : store_(store) {}

  Result<std::optional<Receipt>> find(ClientId client, OpId operation) const;
  Result<> put(store::Transaction& tx, ClientId client, OpId operation, const Receipt& receipt);
  /// The client has the answers of all operations up to this one.
  Result<> forget(store::Transaction& tx, ClientId client, OpId answered);
  /// The client has the answer of this one.
  Result<> forget_one(store::Transaction& tx, ClientId client, OpId operation);
  /// What the client calls itself.
  Result<> note_name(store::Transaction& tx, ClientId client, const std::string& name);
  /// "server" for none, its number in hex where it has no name.
  std::string name(ClientId client) const;

 private:
  Result<std::optional<std::uint64_t>> number(ClientId client) const;
  Result<std::uint64_t> number(store::Transaction& tx, ClientId client, const std::string& name);

  store::Store& store_;
};

}  // namespace ebb::server
