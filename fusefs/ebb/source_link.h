// How a source is reached: with which key, over which dialer.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include <asio/io_context.hpp>

#include "fusefs/ebb/dialer.h"
#include "fusefs/ebb/enrolment.h"
#include "fusefs/ebb/refusal.h"
#include "fusefs/ebb/source.h"

namespace ebb::fusefs {

struct SourceLink {
  std::unique_ptr<Dialer> dialer;
  std::optional<Enrolment> enrolment{};  // over TLS
};

/// A directory begins to be served by an embedded server.
Outcome<SourceLink> open_source(asio::io_context& io, const Source& source, bool insecure,
                                bool read_only);

/// This machine's, in conflict names and on the server: [A-Za-z0-9-].
std::string host_name();

}  // namespace ebb::fusefs
