// One end of a connection, without IO: bytes in, messages out; messages in, bytes out.  It knows
// packets, fragments, the handshake's limits, pings; it does not know what a message means.
#pragma once

#include <deque>
#include <optional>

#include "base/clock.h"
#include "base/result.h"
#include "proto/assembler.h"
#include "proto/messages.h"
#include "proto/outbox.h"
#include "proto/packing.h"

namespace ebb::proto {

enum class Role : std::uint8_t { client, server };

inline constexpr std::uint16_t kVersionMin = 1;
inline constexpr std::uint16_t kVersionMax = 1;

struct Limits {
  std::uint32_t packet_max = kPacketMaxEver;   // offered in the handshake; at least 4096
  std::uint64_t capabilities = kCapabilities;  // likewise
  Packing packing = Packing::measured;
  const Clock* clock = nullptr;  // tells what packing costs
  std::size_t outbox_max = 8u << 20;          // bytes queued to send: a peer that does not read
  std::size_t partial_messages_max = 64;      // unfinished messages: a peer that starts many
  std::size_t partial_bytes_max = 16u << 20;  // bytes of them together
  std::size_t answers_max = 1024;  // answers of our own queued: a peer that pings and does not read
  Duration handshake_timeout = std::chrono::seconds(10);
  Duration ping_after = std::chrono::seconds(10);  // of silence
  Duration dead_after = std::chrono::seconds(30);  // of silence
};

/// Data packets are no longer than this, whatever was agreed: a long one makes all others wait.
inline constexpr std::uint32_t kDataPacketMax = 256u << 10;
/// About what next_output() gives at a time.
inline constexpr std::size_t kOutputMax = 256u << 10;
/// What may wait behind a handshake until agree(), besides what came in one call with it: answers
/// to what a client asked early follow the server's handshake at once.
inline constexpr std::size_t kHeldMax = 64u << 10;

/// Not thread-safe.  Protocol: the client sends a VersionHandshake first and the server answers it;
/// both are handed out like other messages; the side that learns of the agreement calls agree().
/// Any other message before it is bad_packet, but an ErrorMessage.  What follows a handshake in the
/// stream waits for agree(). Session 0 carries handshakes, pings and errors of the connection,
/// every other session everything else. Pings are answered here and not handed out; a message of an
/// unknown type is answered with ErrorMessage{unknown_type} on its session and not handed out.
/// After receive() or advance() has failed, both fail again with the same error, and the connection
/// is to be closed once next_output() is empty (a last ErrorMessage may be in it; what else waited
/// is dropped). In which order messages of different sessions leave: outbox.h.
class Connection {
 public:
  Connection(Role role, Limits limits, Time now);

  /// What the link brought.  Any split of the stream gives the same messages.  proto::Errc on
  /// garbage. Take all of next_message() before the next call: that queue has no limit but what one
  /// call brings.
  Result<> receive(ByteView in, Time now);
  std::optional<Message> next_message();

  /// Encodes and queues.  Nothing was queued at Errc::too_much: outbox_max bytes or more wait, so
  /// wait for can_send(); Errc::too_large: the message is longer than kMessageMax;
  /// Errc::bad_request: a field is out of the bounds that the other side holds it to; Errc::lost:
  /// the connection has failed.
  Result<> send(std::uint32_t session, const Body& body);
  /// FileSyncData, without a copy of its own, and packed where that is agreed on and pays.
  Result<> send_data(std::uint32_t session, std::uint64_t offset, ByteView bytes);
  /// Room for at least one more message, however long.
  bool can_send() const;
  /// At most outbox_max, one more message, and our own answers.
  std::size_t outbox_bytes() const;
  /// The next bytes for the link, at most about 256 KiB at a time (but always a whole packet);
  /// empty when there are none.  Asked for when the link has taken the ones before.
  Bytes next_output(Time now = {});

  /// Packets up to this many bytes from now on, and what both sides can, but within our own limits.
  /// Pings begin.
  void agree(std::uint32_t packet_max, std::uint64_t capabilities = 0);
  bool can(Capability capability) const { return (capabilities_ & capability) != 0; }
  bool agreed() const { return agreed_; }
  std::uint32_t packet_max() const;
  /// The most bytes of file in one FileSyncData that fills a packet, which is at most
  /// kDataPacketMax.
  std::uint32_t data_max() const;

  /// When advance() wants to be called next.
  Time next_deadline() const;
  /// Pings, and fails with Errc::lost when the other side is silent for too long.  A silence that
  /// we slept through does not count: the other side has dead_after - ping_after to answer our
  /// ping.
  Result<> advance(Time now);

 private:
  /// Hands out what has arrived, until a handshake makes it wait.
  Result<> take_messages();
  Result<> take(Assembler::Whole whole);
  Result<> check_place(const Message& message) const;
  Result<Body> body_of(Assembler::Whole& whole) const;
  /// Queues an answer that nobody asked the owner for.
  Result<> answer(std::uint32_t session, const Body& body);
  Result<> failed(const Error& error);
  Time dead_at() const;

  const Role role_;
  const Limits limits_;
  Assembler in_;
  Outbox out_;
  std::deque<Message> inbox_;
  std::optional<Error> failure_;
  Packer packer_;
  std::uint32_t packet_max_ = kPacketMaxAtFirst;
  std::uint64_t capabilities_ = 0;
  bool agreed_ = false;
  bool shaken_ = false;  // a handshake was handed out; nothing more is until agree()
  std::uint64_t nonce_ = 0;
  Time started_;
  Time heard_;                      // the last byte of the other side
  std::optional<Time> first_ping_;  // of this silence
  Time next_ping_ = kNever;
};

}  // namespace ebb::proto
