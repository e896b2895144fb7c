// The connection to the server as the client's parts see it: up or not, sessions to send on and to
// hear from, and when to try again.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>

#include "fusefs/core/client.h"
#include "fusefs/core/lock.h"
#include "proto/connection.h"

namespace ebb::fusefs {

struct Core;

/// Under the client's lock; called by the driver's thread where the lock is passed.
class Link {
 public:
  /// A message of the session.  The lock may be released meanwhile; the session may have been
  /// closed then.
  using Handler = std::function<void(Lock&, const proto::Body&)>;

  explicit Link(Core& core) : core_(core) {}

  bool ready() const { return state_ == State::ready; }
  /// Known to be out of reach: an attempt failed since the last good connection.
  bool away() const { return !ready() && failed_; }
  bool server_read_only() const { return read_only_; }
  const std::string& problem() const { return problem_; }
  bool wants_close() const { return wants_close_; }
  Time connect_at() const { return state_ == State::down ? connect_at_ : kNever; }
  Seq seen_at_handshake() const { return sequence_; }

  void up();
  void received(Lock& lock, ByteView bytes);
  void down(const Error& why);
  Bytes next_output();
  Time next_deadline() const;
  void advance();

  /// The connection is of no use any more: it is closed and made anew.
  void broken(const Error& why);

  std::uint32_t open_session(Handler handler);
  void close_session(std::uint32_t session) { sessions_.erase(session); }
  /// False when it could not be queued: the link is going down, or the outbox is full (see
  /// can_send).
  bool send(std::uint32_t session, const proto::Body& body);
  bool send_data(std::uint32_t session, std::uint64_t offset, ByteView bytes);
  /// Whether the server can, too.
  bool can(proto::Capability capability) const { return ready() && connection_->can(capability); }
  /// What a reader waits for may be asked for behind a handshake that is not answered yet, where the
  /// tree is known: that saves a round trip.
  bool can_pull() const { return (ready() || early()) && connection_->can_send(); }
  /// Room for a few more messages.
  bool can_send() const { return ready() && connection_->can_send(); }
  std::size_t outbox_bytes() const { return connection_ ? connection_->outbox_bytes() : 0; }
  std::uint32_t data_max() const { return connection_->data_max(); }

 private:
  enum class State { down, greeting, ready };

  bool early() const;

  void greet();
  void greeted(Lock& lock, const proto::VersionHandshakeResponse& response);
  void refused(std::string why);
  void dispatch(Lock& lock, const proto::Message& message);
  Duration backoff();

  Core& core_;
  State state_ = State::down;
  std::optional<proto::Connection> connection_;
  std::unordered_map<std::uint32_t, std::shared_ptr<Handler>> sessions_;
  std::uint32_t last_session_ = 0;
  bool failed_ = false;
  bool stopped_ = false;  // the server is not the one we belong to: no further attempt
  bool wants_close_ = false;
  bool read_only_ = false;
  Seq sequence_;
  int attempts_ = 0;
  Time connect_at_{};
  std::string problem_;
};

}  // namespace ebb::fusefs
