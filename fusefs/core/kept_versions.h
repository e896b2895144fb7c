// What the server keeps of contents that were overwritten or deleted: told, and brought back there.
#pragma once

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "fusefs/core/client.h"
#include "proto/messages.h"

namespace ebb::fusefs {

struct Core;

/// Under the client's lock.  EHOSTDOWN without a server: nothing of it is known here.
class KeptVersions {
 public:
  explicit KeptVersions(Core& core) : core_(core) {}

  Ticket history(const std::string& path, Reply<std::vector<KeptVersion>> reply);
  /// Replied to when the changes that the server made of it have come.
  Ticket restore(const std::string& path, Version version, Reply<> reply);
  void lost();

 private:
  /// A message of the answer; none: more is to come.
  using Take = std::function<std::optional<Result<>>(const proto::Body& body)>;
  using Done = std::function<void(const Result<>& result)>;

  Ticket ask(const proto::Body& question, Take take, Done done);
  EntryId entry_of(const std::string& path) const;

  Core& core_;
  std::set<Ticket> waiting_;
};

}  // namespace ebb::fusefs
