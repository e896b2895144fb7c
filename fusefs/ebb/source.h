// SOURCE of a mount, as it is typed: where the tree comes from.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "fusefs/ebb/refusal.h"
#include "proto/asio/address.h"

namespace ebb::fusefs {

struct Source {
  /// A server's; none: the directory `folder`, served by an embedded server.
  std::optional<proto::Address> address;
  std::string folder;  // absolute

  /// The one way to write it: in the mount table, and as the key under which the tree is
  /// remembered.
  std::string text() const;
};

/// Purely by its text, but for a relative path, which is taken from the current folder.  Nothing
/// need exist.
Outcome<Source> parse_source(std::string_view text, bool insecure);

}  // namespace ebb::fusefs
