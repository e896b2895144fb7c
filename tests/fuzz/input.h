// A fuzz input taken apart from its front, and a message of it in packets whose headers are right:
// what is behind them is the input's.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/bytes.h"
#include "base/log.h"
#include "proto/packet.h"

namespace ebb::fuzz {

/// What is no more is zero or empty.
class Input {
 public:
  explicit Input(ByteView in) : in_(in) {}
  bool empty() const { return in_.empty(); }
  std::uint8_t byte() {
    const ByteView one = bytes(1);
    return one.empty() ? std::uint8_t{0} : std::to_integer<std::uint8_t>(one[0]);
  }
  std::uint16_t pair() {
    const auto low = byte();
    return static_cast<std::uint16_t>(low | byte() << 8);
  }
  ByteView bytes(std::size_t most) {
    const ByteView out = in_.first(std::min(most, in_.size()));
    in_ = in_.subspan(out.size());
    return out;
  }
  ByteView rest() { return bytes(in_.size()); }

 private:
  ByteView in_;
};

/// What a peer does wrong is logged, and here all of them do.
inline void keep_quiet() {
  static const bool quiet = (log_open(LogLevel::error, ""), true);
  static_cast<void>(quiet);
}

/// A message's bytes as the other side would frame them; with `more` they go on.
inline Bytes framed(proto::Type type, std::uint32_t session, bool more, ByteView body) {
  proto::PacketHeader header;
  header.size = static_cast<std::uint32_t>(sizeof header + body.size());
  header.type = static_cast<std::uint8_t>(type);
  header.flags = more ? proto::kMore : std::uint8_t{0};
  header.version = proto::kLayoutVersion;
  header.oldest_reader = proto::kLayoutVersion;
  header.session = session;
  const ByteView head = bytes_of(header);
  Bytes out(head.begin(), head.end());
  out.insert(out.end(), body.begin(), body.end());
  return out;
}

}  // namespace ebb::fuzz
