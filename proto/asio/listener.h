// A socket that waits for clients.
#pragma once

#include <functional>
#include <memory>

#include <asio/io_context.hpp>

#include "base/result.h"
#include "proto/asio/address.h"
#include "proto/asio/stream.h"

namespace ebb::proto {

struct ListenOptions {
  /// TLS with this key for TCP.  None: plain TCP, which refuses every address that another machine could reach.
  std::shared_ptr<TlsKey> key{};
};

/// All calls, and the callback, on the io_context's thread.
/// A Unix socket has mode 0600 and takes its own user (the process's effective uid) and root,
/// whatever is done to its mode later; others are hung up on.  It is unlinked at the end, if it is
/// still ours.  A socket file that is in the way is replaced only when nobody answers on it.
class Listener {
 public:
  using Accepted = std::function<void(std::unique_ptr<Stream>)>;

  /// Listens on every address that the host means; a name is looked up, which may take a while. The
  /// OS's error with the address as detail; EADDRINUSE where somebody answers already, EEXIST where
  /// something that is no socket stands at the path, EACCES for an address that plain TCP
  /// may not have. `accepted` may destroy the Listener.
  static Result<std::unique_ptr<Listener>> open(asio::io_context& io, const Address& address,
                                                ListenOptions options, Accepted accepted);
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  /// With the port that was given to it, where 0 was asked for.
  const Address& address() const;

 private:
  struct State;
  explicit Listener(std::shared_ptr<State> state);
  std::shared_ptr<State> state_;
};

}  // namespace ebb::proto
