// Asking a server, before anything is opened, which tree it serves.
#pragma once

#include <asio/io_context.hpp>

#include "base/clock.h"
#include "base/ids.h"
#include "base/result.h"
#include "fusefs/ebb/dialer.h"

namespace ebb::fusefs {

/// One handshake, which is refused and leaves no trace on the server, then the connection is
/// closed.  Runs the io_context, whose own thread must not run yet, for at most `limit`; ETIMEDOUT
/// then.  A refusal has its sentence as detail.
Result<TreeId> probe_tree(asio::io_context& io, Dialer& dialer, Duration limit);

}  // namespace ebb::fusefs
