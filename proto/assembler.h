// Bytes of a link to whole messages, still undecoded: packets are cut out, checked and joined.
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>

#include "base/bytes.h"
#include "base/result.h"
#include "proto/messages.h"

namespace ebb::proto {

/// Not thread-safe.  Keeps at most one packet that is not complete, and of messages that span
/// packets at most `messages_max`, `bytes_max` in all and kMessageMax each.  Until allow() packets
/// are at most 4096 bytes and messages do not span packets, so a peer that has not shaken hands
/// makes us keep 4096 bytes.
class Assembler {
 public:
  struct Whole {
    std::uint32_t session = 0;
    Type type = Type::error;
    bool understood =
        true;       // false: of an unknown type, or for newer readers only; `body` is empty
    ByteView body;  // until the next call of anything here
    std::optional<FileSyncData> content;  // in the body's place
  };

  Assembler(std::size_t messages_max, std::size_t bytes_max)
      : messages_max_(messages_max), bytes_max_(bytes_max) {}

  void allow(std::uint32_t packet_max);

  void feed(ByteView in);
  /// None: more bytes are needed.  After an error, which is Errc::bad_packet or Errc::too_much,
  /// nothing more comes.
  Result<std::optional<Whole>> next();
  /// Bytes that were fed and not yet taken.
  std::size_t waiting() const { return buffer_.size() - taken_; }

 private:
  /// A message whose end has not come.  One that is not understood keeps no bytes.
  struct Partial {
    Type type = Type::error;
    bool understood = true;
    Bytes body;
  };

  /// A long FileSyncData whose end has not come: its bytes go where they will stay at once.
  struct Content {
    std::uint32_t session = 0;
    FileSyncData data;
    std::size_t left = 0;
  };

  bool begin_content(const PacketHeader& header, ByteView body);
  Result<> check(const PacketHeader& header) const;
  /// The message that this packet ends, or none.
  Result<std::optional<Whole>> join(const PacketHeader& header, ByteView body);
  Result<> keep(Partial& partial, ByteView body);
  static bool understood(const PacketHeader& header);

  const std::size_t messages_max_;
  const std::size_t bytes_max_;
  std::uint32_t packet_max_ = kPacketMaxAtFirst;
  bool may_span_ = false;
  std::optional<Content> content_;
  Bytes buffer_;                                         // behind the content
  std::size_t taken_ = 0;                                // bytes of buffer_ that are done with
  std::unordered_map<std::uint32_t, Partial> partials_;  // by session
  std::size_t partial_bytes_ = 0;
  Bytes joined_;  // the body last handed out, where it spanned packets
};

}  // namespace ebb::proto
