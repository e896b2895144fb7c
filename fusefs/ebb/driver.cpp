#include "fusefs/ebb/driver.h"

#include <algorithm>
#include <utility>

#include <asio/post.hpp>

#include "base/log.h"
#include "proto/errors.h"

namespace ebb::fusefs {

void Waker::wake() {
  if (posted_.exchange(true)) return;
  asio::post(io_, [this] {
    posted_ = false;  // before the step: what changes during it asks for another
    if (step_) step_();
  });
}

Driver::Driver(asio::io_context& io, Client& client, Dialer& dialer, Waker& waker)
    : client_(client), dialer_(dialer), waker_(waker), timer_(io) {
  waker_.bind([this] { step(); });
  waker_.wake();
}

Driver::~Driver() {
  waker_.bind({});
}

void Driver::step() {
  const Time now = system_clock().now();
  if (!stream_ && !dialing_ && client_.connect_at() <= now) connect();
  if (client_.next_deadline() <= now) client_.advance();
  if (stream_ && client_.wants_close() && !closing_) {
    closing_ = true;
    stream_->finish({proto::Errc::lost, "closed on our side"});
  } else if (stream_) {
    stream_->wake();
  }
  set_timer();
}

void Driver::connect() {
  dialing_ = true;
  dialer_.dial(
      [this](Result<std::unique_ptr<proto::Stream>> stream) { dialed(std::move(stream)); });
}

void Driver::dialed(Result<std::unique_ptr<proto::Stream>> stream) {
  dialing_ = false;
  if (!stream) return lost(stream.error());
  stream_ = std::move(*stream);
  closing_ = false;
  log_info("connected to {}", stream_->peer());
  client_.link_up();
  stream_->start({.bytes = [this](ByteView bytes) { received(bytes); },
                  .next_output = [this] { return client_.next_output(); },
                  .closed = [this](const Error& why) { lost(why); }});
  step();
}

void Driver::received(ByteView bytes) {
  client_.link_received(bytes);
  step();
}

void Driver::lost(const Error& why) {
  if (stream_) log_info("the connection ended: {}", why.message());
  stream_.reset();
  client_.link_down(why);
  step();
}

void Driver::set_timer() {
  Time at = client_.next_deadline();
  if (!stream_ && !dialing_) at = std::min(at, client_.connect_at());
  if (at == kNever) {
    timer_.cancel();
    return;
  }
  // A far deadline is looked at again in between; adding it to a clock must not overflow.
  const Duration left =
      std::clamp<Duration>(at - system_clock().now(), Duration::zero(), std::chrono::hours(1));
  timer_.expires_after(std::chrono::duration_cast<asio::steady_timer::duration>(left));
  timer_.async_wait([this](const asio::error_code& error) {
    if (!error) step();
  });
}

}  // namespace ebb::fusefs
