// A server inside another program (`ebb mount DIRECTORY`): the same service over the same packets,
// on a thread of its own; a connection to it is a socket.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"

namespace ebb::server {

struct EmbeddedOptions {
  bool read_only = false;
  std::string state;  // empty: ROOT/.ebbd
};

/// Any thread.  The destructor ends the connections and waits for what is landing.
class EmbeddedServer {
 public:
  /// Opens the tree and recovers it; errors as of `ebbd serve`: EBUSY names who serves the tree
  /// already.
  static Result<std::unique_ptr<EmbeddedServer>> start(const std::string& root,
                                                       EmbeddedOptions options = {});
  ~EmbeddedServer();

  /// A new connection: one end of a socket pair, which is the caller's to close.
  Result<int> connect();

 private:
  struct Running;
  explicit EmbeddedServer(std::unique_ptr<Running> running);
  std::unique_ptr<Running> running_;
};

}  // namespace ebb::server
