// Asking a server, before anything is opened, which tree it serves.
#pragma once

#include <string>

#include <asio/io_context.hpp>

#include "base/clock.h"
#include "base/ids.h"
#include "base/result.h"
#include "fusefs/ebb/dialer.h"

namespace ebb::fusefs {

struct ProbeIdentity {
  std::string host_name;  // what the server is to call this client where it enrols it
  std::string secret;     // of an invitation, which this uses up; empty: none
  std::string subtree;    // the folder that is to be the tree; empty: all of it
};

/// One handshake, which is refused and, without a secret, leaves no trace on the server, then the
/// connection is closed.  Runs the io_context, whose own thread must not run yet, for at most
/// `limit`; ETIMEDOUT then.  A refusal has its sentence as detail.
Result<TreeId> probe_tree(asio::io_context& io, Dialer& dialer, Duration limit,
                          const ProbeIdentity& identity);

}  // namespace ebb::fusefs
