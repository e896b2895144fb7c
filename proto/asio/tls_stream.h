// TLS on a socket that does not block.  OpenSSL reads the socket itself, many records at a time,
// and what it has made of many records leaves in one write: with a call for each record of 16 KiB
// most of the time would be spent on calls.
#pragma once

#include <functional>
#include <memory>

#include <asio/ssl.hpp>

#include "base/bytes.h"
#include "proto/asio/socket.h"

namespace ebb::proto {

/// On the io_context's thread.  One handshake, then at most one read and one write at a time, each
/// of which ends by a call of its handler, never from inside the call that began it.  It has to
/// live until then; closing next_layer() ends them early.
class TlsStream {
 public:
  enum Role : bool { client, server };
  using Handler = std::function<void(const asio::error_code&, std::size_t)>;
  /// May the other side have this certificate?
  using Verify = std::function<bool(asio::ssl::verify_context&)>;

  /// Bytes read from the socket at a time: a peer of whom nothing is known costs as many.
  static constexpr std::size_t kReadAhead = 128u << 10;

  TlsStream(Socket socket, asio::ssl::context& context);
  TlsStream(const TlsStream&) = delete;
  TlsStream& operator=(const TlsStream&) = delete;

  Socket& next_layer() { return socket_; }
  Socket::executor_type get_executor() { return socket_.get_executor(); }
  SSL* native_handle() { return ssl_.get(); }

  /// In place of the context's.  Before the handshake.
  void set_verify_callback(Verify verify);
  void async_handshake(Role role, std::function<void(const asio::error_code&)> done);
  /// All that has arrived and fits, at least a byte.
  void async_read_some(std::span<std::byte> into, Handler done);
  /// All of it.
  void async_write(ByteView bytes, Handler done);

 private:
  struct Freed {
    void operator()(SSL* ssl) const { SSL_free(ssl); }
  };

  void shake(std::function<void(const asio::error_code&)> done);
  std::size_t read_now(std::span<std::byte> into, asio::error_code& error);
  void flush(std::function<void(const asio::error_code&)> done);
  bool flush_now(asio::error_code& error);
  asio::error_code failure(int result);

  Socket socket_;
  std::unique_ptr<SSL, Freed> ssl_;
  Verify verify_;
  Bytes out_;  // records that have not left
  std::size_t sent_ = 0;
};

}  // namespace ebb::proto
