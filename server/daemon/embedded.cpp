#include "server/daemon/embedded.h"

#include <cerrno>
#include <future>
#include <thread>

#include <asio/local/stream_protocol.hpp>
#include <asio/post.hpp>
#include <sys/socket.h>
#include <unistd.h>

#include "server/daemon/host.h"

namespace ebb::server {

struct EmbeddedServer::Running {
  asio::io_context io;
  asio::executor_work_guard<asio::io_context::executor_type> busy{io.get_executor()};
  std::unique_ptr<Host> host;  // on `thread` alone, once that runs
  std::thread thread;
};

EmbeddedServer::EmbeddedServer(std::unique_ptr<Running> running) : running_(std::move(running)) {}

Result<std::unique_ptr<EmbeddedServer>> EmbeddedServer::start(const std::string& root,
                                                              EmbeddedOptions options) {
  auto running = std::make_unique<Running>();
  auto host = Host::open(running->io, {root, std::move(options.state), options.read_only, 0, true});
  if (!host) return pass(host.error());
  running->host = std::move(*host);
  running->thread = std::thread([raw = running.get()] { raw->io.run(); });
  return std::unique_ptr<EmbeddedServer>(new EmbeddedServer(std::move(running)));
}

EmbeddedServer::~EmbeddedServer() {
  std::promise<void> ended;
  asio::post(running_->io, [this, &ended] {
    running_->host->hang_up();
    running_->host.reset();
    ended.set_value();
  });
  ended.get_future().wait();
  running_->busy.reset();
  running_->io.stop();
  running_->thread.join();
}

Result<int> EmbeddedServer::connect() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    return fail_errno(errno, "socketpair");
  }
  asio::post(running_->io, [this, fd = ends[1]] {
    asio::generic::stream_protocol unix_stream(AF_UNIX, 0);
    proto::Socket socket(running_->io);
    asio::error_code error;
    socket.assign(unix_stream, fd, error);
    if (error || !running_->host) return void(::close(fd));
    running_->host->admit(std::make_unique<proto::Stream>(std::move(socket)));
  });
  return ends[0];
}

}  // namespace ebb::server
