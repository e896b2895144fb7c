// Where a server listens or is found, as it is typed.  Without asio.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace ebb::proto {

inline constexpr std::uint16_t kDefaultPort = 11000;

struct Address {
  enum class Kind : std::uint8_t { tcp, unix_socket };

  Kind kind = Kind::tcp;
  std::string host{};  // tcp: a name or a number; empty = every address of this machine (to listen)
  std::uint16_t port = kDefaultPort;  // tcp; 0 = any free one (to listen)
  std::string path{};                 // unix_socket: of the socket
  std::string subtree{};              // of ebb://host/SUBTREE, without slashes at its ends
  std::string invitation{};           // behind `#`: the server's fingerprint, a dot, a secret

  friend bool operator==(const Address&, const Address&) = default;
};

/// `ebb://HOST[:PORT]/[SUBTREE]` or `unix:PATH`; an IPv6 number in brackets.  EINVAL, or
/// ENAMETOOLONG for the path of a socket, with a sentence as detail.
Result<Address> parse_source(std::string_view text);
/// `HOST:PORT`, `HOST`, `:PORT`, `[V6]:PORT` or `unix:PATH`.
Result<Address> parse_listen(std::string_view text);

/// `ebb://HOST:PORT/SUBTREE` or `unix:PATH`: without the invitation, which is secret.
std::string to_text(const Address& address);

/// Whether nothing but this machine can be behind the address, as far as its text says: a Unix
/// socket, `localhost`, 127.0.0.0/8, ::1.  What a name means in the end is checked again when it is
/// used.
bool is_loopback(const Address& address);

}  // namespace ebb::proto
