#include "proto/connection.h"

#include <algorithm>
#include <type_traits>

#include "base/check.h"

namespace ebb::proto {

namespace {

bool is_handshake(Type type) {
  return type == Type::version_handshake || type == Type::version_handshake_response;
}

bool of_connection(Type type) {
  return is_handshake(type) || type == Type::ping || type == Type::pong;
}

}  // namespace

Connection::Connection(Role role, Limits limits, Time now)
    : role_(role),
      limits_(limits),
      in_(limits.partial_messages_max, limits.partial_bytes_max),
      packer_(limits.packing, limits.clock),
      started_(now),
      heard_(now) {}

// ---- in

Result<> Connection::receive(ByteView in, Time now) {
  if (failure_) return pass(*failure_);
  if (in.empty()) return {};
  heard_ = now;
  first_ping_.reset();
  if (agreed_) next_ping_ = now + limits_.ping_after;
  const bool held = shaken_ && !agreed_;
  if (held && in_.waiting() + in.size() > kHeldMax) {
    return failed({Errc::too_much, "bytes before the handshake was answered"});
  }
  in_.feed(in);
  return take_messages();
}

std::optional<Message> Connection::next_message() {
  if (inbox_.empty()) return std::nullopt;
  std::optional<Message> message(std::move(inbox_.front()));
  inbox_.pop_front();
  return message;
}

Result<> Connection::take_messages() {
  for (;;) {
    if (shaken_ && !agreed_) return {};
    auto whole = in_.next();
    if (!whole) return failed(whole.error());
    if (!*whole) return {};
    if (auto taken = take(std::move(**whole)); !taken) return failed(taken.error());
  }
}

Result<> Connection::take(Assembler::Whole whole) {
  if (!whole.understood) {
    if (!agreed_) return fail(Errc::bad_packet, "no handshake");
    // An error about an error could go on for ever.
    if (whole.type == Type::error) return fail(Errc::bad_packet, "an error of an unknown layout");
    return answer(whole.session, ErrorMessage{Errc::unknown_type, false, {}});
  }
  auto body = body_of(whole);
  if (!body) return pass(body.error());
  Message message{whole.session, *std::move(body)};
  if (auto good = check_place(message); !good) return good;
  if (const auto* ping = std::get_if<Ping>(&message.body)) return answer(0, Pong{ping->nonce});
  if (std::holds_alternative<Pong>(message.body)) return {};
  shaken_ = shaken_ || is_handshake(whole.type);
  inbox_.push_back(std::move(message));
  return {};
}

Result<Body> Connection::body_of(Assembler::Whole& whole) const {
  if (whole.content) return Body(*std::move(whole.content));
  if (whole.type != Type::file_sync_packed) return decode(whole.type, whole.body);
  if (!can(kPacking)) return fail(Errc::bad_packet, "packed data that was not agreed on");
  auto data = unpack(whole.body);
  if (!data) return pass(data.error());
  return Body(*std::move(data));
}

/// Whether such a message may come now and on this session.
Result<> Connection::check_place(const Message& message) const {
  const Type type = type_of(message.body);
  if (type != Type::error && of_connection(type) != (message.session == 0)) {
    return fail(Errc::bad_packet, "a message on the wrong session");
  }
  const Type expected =
      role_ == Role::server ? Type::version_handshake : Type::version_handshake_response;
  if (!agreed_ && type != expected && type != Type::error) {
    return fail(Errc::bad_packet, "no handshake");
  }
  if (agreed_ && is_handshake(type)) return fail(Errc::bad_packet, "a second handshake");
  return {};
}

Result<> Connection::failed(const Error& error) {
  failure_ = error;
  out_.clear();
  // The enum's values are the error_code's: a failure here is always one of ours.
  CHECK(error.code.category() == category());
  const auto code = static_cast<Errc>(error.code.value());
  if (code != Errc::lost) {
    out_.push(0, Type::error, encode(ErrorMessage{code, retry(code), error.detail}));
  }
  return pass(error);
}

// ---- out

Result<> Connection::send(std::uint32_t session, const Body& body) {
  const Type type = type_of(body);
  CHECK(type == Type::error || of_connection(type) == (session == 0));
  if (failure_) return fail(Errc::lost);
  if (!can_send()) return fail(Errc::too_much, "messages that wait to be sent");
  auto bytes = try_encode(body);
  if (!bytes) return pass(bytes.error());
  if (bytes->size() > kMessageMax) return fail(Errc::too_large, "a message");
  CHECK(agreed_ || bytes->size() + sizeof(PacketHeader) <= kPacketMaxAtFirst);
  out_.push(session, type, *std::move(bytes));
  return {};
}

Result<> Connection::send_data(std::uint32_t session, std::uint64_t offset, ByteView bytes) {
  if (failure_) return fail(Errc::lost);
  if (!can_send()) return fail(Errc::too_much, "messages that wait to be sent");
  CHECK(agreed_ && session != 0 && bytes.size() <= kMessageMax - 64);
  if (can(kPacking)) {
    if (auto packed = packer_.pack(offset, bytes)) {
      out_.push(session, Type::file_sync_packed, *std::move(packed));
      return {};
    }
  }
  out_.push_roomed(session, Type::file_sync_data, encode_data(offset, bytes));
  return {};
}

bool Connection::can_send() const {
  return !failure_ && out_.size() < limits_.outbox_max;
}

std::size_t Connection::outbox_bytes() const {
  return out_.size();
}

Bytes Connection::next_output(Time now) {
  Bytes out;
  while (!out_.empty() && out.size() < kOutputMax) out_.pop_packet(packet_max_, out);
  packer_.output(out_.take_left(), now);
  return out;
}

Result<> Connection::answer(std::uint32_t session, const Body& body) {
  if (out_.unasked() >= limits_.answers_max) {
    return fail(Errc::too_much, "answers that are not read");
  }
  out_.push(session, type_of(body), encode(body), true);
  return {};
}

// ---- the agreement

void Connection::agree(std::uint32_t packet_max, std::uint64_t capabilities) {
  capabilities_ = capabilities & limits_.capabilities;
  packet_max_ = std::clamp(packet_max, kPacketMaxAtFirst,
                           std::clamp(limits_.packet_max, kPacketMaxAtFirst, kPacketMaxEver));
  agreed_ = true;
  next_ping_ = heard_ + limits_.ping_after;
  in_.allow(packet_max_);
  if (!failure_)
    static_cast<void>(take_messages());  // a failure shows in the next receive() or advance()
}

std::uint32_t Connection::packet_max() const {
  return packet_max_;
}

std::uint32_t Connection::data_max() const {
  constexpr std::uint32_t kAround = sizeof(PacketHeader) + 8 + 4;  // offset, length
  return std::min(packet_max_, kDataPacketMax) - kAround;
}

// ---- time

Time Connection::next_deadline() const {
  if (failure_) return heard_;
  if (!agreed_) return started_ + limits_.handshake_timeout;
  return first_ping_ ? std::min(next_ping_, dead_at()) : next_ping_;
}

/// When a silence that a ping has not ended is the other side's end.
Time Connection::dead_at() const {
  const Duration patience = std::max(limits_.dead_after - limits_.ping_after, Duration::zero());
  return std::max(heard_ + limits_.dead_after, *first_ping_ + patience);
}

Result<> Connection::advance(Time now) {
  if (failure_) return pass(*failure_);
  if (!agreed_) {
    if (now < started_ + limits_.handshake_timeout) return {};
    return failed({Errc::lost, "no handshake"});
  }
  if (first_ping_ && now >= dead_at()) return failed({Errc::lost, "no answer to a ping"});
  if (now < next_ping_) return {};
  if (!first_ping_) first_ping_ = now;
  next_ping_ = now + limits_.ping_after;
  out_.push(0, Type::ping, encode(Ping{++nonce_}));
  return {};
}

}  // namespace ebb::proto
