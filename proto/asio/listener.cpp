#include "proto/asio/listener.h"

#include <list>

#include <asio/basic_socket_acceptor.hpp>
#include <asio/ip/v6_only.hpp>
#include <asio/local/stream_protocol.hpp>
#include <asio/steady_timer.hpp>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"

namespace ebb::proto {

namespace {

using asio::ip::tcp;
using Acceptor = asio::basic_socket_acceptor<asio::generic::stream_protocol>;
using Local = asio::local::stream_protocol;

/// How long to wait when the process has no descriptor left for a client.
constexpr auto kPauseWhenFull = std::chrono::milliseconds(100);

/// TLS handshakes under way: descriptors and memory of peers of whom nothing is known.  Where more
/// come, the oldest is hung up on: silent strangers must not keep others out, who need a moment
/// only.
constexpr std::size_t kGreetingsMax = 128;
/// How long one may take.
constexpr auto kGreetingTimeout = std::chrono::seconds(10);

/// The file that a bound socket is, so that somebody else's is not unlinked.
struct FileMark {
  dev_t device = 0;
  ino_t inode = 0;
};

bool may_connect(Socket& socket) {
  const auto uid = peer_uid(socket);
  return !uid || *uid == ::geteuid() || *uid == 0;
}

/// Whether a server is behind the socket file.
bool somebody_answers(asio::io_context& io, const std::string& path) {
  Local::socket probe(io);
  asio::error_code error;
  probe.connect(Local::endpoint(path), error);
  return !error || error == asio::error::try_again;  // its queue is full
}

}  // namespace

struct Listener::State : std::enable_shared_from_this<State> {
  /// A TLS handshake under way.
  struct Greeting {
    Greeting(Socket socket, asio::ssl::context& context)
        : tls(std::make_unique<TlsStream>(std::move(socket), context)),
          timer(tls->get_executor()) {}
    void close() {
      asio::error_code ignored;
      if (tls) tls->next_layer().close(ignored);
      timer.cancel();
    }
    std::unique_ptr<TlsStream> tls;
    asio::steady_timer timer;
  };

  struct Door {
    explicit Door(asio::io_context& io) : acceptor(io), timer(io) {}
    Acceptor acceptor;
    asio::steady_timer timer;
  };

  State(asio::io_context& i, const Address& a, ListenOptions o, Accepted f)
      : io(i), address(a), options(o), accepted(std::move(f)) {}

  Result<> open_tcp();
  Result<> open_tcp_at(tcp::endpoint endpoint);
  Result<> open_unix();
  Result<> clear_the_way();
  void accept(Door& door);
  void on_accept(Door& door, const asio::error_code& error, Socket socket);
  void greet(Socket socket);
  void greeted(const std::shared_ptr<Greeting>& greeting, const asio::error_code& error);
  void pause(Door& door);
  void stop();

