// What TCP and Unix sockets have in common here, and how they are set up.
#pragma once

#include <optional>
#include <string>

#include <asio/generic/stream_protocol.hpp>
#include <asio/ip/tcp.hpp>

#include "base/result.h"

namespace ebb::proto {

using Socket = asio::generic::stream_protocol::socket;

/// Bytes that wait in the kernel unsent before a write has to wait.  With more, a ping or a
/// reader's request would stand behind seconds of data on a slow line, whatever the outbox's order
/// is.
inline constexpr int kUnsentMax = 256 << 10;

/// Close-on-exec (asio does not), and for TCP: no delay, kUnsentMax.  Does what the kernel allows.
void prepare(Socket& socket);
void close_on_exec(int fd);

bool is_loopback(const asio::ip::address& address);

/// Who is at the other end of a Unix socket; none for TCP.
std::optional<uid_t> peer_uid(Socket& socket);
/// "127.0.0.1:4711" or "unix socket, uid 1000", for people.
std::string describe_peer(Socket& socket);

/// An asio error as one of ours.
Error to_error(const asio::error_code& code, std::string detail);

}  // namespace ebb::proto
