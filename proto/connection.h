// One end of a connection, without IO: bytes in, messages out; messages in, bytes out.  It knows packets,
// fragments, the handshake's limits, pings; it does not know what a message means.
#pragma once

#include <deque>
#include <optional>

#include "base/clock.h"
#include "base/result.h"
#include "proto/messages.h"

namespace ebb::proto {

enum class Role : std::uint8_t { client, server };

inline constexpr std::uint16_t kVersionMin = 1;
inline constexpr std::uint16_t kVersionMax = 1;

struct Limits {
  std::uint32_t packet_max = kPacketMaxEver;     // offered in the handshake; at least 4096
  std::size_t outbox_max = 8u << 20;             // bytes queued to send: a peer that does not read
  std::size_t partial_messages_max = 64;         // unfinished messages: a peer that starts many
  Duration handshake_timeout = std::chrono::seconds(10);
  Duration ping_after = std::chrono::seconds(10);   // of silence
  Duration dead_after = std::chrono::seconds(30);   // of silence
};

/// Not thread-safe.  Protocol: the client sends a VersionHandshake first and the server answers it; both are
/// handed out like other messages; the side that learns of the agreement calls agree().  Any other message
/// before it is bad_packet.  Pings are answered here and not handed out.
/// After receive() has failed the connection is to be closed once next_output() is empty (a last ErrorMessage
/// may be in it).
class Connection {
 public:
  Connection(Role role, Limits limits, Time now);

  /// What the link brought.  Any split of the stream gives the same messages.  proto::Errc on garbage.
  Result<> receive(ByteView in, Time now);
  std::optional<Message> next_message();

  /// Encodes and queues.  Errc::too_much past outbox_max (nothing was queued): wait for can_send().
  Result<> send(std::uint32_t session, const Body& body);
  /// Room for at least one more message of the largest packet.
  bool can_send() const;
  std::size_t outbox_bytes() const;
  /// The next bytes for the link, at most about 256 KiB at a time; empty when there are none.
  Bytes next_output();

  /// Packets up to this many bytes from now on.
  void agree(std::uint32_t packet_max);
  std::uint32_t packet_max() const;
  /// The most bytes of file in one FileSyncData that fills a packet.
  std::uint32_t data_max() const;

  /// When advance() wants to be called next.
  Time next_deadline() const;
  /// Pings, and fails with Errc::lost when the other side is silent for too long.
  Result<> advance(Time now);
};

}  // namespace ebb::proto