  asio::io_context& io;
  Address address;
  const ListenOptions options;
  Accepted accepted;
  std::list<Door> doors;                           // one for each address; handlers refer to them
  std::list<std::shared_ptr<Greeting>> greetings;  // oldest first
  FileMark file;
  bool stopped = false;
};

Result<> Listener::State::open_tcp() {
  tcp::resolver resolver(io);
  asio::error_code error;
  const auto found =
      resolver.resolve(address.host, std::to_string(address.port),
                       tcp::resolver::passive | tcp::resolver::numeric_service, error);
  if (error) return tl::unexpected<Error>(to_error(error, to_text(address)));
  Result<> last = fail_errno(EADDRNOTAVAIL, to_text(address));
  for (const auto& entry : found) {
    auto opened = open_tcp_at(entry.endpoint());
    if (opened) continue;
    last = std::move(opened);
    // A machine without IPv6 still has names that mean it; every other failure is one.
    if (!is_errno(last.error(), EADDRNOTAVAIL) && !is_errno(last.error(), EAFNOSUPPORT))
      return last;
  }
  if (doors.empty()) return last;
  return {};
}

Result<> Listener::State::open_tcp_at(tcp::endpoint endpoint) {
  if (!options.key && !is_loopback(endpoint.address())) {
    return fail_errno(EACCES,
                      to_text(address) + " is not loopback, and plain TCP is for loopback alone");
  }
  if (!doors.empty()) endpoint.port(address.port);  // the one that the first door was given
  Door door(io);
  asio::error_code error;
  door.acceptor.open(endpoint.protocol(), error);
  if (!error) {
    close_on_exec(door.acceptor.native_handle());
    door.acceptor.set_option(asio::socket_base::reuse_address(true), error);
  }
  if (!error && endpoint.address().is_v6())
    door.acceptor.set_option(asio::ip::v6_only(true), error);
  if (!error) door.acceptor.bind(endpoint, error);
  if (!error) door.acceptor.listen(asio::socket_base::max_listen_connections, error);
  if (error) return fail_errno(error.value(), to_text(address));
  tcp::endpoint bound = endpoint;
  socklen_t size = static_cast<socklen_t>(bound.capacity());
  if (::getsockname(door.acceptor.native_handle(), bound.data(), &size) == 0) {
    address.port = bound.port();
  }
  doors.push_back(std::move(door));
  return {};
}

/// Takes a dead server's socket away.
Result<> Listener::State::clear_the_way() {
  struct stat there {};
  if (::lstat(address.path.c_str(), &there) != 0) return {};
  if (!S_ISSOCK(there.st_mode)) return fail_errno(EEXIST, address.path);
  if (somebody_answers(io, address.path)) return fail_errno(EADDRINUSE, address.path);
  if (::unlink(address.path.c_str()) != 0 && errno != ENOENT)
    return fail_errno(errno, address.path);
  return {};
}

Result<> Listener::State::open_unix() {
  if (auto clear = clear_the_way(); !clear) return clear;
  Door door(io);
  asio::error_code error;
  door.acceptor.open(Local(), error);
  if (error) return fail_errno(error.value(), address.path);
  close_on_exec(door.acceptor.native_handle());
  // Before bind, so that the file never has another mode.
  if (::fchmod(door.acceptor.native_handle(), 0600) != 0) return fail_errno(errno, address.path);
  door.acceptor.bind(Local::endpoint(address.path), error);
  if (error) return fail_errno(error.value(), address.path);
  struct stat made {};
  if (::lstat(address.path.c_str(), &made) != 0) return fail_errno(errno, address.path);
  file = {made.st_dev, made.st_ino};
  door.acceptor.listen(asio::socket_base::max_listen_connections, error);
  if (error) return fail_errno(error.value(), address.path);
  doors.push_back(std::move(door));
  return {};
}

void Listener::State::accept(Door& door) {
  door.acceptor.async_accept(
      [self = shared_from_this(), &door](const asio::error_code& error, Socket socket) {
        if (!self->stopped) self->on_accept(door, error, std::move(socket));
      });
}

void Listener::State::on_accept(Door& door, const asio::error_code& error, Socket socket) {
  if (error == asio::error::connection_aborted) return accept(door);
  if (error) {
    log_warn("{}: cannot take a client now: {}", to_text(address), error.message());
    return pause(door);
  }
  if (options.key && address.kind == Address::Kind::tcp) {
    greet(std::move(socket));
  } else if (may_connect(socket)) {
    const auto tell = accepted;  // the owner may destroy the Listener inside the call
    tell(std::make_unique<Stream>(std::move(socket)));
  } else {
    log_warn("{}: refused {}", to_text(address), describe_peer(socket));
  }
  if (!stopped) accept(door);
}

void Listener::State::greet(Socket socket) {
  if (greetings.size() >= kGreetingsMax) {
    log_debug("{}: too many begin at once, the oldest is hung up on", to_text(address));
    greetings.front()->close();
    greetings.pop_front();
  }
  prepare(socket);
  const auto greeting = std::make_shared<Greeting>(std::move(socket), options.key->context());
  greetings.push_back(greeting);
  greeting->timer.expires_after(kGreetingTimeout);
  greeting->timer.async_wait([greeting](const asio::error_code& error) {
    if (!error) greeting->close();
  });
  greeting->tls->async_handshake(
      TlsStream::server, [self = shared_from_this(), greeting](const asio::error_code& error) {
        if (!self->stopped) self->greeted(greeting, error);
      });
}

void Listener::State::greeted(const std::shared_ptr<Greeting>& greeting,
                              const asio::error_code& error) {
  greetings.remove(greeting);
  greeting->timer.cancel();
  if (error) return log_debug("{}: no TLS: {}", to_text(address), error.message());
  const auto tell = accepted;
  tell(std::make_unique<Stream>(std::move(greeting->tls)));
}

void Listener::State::pause(Door& door) {
  door.timer.expires_after(kPauseWhenFull);
  door.timer.async_wait([self = shared_from_this(), &door](const asio::error_code&) {
    if (!self->stopped) self->accept(door);
  });
}

void Listener::State::stop() {
  stopped = true;
  accepted = {};
  for (const auto& greeting : greetings) greeting->close();
  greetings.clear();
  for (Door& door : doors) {
    asio::error_code ignored;
    door.acceptor.close(ignored);
    door.timer.cancel();
  }
  struct stat there {};
  if (file.inode != 0 && ::lstat(address.path.c_str(), &there) == 0 &&
      there.st_dev == file.device && there.st_ino == file.inode) {
    ::unlink(address.path.c_str());
  }
}

Result<std::unique_ptr<Listener>> Listener::open(asio::io_context& io, const Address& address,
                                                 ListenOptions options, Accepted accepted) {
  auto state = std::make_shared<State>(io, address, options, std::move(accepted));
  std::unique_ptr<Listener> listener(new Listener(state));
  auto opened = address.kind == Address::Kind::tcp ? state->open_tcp() : state->open_unix();
  if (!opened) return pass(opened.error());
  for (auto& door : state->doors) state->accept(door);
  return listener;
}

Listener::Listener(std::shared_ptr<State> state) : state_(std::move(state)) {}

Listener::~Listener() {
  state_->stop();
}

const Address& Listener::address() const {
  return state_->address;
}

}  // namespace ebb::proto
