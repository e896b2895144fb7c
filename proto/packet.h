// The packet: what travels.  Format: ebb-protocol(7), "Packets".
#pragma once

#include <cstdint>
#include <type_traits>

#include "base/bytes.h"

namespace ebb::proto {

/// Before the handshake has agreed on more, no packet is longer, header and all.
inline constexpr std::uint32_t kPacketMaxAtFirst = 4096;
/// The longest that a handshake may agree on.
inline constexpr std::uint32_t kPacketMaxEver = 1u << 20;
/// A message may span packets.  The longest one in all: a peer cannot make us keep more of an unfinished one.
inline constexpr std::uint32_t kMessageMax = 2u << 20;

/// Numbers 0 to 11 are the ancestor's; ours start at 32.  On the wire.
enum class Type : std::uint8_t {
  error = 0,
  ping = 1,
  file_sync_init = 3,
  file_sync_init_response = 4,
  file_sync_data = 5,
  file_sync_check_hash = 6,
  file_sync_check_hash_response = 7,
  file_sync_finish = 9,
  version_handshake = 10,
  version_handshake_response = 11,
  pong = 32,
  pull = 33,
  cancel = 34,
  list = 35,
  list_page = 36,
  mutate = 37,
  mutate_response = 38,
  watch = 39,
  watch_response = 40,
  change = 41,
  stat = 42,
  stat_response = 43,
  stat_fs = 44,
  stat_fs_response = 45,
  history = 46,
  history_page = 47,
  restore = 48,
  restore_response = 49,
  fsmap = 64,
  fsmap_response = 65,
  fsmap_hashes = 66,
  fsmap_hashes_page = 67,
  fsmap_file = 68,
  fsmap_path = 69,
  compare = 70,
  compare_response = 71,
  chunks = 76,
  chunk_list = 77,
  file_sync_delta = 78,
  file_sync_packed = 79,
};

/// The version of every message's layout as this code writes and reads it.
inline constexpr std::uint8_t kLayoutVersion = 1;

/// Bits of PacketHeader::flags.  An unknown bit is refused.
inline constexpr std::uint8_t kMore = 1;  // the message goes on in the session's next packet

struct PacketHeader {
  Le<std::uint32_t> size;          //  0  of the whole packet, this header included
  Le<std::uint8_t> type;           //  4  Type
  Le<std::uint8_t> flags;          //  5
  Le<std::uint8_t> version;        //  6  of the message's layout
  Le<std::uint8_t> oldest_reader;  //  7  the oldest version whose readers understand it; they skip what they
                                   //     do not know at its end
  Le<std::uint32_t> session;       //  8  chosen by the client; 0 = the connection itself
  Le<std::uint32_t> reserved;      // 12  zero; a reader refuses anything else
};
static_assert(sizeof(PacketHeader) == 16 && alignof(PacketHeader) == 1);
static_assert(std::has_unique_object_representations_v<PacketHeader>);

}  // namespace ebb::proto
