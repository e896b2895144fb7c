#include "proto/asio/stream.h"

#include <asio/buffer.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>
#include <asio/write.hpp>

#include "base/check.h"
#include "proto/errors.h"

namespace ebb::proto {

/// Every handler holds the state, so it outlives the operations; `ended` tells them that the owner
/// is gone or has been told of the end.
struct Stream::State : std::enable_shared_from_this<State> {
  explicit State(Socket s)
      : plain(std::move(s)), timer(plain.get_executor()), peer(describe_peer(plain)) {}
  explicit State(std::unique_ptr<TlsStream> t)
      : tls(std::move(t)),
        plain(tls->get_executor()),
        timer(plain.get_executor()),
        peer(describe_peer(tls->next_layer())) {
    if (auto key = peer_fingerprint(*tls)) peer_key = *key;
  }

  Socket& socket() { return tls ? tls->next_layer() : plain; }
  void read();
  void write();
  void on_read(const asio::error_code& error, std::size_t n);
  void pump_later();
  void pump();
  void on_written(const asio::error_code& error, std::size_t n);
  void finish_output();
  void end(Error reason);
  void shut();

  std::unique_ptr<TlsStream> tls;  // else `plain` it is
  Socket plain;
  asio::steady_timer timer;
  const std::string peer;
  std::optional<Fingerprint> peer_key;
  StreamEvents events;
  Bytes input;
  std::vector<Bytes> output;  // in flight
  Bytes joined;               // the same in one piece: TLS makes a record of each piece
  bool started = false;
  bool pumping = false;  // pump() is posted
  bool writing = false;
  bool ended = false;
  bool sent_all = false;           // finishing: our side of the socket is shut
  bool hung_up = false;            // finishing: the other side's is
  std::optional<Error> finishing;  // the reason
  std::uint64_t bytes_in = 0;
  std::uint64_t bytes_out = 0;
};

void Stream::State::read() {
  auto done = [self = shared_from_this()](const asio::error_code& error, std::size_t n) {
    self->on_read(error, n);
  };
  if (tls) return tls->async_read_some(input, std::move(done));
  plain.async_read_some(asio::buffer(input), std::move(done));
}

/// An end without TLS's goodbye is one all the same: every message says how long it is.
static bool is_end(const asio::error_code& error) {
  return error == asio::error::eof || error == asio::ssl::error::stream_truncated;
}

void Stream::State::on_read(const asio::error_code& error, std::size_t n) {
  if (ended) return;
  if (error) {
    if (finishing && (!is_end(error) || sent_all)) return end(*finishing);
    // The other side has closed its half while we still say our last words.
    if (finishing) {
      hung_up = true;
      return;
    }
    if (is_end(error)) return end({Errc::lost, peer + " hung up"});
    return end(to_error(error, peer));
  }
  bytes_in += n;
  if (!finishing) {
    // A copy, for the owner may destroy the Stream, and the function with it, inside the call.
    const auto deliver = events.bytes;
    deliver(ByteView(input).first(n));
  }
  if (!ended) read();
}

void Stream::State::pump_later() {
  if (ended || !started || pumping || writing) return;
  pumping = true;
  asio::post(plain.get_executor(), [self = shared_from_this()] {
    self->pumping = false;
    self->pump();
  });
}

void Stream::State::pump() {
  if (ended || writing || sent_all) return;
  const auto next = events.next_output;
  std::size_t total = 0;
  output.clear();
  while (total < kBatchMax && output.size() < kBatchBuffers) {
    Bytes some = next();
    if (ended) return;
    if (some.empty()) break;
    total += some.size();
    output.push_back(std::move(some));
  }
  if (output.empty()) return finish_output();
  writing = true;
  write();
}

void Stream::State::write() {
  auto done = [self = shared_from_this()](const asio::error_code& error, std::size_t n) {
    self->on_written(error, n);
  };
  if (!tls) {
    std::vector<asio::const_buffer> buffers;
    for (const Bytes& bytes : output) buffers.push_back(asio::buffer(bytes));
    return asio::async_write(plain, buffers, std::move(done));
  }
  if (output.size() == 1) return tls->async_write(output[0], std::move(done));
  joined.clear();
  for (const Bytes& bytes : output) joined.insert(joined.end(), bytes.begin(), bytes.end());
  tls->async_write(joined, std::move(done));
}

void Stream::State::on_written(const asio::error_code& error, std::size_t n) {
  writing = false;
  bytes_out += n;
  if (ended) return;
  if (error) return end(finishing ? *finishing : to_error(error, peer));
  pump();
}

/// Nothing is left to send: if that was the end, waits for the other side to see it.
void Stream::State::finish_output() {
  if (!finishing || sent_all) return;
  if (hung_up) return end(*finishing);
  sent_all = true;
  asio::error_code ignored;
  socket().shutdown(Socket::shutdown_send, ignored);
}

void Stream::State::end(Error reason) {
  const auto tell = std::move(events.closed);
  shut();
  if (tell) tell(std::move(reason));
}

void Stream::State::shut() {
  ended = true;
  events = {};
  timer.cancel();
  asio::error_code ignored;
  socket().close(ignored);
}

Stream::Stream(Socket socket) : state_(std::make_shared<State>(std::move(socket))) {
  prepare(state_->plain);
}

Stream::Stream(std::unique_ptr<TlsStream> tls) : state_(std::make_shared<State>(std::move(tls))) {
  prepare(state_->socket());
}

Stream::~Stream() {
  state_->shut();
}

void Stream::start(StreamEvents events) {
  CHECK(!state_->started);
  state_->started = true;
  state_->events = std::move(events);
  state_->input.resize(kReadMax);
  state_->read();
  state_->pump_later();
}

void Stream::wake() {
  state_->pump_later();
}

void Stream::finish(Error reason, Duration timeout) {
  CHECK(state_->started);
  if (state_->ended || state_->finishing) return;
  state_->finishing = std::move(reason);
  state_->timer.expires_after(timeout);
  state_->timer.async_wait([self = state_](const asio::error_code& error) {
    if (!error && !self->ended) self->end(*self->finishing);
  });
  state_->pump_later();
}

const std::string& Stream::peer() const {
  return state_->peer;
}
const std::optional<Fingerprint>& Stream::peer_key() const {
  return state_->peer_key;
}
std::uint64_t Stream::bytes_in() const {
  return state_->bytes_in;
}
std::uint64_t Stream::bytes_out() const {
  return state_->bytes_out;
}

}  // namespace ebb::proto
