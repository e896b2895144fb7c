// How a connection to the source is made.
#pragma once

#include <functional>
#include <memory>

#include <asio/io_context.hpp>

#include "base/result.h"
#include "proto/asio/connector.h"

namespace ebb::fusefs {

/// One attempt at a time, on the io_context's thread.  The object going ends the attempt.
class Dialer {
 public:
  using Done = std::function<void(Result<std::unique_ptr<proto::Stream>>)>;
  virtual ~Dialer() = default;
  /// `done` is called once, not from inside, after a bounded time.
  virtual void dial(Done done) = 0;
  /// The attempt under way is ended; its `done` is not called.
  virtual void cancel() = 0;
};

/// To a server's address.
class AddressDialer : public Dialer {
 public:
  AddressDialer(asio::io_context& io, proto::Address address, proto::ConnectOptions options)
      : io_(io), address_(std::move(address)), options_(std::move(options)) {}
  void dial(Done done) override {
    connector_ = std::make_unique<proto::Connector>(io_, address_, options_, std::move(done));
  }
  void cancel() override { connector_.reset(); }

 private:
  asio::io_context& io_;
  const proto::Address address_;
  const proto::ConnectOptions options_;
  std::unique_ptr<proto::Connector> connector_;
};

}  // namespace ebb::fusefs
