// The thread between the client core and its server: it owns the connection and the core's timers.
#pragma once

#include <atomic>
#include <functional>
#include <memory>

#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>

#include "fusefs/core/client.h"
#include "fusefs/ebb/dialer.h"

namespace ebb::fusefs {

/// What ClientSeams::wake calls; made before the client, so it waits for its driver.  Any thread;
/// many calls are one step.
class Waker {
 public:
  explicit Waker(asio::io_context& io) : io_(io) {}
  void wake();
  /// On the io_context's thread, or while it does not run.
  void bind(std::function<void()> step) { step_ = std::move(step); }

 private:
  asio::io_context& io_;
  std::atomic<bool> posted_ = false;
  std::function<void()> step_;
};

/// Everything on the io_context's one thread.  Connects when the core wants it, gives it what
/// arrives, lets the stream take what it has to send, and calls it again at its deadline.
class Driver {
 public:
  Driver(asio::io_context& io, Client& client, Dialer& dialer, Waker& waker);
  ~Driver();
  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;

 private:
  void step();
  void connect();
  void dialed(Result<std::unique_ptr<proto::Stream>> stream);
  void received(ByteView bytes);
  void lost(const Error& why);
  void set_timer();

  Client& client_;
  Dialer& dialer_;
  Waker& waker_;
  asio::steady_timer timer_;
  std::unique_ptr<proto::Stream> stream_;
  bool dialing_ = false;
  bool closing_ = false;
};

}  // namespace ebb::fusefs
