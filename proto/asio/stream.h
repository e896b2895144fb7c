// One connection's bytes over a socket: what arrives is handed over, what waits is pulled.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/result.h"
#include "proto/asio/socket.h"
#include "proto/asio/tls.h"

namespace ebb::proto {

/// What an owner of a Stream gives.  All are called on the io_context's thread, never from inside a
/// call to the Stream, and each may destroy the Stream.
struct StreamEvents {
  /// Valid during the call.
  std::function<void(ByteView)> bytes;
  /// The next bytes to send; empty when there are none now (then wake() says when there are).
  std::function<Bytes()> next_output;
  /// The connection has ended: EOF is Errc::lost, everything else the OS's error, or the reason
  /// that was given to finish().  Called once; nothing is called after it.
  std::function<void(Error)> closed;
};

/// Owned by one object on the io_context's thread, where all calls are made.  At most one write is
/// in flight, of what next_output gave until kBatchMax bytes were there; at most kReadMax bytes are
/// read at a time. Destroying it closes the socket at once, and no event comes after.
class Stream {
 public:
  static constexpr std::size_t kReadMax = 256u << 10;
  static constexpr std::size_t kBatchMax = 256u << 10;
  static constexpr std::size_t kBatchBuffers = 16;
  /// How long finish() waits for the other side to take what is left.
  static constexpr Duration kFinishTimeout = std::chrono::seconds(5);

  explicit Stream(Socket socket);
  /// After the TLS handshake.
  explicit Stream(std::unique_ptr<TlsStream> tls);
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  /// Begins to read, and to send.  Once.
  void start(StreamEvents events);
  /// next_output has something.  May be called at any time and often.
  void wake();
  /// Sends what next_output still has, then closes with this reason.  What arrives meanwhile is
  /// dropped, but it is read: a socket that is closed with bytes unread takes back what was sent.
  void finish(Error reason, Duration timeout = kFinishTimeout);

  /// For people.
  const std::string& peer() const;
  /// Whose key the other side has; none where there is no TLS.
  const std::optional<Fingerprint>& peer_key() const;
  std::uint64_t bytes_in() const;
  std::uint64_t bytes_out() const;

 private:
  struct State;
  std::shared_ptr<State> state_;  // shared with the operations in flight
};

}  // namespace ebb::proto
