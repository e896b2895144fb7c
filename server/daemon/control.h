// The control socket in the state folder: whoever may connect sends one line of JSON, or nothing,
// and gets one line of JSON.  Without a request: what the server does.  {"do": "undo", "client":
// NAME, "since": NANOSECONDS}: what the undo has done.  {"do": "revoke"}: who is enrolled no more
// is hung up on.
#pragma once

#include <memory>
#include <string>

#include <asio/io_context.hpp>

#include "base/json.h"
#include "base/result.h"
#include "server/daemon/host.h"

namespace ebb::server {

/// On the io_context's thread.  Mode 0600.
class ControlSocket {
 public:
  static Result<std::unique_ptr<ControlSocket>> open(asio::io_context& io, const std::string& path,
                                                     Host& host);
  ~ControlSocket();

 private:
  struct State;
  explicit ControlSocket(std::shared_ptr<State> state);
  std::shared_ptr<State> state_;
};

/// The line of the server that answers at the path.  ENOENT or ECONNREFUSED: none does.
Result<std::string> ask_control(const std::string& path, const std::string& request = "{}");

Json to_json(const UndoReport& report);

}  // namespace ebb::server
