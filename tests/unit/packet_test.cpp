// The packet header is a format: these bytes are what other programs send and expect.
#include "proto/packet.h"

#include <gtest/gtest.h>

#include "proto/outbox.h"

namespace ebb::proto {
namespace {

TEST(Packet, HeaderIsLaidOutAsWritten) {
  PacketHeader h;
  h.size = 0x04030201;
  h.type = 0x05;
  h.flags = 0x06;
  h.version = 0x07;
  h.oldest_reader = 0x08;
  h.session = 0x0c0b0a09;
  h.reserved = 0x100f0e0d;
  const ByteView raw = bytes_of(h);
  ASSERT_EQ(raw.size(), 16u);
  for (std::size_t i = 0; i < 16; ++i) EXPECT_EQ(std::to_integer<std::size_t>(raw[i]), i + 1);
}

TEST(Packet, TheAncestorsNumbersAreKept) {
  EXPECT_EQ(static_cast<int>(Type::error), 0);
  EXPECT_EQ(static_cast<int>(Type::ping), 1);
  EXPECT_EQ(static_cast<int>(Type::file_sync_init), 3);
  EXPECT_EQ(static_cast<int>(Type::file_sync_init_response), 4);
  EXPECT_EQ(static_cast<int>(Type::file_sync_data), 5);
  EXPECT_EQ(static_cast<int>(Type::file_sync_check_hash), 6);
  EXPECT_EQ(static_cast<int>(Type::file_sync_check_hash_response), 7);
  EXPECT_EQ(static_cast<int>(Type::file_sync_finish), 9);
  EXPECT_EQ(static_cast<int>(Type::version_handshake), 10);
  EXPECT_EQ(static_cast<int>(Type::version_handshake_response), 11);
}

TEST(Packet, AMessageIsCutWhereThePacketIsFull) {
  for (std::size_t size : {0u, 1u, 4079u, 4080u, 4081u, 8160u, 8161u}) {
    Outbox out;
    out.push(3, Type::change, Bytes(size));
    std::size_t packets = 0, bodies = 0;
    while (!out.empty()) {
      Bytes bytes;
      out.pop_packet(4096, bytes);
      PacketHeader h;
      std::memcpy(&h, bytes.data(), sizeof h);
      ASSERT_EQ(h.size, bytes.size());
      ASSERT_LE(h.size, 4096u);
      ++packets;
      bodies += bytes.size() - sizeof h;
      EXPECT_EQ(h.flags == kMore, bodies < size);
    }
    EXPECT_EQ(bodies, size);
    EXPECT_EQ(packets, size == 0 ? 1 : (size + 4079) / 4080);
    EXPECT_EQ(out.size(), 0u);
  }
}

}  // namespace
}  // namespace ebb::proto
