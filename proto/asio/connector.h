// Reaching a server.
#pragma once

#include <functional>
#include <memory>

#include <asio/io_context.hpp>

#include "base/clock.h"
#include "base/result.h"
#include "proto/asio/address.h"
#include "proto/asio/stream.h"

namespace ebb::proto {

struct ConnectOptions {
  /// For looking up the name and all attempts together; then ETIMEDOUT.
  Duration timeout = std::chrono::seconds(10);
  /// TLS with this key, to a server that has `server`'s; else EKEYREJECTED.  None: plain TCP, which refuses every
  /// address that is another machine's (EACCES), what a name means included.  Unix sockets are as they are.
  std::shared_ptr<TlsKey> key{};
  Fingerprint server{};
};

/// One attempt to connect, begun by its construction, on the io_context's thread.  Destroying it
/// ends the attempt, and `done` is not called any more; it is never called from inside the
/// constructor, once, and may destroy the Connector.  Errors: the OS's of the last address that was
/// tried, with the address as detail.
class Connector {
 public:
  using Done = std::function<void(Result<std::unique_ptr<Stream>>)>;

  Connector(asio::io_context& io, const Address& address, ConnectOptions options, Done done);
  ~Connector();
  Connector(const Connector&) = delete;
  Connector& operator=(const Connector&) = delete;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace ebb::proto
