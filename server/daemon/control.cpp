#include "server/daemon/control.h"

#include <cerrno>

#include <asio/buffer.hpp>
#include <asio/local/stream_protocol.hpp>
#include <asio/read.hpp>
#include <asio/read_until.hpp>
#include <asio/write.hpp>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/asio/socket.h"
#include "server/daemon/time_text.h"

namespace ebb::server {

using asio::local::stream_protocol;

namespace {

constexpr std::size_t kAnswerMax = 16u << 20;
constexpr std::size_t kRequestMax = 64u << 10;

std::string hex(const TreeId& id) {
  std::string out;
  for (const auto byte : id.bytes) out += fmt::format("{:02x}", byte);
  return out;
}

std::string to_line(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string describe(const Host& host) {
  const auto status = host.service().status();
  Json peers = Json::array();
  for (const auto& peer : status.peers) {
    peers.push_back({{"client", peer.client.value},
                     {"name", peer.name},
                     {"bytes_in", peer.bytes_in},
                     {"bytes_out", peer.bytes_out}});
  }
  Json deletions = Json::array();
  for (const auto& run : status.deletions) {
    const auto begin = utc_text(run.begin);
    deletions.push_back({{"client", run.client.value},
                         {"name", run.name},
                         {"count", run.count},
                         {"begin", begin},
                         {"end", utc_text(run.end)},
                         {"undo", fmt::format("ebbd undo {} --client {} --since {}",
                                              host.options().root, run.name, begin)}});
  }
  const Json all = {{"root", host.options().root},
                    {"tree", hex(status.tree)},
                    {"epoch", status.epoch.value},
                    {"sequence", status.sequence.value},
                    {"entries", status.entries_known},
                    {"mutations", status.mutations},
                    {"conflicts", status.conflicts},
                    {"read_only", host.options().read_only},
                    {"pid", ::getpid()},
                    {"history_bytes", status.history_bytes},
                    {"history_max", status.history_max},
                    {"mass_deletions", deletions},
                    {"peers", peers}};
  return to_line(all);
}

}  // namespace

struct ControlSocket::State : std::enable_shared_from_this<State> {
  State(asio::io_context& context, Host& served, std::string where)
      : io(context), host(&served), path(std::move(where)), acceptor(context) {}

  void accept() {
    auto socket = std::make_shared<stream_protocol::socket>(io);
    acceptor.async_accept(*socket, [self = shared_from_this(), socket](asio::error_code error) {
      if (self->host == nullptr || error == asio::error::operation_aborted) return;
      if (!error) self->hear(socket);
      self->accept();
    });
  }

  void hear(const std::shared_ptr<stream_protocol::socket>& socket) {
    auto in = std::make_shared<std::string>();
    asio::async_read_until(*socket, asio::dynamic_buffer(*in, kRequestMax), '\n',
                           [self = shared_from_this(), socket, in](asio::error_code, std::size_t) {
                             if (self->host != nullptr) self->handle(socket, *in);
                           });
  }

  void handle(const std::shared_ptr<stream_protocol::socket>& socket, const std::string& line) {
    const auto request = parse_json(line);
    const bool asks = request.is_object() && request.contains("do");
    if (!asks) return answer(socket, describe(*host));
    if (request["do"] == "revoke") {
      host->drop_revoked();
      return answer(socket, to_line({{"done", true}}));
    }
    const bool undo = request["do"] == "undo" && request.contains("client") &&
                      request["client"].is_string() && request.contains("since") &&
                      request["since"].is_number_integer();
    if (!undo) return answer(socket, to_line({{"error", "not a request of this version"}}));
    host->undo(request["client"], request["since"],
               [self = shared_from_this(), socket](const Result<UndoReport>& done) {
                 self->answer(socket, to_line(done ? to_json(*done)
                                                   : Json{{"error", done.error().message()}}));
               });
  }

  void answer(const std::shared_ptr<stream_protocol::socket>& socket, std::string line) {
    auto text = std::make_shared<std::string>(std::move(line));
    asio::async_write(*socket, asio::buffer(*text),
                      [socket, text](asio::error_code, std::size_t) {});
  }

  asio::io_context& io;
  Host* host;
  std::string path;
  stream_protocol::acceptor acceptor;
};

ControlSocket::ControlSocket(std::shared_ptr<State> state) : state_(std::move(state)) {}

ControlSocket::~ControlSocket() {
  state_->host = nullptr;
  asio::error_code ignored;
  state_->acceptor.close(ignored);
  ::unlink(state_->path.c_str());
}

Result<std::unique_ptr<ControlSocket>> ControlSocket::open(asio::io_context& io,
                                                           const std::string& path, Host& host) {
  // The state folder's lock is ours: whatever stands here is a leftover.
  if (path.size() >= 108) return fail_errno(ENAMETOOLONG, path);
  ::unlink(path.c_str());
  auto state = std::make_shared<State>(io, host, path);
  asio::error_code error;
  const ::mode_t before = ::umask(0177);
  state->acceptor.open(stream_protocol(), error);
  if (!error) state->acceptor.bind(stream_protocol::endpoint(path), error);
  if (!error) state->acceptor.listen(asio::socket_base::max_listen_connections, error);
  ::umask(before);
  if (error) return fail_errno(error.value(), path);
  proto::close_on_exec(state->acceptor.native_handle());
  state->accept();
  return std::unique_ptr<ControlSocket>(new ControlSocket(std::move(state)));
}

Result<std::string> ask_control(const std::string& path, const std::string& request) {
  if (path.size() >= 108) return fail_errno(ENAMETOOLONG, path);
  asio::io_context io;
  stream_protocol::socket socket(io);
  asio::error_code error;
  socket.connect(stream_protocol::endpoint(path), error);
  if (error) return fail_errno(error.value(), path);
  asio::write(socket, asio::buffer(request + "\n"), error);
  if (error) return fail_errno(error.value(), path);
  std::string answer;
  asio::read(socket, asio::dynamic_buffer(answer, kAnswerMax), error);
  if (error && error != asio::error::eof) return fail_errno(error.value(), path);
  return answer;
}

}  // namespace ebb::server
