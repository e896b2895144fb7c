// SOURCE of a mount, as it is typed: where the tree comes from.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "fusefs/ebb/failure.h"

namespace ebb::fusefs {

struct Source {
  enum class Kind { tcp, unix_socket, folder };
  static constexpr std::uint16_t kDefaultPort = 11000;

  Kind kind = Kind::folder;
  std::string host;  // tcp
  std::uint16_t port = kDefaultPort;
  std::string path;  // socket or folder, absolute
  /// The one way to write it: in the mount table, and as the key under which the tree is
  /// remembered.
  std::string text() const;
};

/// Purely by its text, but for a relative path, which is taken from the current folder.  A folder
/// need not exist.
Outcome<Source> parse_source(std::string_view text, bool insecure);

}  // namespace ebb::fusefs
