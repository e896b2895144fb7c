#include "proto/asio/connector.h"

#include <deque>

#include <asio/local/stream_protocol.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>

namespace ebb::proto {

using asio::ip::tcp;

/// Every handler holds the state; `over` tells them that nobody waits any more.
struct Connector::State : std::enable_shared_from_this<State> {
  using Endpoint = asio::generic::stream_protocol::endpoint;

  State(asio::io_context& io, const Address& a, ConnectOptions o, Done d)
      : address(a), options(o), done(std::move(d)), resolver(io), socket(io), timer(io) {}

  void start();
  void resolved(const asio::error_code& error, const tcp::resolver::results_type& found);
  void try_next();
  void connected();
  void shaken(const asio::error_code& error);
  void refuse_key();
  void end(Result<std::unique_ptr<Stream>> result);
  void shut();

  const Address address;
  const ConnectOptions options;
  Done done;
  tcp::resolver resolver;
  Socket socket;
  std::unique_ptr<TlsStream> tls;
  asio::steady_timer timer;
  std::deque<Endpoint> endpoints;
  Error last;  // why the former one failed
  const std::shared_ptr<bool> other_key = std::make_shared<bool>(false);  // was shown
  bool over = false;
};

void Connector::State::start() {
  timer.expires_after(options.timeout);
  timer.async_wait([self = shared_from_this()](const asio::error_code& error) {
    if (!error && !self->over) self->end(fail_errno(ETIMEDOUT, to_text(self->address)));
  });
  last = fail_errno(EADDRNOTAVAIL, to_text(address)).value();
  if (address.kind == Address::Kind::unix_socket) {
    endpoints.emplace_back(asio::local::stream_protocol::endpoint(address.path));
    asio::post(socket.get_executor(), [self = shared_from_this()] { self->try_next(); });
    return;
  }
  resolver.async_resolve(address.host, std::to_string(address.port), tcp::resolver::numeric_service,
                         [self = shared_from_this()](const asio::error_code& error,
                                                     const tcp::resolver::results_type& found) {
                           self->resolved(error, found);
                         });
}

void Connector::State::resolved(const asio::error_code& error,
                                const tcp::resolver::results_type& found) {
  if (over) return;
  if (error) return end(tl::unexpected<Error>(to_error(error, to_text(address))));
  for (const auto& entry : found) {
    if (!options.key && !is_loopback(entry.endpoint().address())) {
      last = fail_errno(EACCES, to_text(address) + " is not this machine").value();
    } else {
      endpoints.emplace_back(entry.endpoint());
    }
  }
  try_next();
}

void Connector::State::try_next() {
  if (over) return;
  if (endpoints.empty()) return end(pass(last));
  const Endpoint endpoint = endpoints.front();
  endpoints.pop_front();
  asio::error_code error;
  socket.close(error);
  socket.open(endpoint.protocol(), error);
  if (error) {
    last = to_error(error, to_text(address));
    return try_next();
  }
  close_on_exec(socket.native_handle());
  socket.async_connect(endpoint, [self = shared_from_this()](const asio::error_code& failure) {
    if (self->over) return;
    if (!failure) return self->connected();
    self->last = to_error(failure, to_text(self->address));
    self->try_next();
  });
}

void Connector::State::connected() {
  if (!options.key || address.kind != Address::Kind::tcp) {
    return end(std::make_unique<Stream>(std::move(socket)));
  }
  prepare(socket);
  tls = std::make_unique<TlsStream>(std::move(socket), options.key->context());
  // As soon as the server has shown its key, before it is shown ours.
  tls->set_verify_callback(
      [expected = options.server, other = other_key](asio::ssl::verify_context& shown) {
        const auto print = fingerprint_shown(shown);
        *other = *other || !print || *print != expected;
        return !*other;
      });
  tls->async_handshake(TlsStream::client,
                       [self = shared_from_this()](const asio::error_code& error) {
                         if (!self->over) self->shaken(error);
                       });
}

void Connector::State::shaken(const asio::error_code& error) {
  if (*other_key) return refuse_key();
  if (error) {
    return end(fail_errno(EPROTO, to_text(address) + ": no TLS with it (" + error.message() +
                                      "); a server with --insecure is mounted with -o insecure"));
  }
  const auto shown = peer_fingerprint(*tls);
  if (!shown) return end(pass(shown.error()));
  if (*shown != options.server) return refuse_key();
  end(std::make_unique<Stream>(std::move(tls)));
}

void Connector::State::refuse_key() {
  end(fail_errno(EKEYREJECTED,
                 to_text(address) +
                     ": the server shows another key than the one that was enrolled with; either "
                     "it was set up anew, then ask its owner for a new invitation, or somebody "
                     "stands in between"));
}

void Connector::State::end(Result<std::unique_ptr<Stream>> result) {
  const auto tell = std::move(done);
  shut();
  tell(std::move(result));
}

void Connector::State::shut() {
  over = true;
  done = {};
  timer.cancel();
  resolver.cancel();
  asio::error_code ignored;
  socket.close(ignored);
  if (tls) tls->next_layer().close(ignored);
}

Connector::Connector(asio::io_context& io, const Address& address, ConnectOptions options,
                     Done done)
    : state_(std::make_shared<State>(io, address, options, std::move(done))) {
  state_->start();
}

Connector::~Connector() {
  state_->shut();
}

}  // namespace ebb::proto
