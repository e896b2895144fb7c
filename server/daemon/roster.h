// Who may connect over TLS: the clients that are enrolled, each by its key, and the invitations
// that are open.  A JSON file in the server's state folder, so that it can be written while the
// server runs and while it does not.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/hash.h"
#include "base/result.h"
#include "server/core/service.h"

namespace ebb::server {

struct EnrolledClient {
  std::string name;  // [A-Za-z0-9-], no other client's
  std::string key;   // fingerprint, 64 hex digits
  bool read_only = false;
  std::string subtree{};  // the folder that is the tree to it, from the root; empty: all of it
  WallNs since = 0;
};

/// What an invitation grants.
struct InvitationTerms {
  bool read_only = false;
  std::string subtree{};
  WallNs expires = 0;
};

/// Every call reads the file; those that change it replace it, durably, under a lock.  EINVAL, with
/// the path, for a file that is damaged: then nobody is let in, and nothing is written over it. Any
/// thread.
class Roster {
 public:
  explicit Roster(std::string state_folder) : folder_(std::move(state_folder)) {}

  /// The secret of a new invitation; the file keeps its hash alone.
  Result<std::string> invite(const InvitationTerms& terms, WallNs now) const;
  /// By name.
  Result<std::vector<EnrolledClient>> clients() const;
  /// False: no client of this name.
  Result<bool> revoke(const std::string& name) const;

  /// Who has the key.  With an open invitation's secret a new key is enrolled, and the invitation
  /// is used up before this returns.  `known_as`: the name under which the client's id was seen
  /// before, which must not be another's. proto::Errc::not_enrolled with what to do.
  Result<Admission> admit(const std::string& key, const std::string& secret,
                          const std::string& wanted_name, const std::string& known_as,
                          WallNs now) const;

 private:
  std::string folder_;
};

}  // namespace ebb::server
