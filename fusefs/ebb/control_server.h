// The daemon's end of the control socket.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include <asio/io_context.hpp>
#include <asio/local/stream_protocol.hpp>

#include "fusefs/core/client.h"
#include "fusefs/ebb/refusal.h"

namespace ebb::fusefs {

/// Serves the owner of this process and root; anybody else is hung up on.  Everything runs on the
/// io_context's one thread; the object must be made and destroyed there or while it does not run.
class ControlServer {
 public:
  /// Conversations at once.
  static constexpr std::size_t kPeersMax = 64;

  struct Facts {
    std::string mountpoint;
    std::string source;
    std::string state_folder;
    std::function<bool()> ending;  // the mount is gone and the rest is being pushed
  };

  /// The socket is made with mode 0600, over one that a former daemon left; the caller holds the
  /// folder's lock.
  static Outcome<std::unique_ptr<ControlServer>> listen(asio::io_context& io, Client& client,
                                                        Facts facts);
  ~ControlServer();

  const std::string& path() const { return path_; }

 private:
  class Peer;
  ControlServer(asio::io_context& io, Client& client, Facts facts);
  Outcome<> open();
  void accept();
  void gone(Peer* peer);

  asio::io_context& io_;
  Client& client_;
  Facts facts_;
  std::string path_;
  asio::local::stream_protocol::acceptor acceptor_;
  std::vector<std::shared_ptr<Peer>> peers_;
};

}  // namespace ebb::fusefs
