// A directory as a source: the server inside this process, spoken to over a socket pair like any
// other.
#pragma once

#include <memory>
#include <string>

#include <asio/io_context.hpp>

#include "fusefs/ebb/dialer.h"
#include "fusefs/ebb/refusal.h"

namespace ebb::server {
class EmbeddedServer;
}

namespace ebb::fusefs {

class EmbeddedSource : public Dialer {
 public:
  /// Starts the server, which has threads of its own.
  static Outcome<std::unique_ptr<EmbeddedSource>> start(asio::io_context& io,
                                                        const std::string& root, bool read_only);
  ~EmbeddedSource() override;

  void dial(Done done) override;
  void cancel() override;

 private:
  EmbeddedSource(asio::io_context& io, std::unique_ptr<server::EmbeddedServer> server);

  asio::io_context& io_;
  std::unique_ptr<server::EmbeddedServer> server_;
  std::shared_ptr<Done> attempt_;  // posted, not yet called
};

}  // namespace ebb::fusefs
