#include "fusefs/ebb/embedded_source.h"

#include <cerrno>

#include <asio/generic/stream_protocol.hpp>
#include <asio/post.hpp>
#include <sys/socket.h>

#include "server/daemon/embedded.h"

namespace ebb::fusefs {
namespace {

Result<std::unique_ptr<proto::Stream>> stream_over(asio::io_context& io, const Result<int>& fd) {
  if (!fd) return tl::unexpected(fd.error());
  proto::Socket socket(io);
  asio::error_code error;
  socket.assign(asio::generic::stream_protocol(AF_UNIX, 0), *fd, error);
  if (error) return tl::unexpected(proto::to_error(error, "the embedded server"));
  return std::make_unique<proto::Stream>(std::move(socket));
}

}  // namespace

EmbeddedSource::EmbeddedSource(asio::io_context& io, std::unique_ptr<server::EmbeddedServer> server)
    : io_(io), server_(std::move(server)) {}
EmbeddedSource::~EmbeddedSource() = default;

Outcome<std::unique_ptr<EmbeddedSource>> EmbeddedSource::start(asio::io_context& io,
                                                               const std::string& root,
                                                               bool read_only) {
  auto server = server::EmbeddedServer::start(root, {.read_only = read_only, .state = {}});
  if (!server) {
    const Error& error = server.error();
    if (is_errno(error, EBUSY)) {
      return refuse(
          "source {}: served already ({}); unmount that one, or mount its server's address", root,
          error.detail);
    }
    return refuse("source {}: cannot be served: {}", root, error.message());
  }
  return std::unique_ptr<EmbeddedSource>(new EmbeddedSource(io, std::move(*server)));
}

void EmbeddedSource::dial(Done done) {
  attempt_ = std::make_shared<Done>(std::move(done));
  asio::post(io_, [this, attempt = std::weak_ptr<Done>(attempt_)] {
    const auto wanted = attempt.lock();
    if (!wanted) return;  // cancelled, or all of this is gone
    attempt_.reset();
    (*wanted)(stream_over(io_, server_->connect()));
  });
}

void EmbeddedSource::cancel() {
  attempt_.reset();
}

}  // namespace ebb::fusefs
