// The packet header is a format: these bytes are what other programs send and expect.  And a whole
// session's stream is the same messages however it is cut.
#include "proto/packet.h"

#include <gtest/gtest.h>

#include "proto/outbox.h"
#include "tests/support/test_peer.h"

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

// ---- a real session's stream

/// A service that was listed, pulled from, pushed to, changed, asked and watched, in small packets.
struct RealSession {
  RealSession() {
    world.depot.make_folder("folder");
    world.depot.write("file", std::string(6000, 'f'));
    world.depot.write("folder/inner", "inner content");
    EXPECT_TRUE(world.start()) << world.open_error;
    test::TestPeer peer(world, 7, false);
    auto hello = peer.hello();
    hello.packet_max = kPacketMaxAtFirst;
    EXPECT_TRUE(peer.shake(hello));
    peer.send(peer.next_session(), Watch{});
    const auto entry = peer.list(kRootEntry, 100).at("file");
    EXPECT_TRUE(peer.pull(entry.id, entry.content_version, {{10, 20}, {4000, 5000}}).hash_fits);
    const std::string content(5000, 'n');
    EXPECT_EQ(peer.push(peer.init_new(kRootEntry, "new", content.size()), content).code, Errc::ok);
    EXPECT_EQ(peer.push(peer.init_new(kRootEntry, "file", 3), "not").code, Errc::exists);
    Mutate link;
    link.kind = MutationKind::make_symlink;
    link.place = {kRootEntry, "link"};
    link.target = std::string(kTargetMax, 't');  // more than a packet
    EXPECT_EQ(peer.mutate(link).code, Errc::ok);
    peer.send(peer.next_session(), Stat{entry.id});
    peer.send(peer.next_session(), StatFs{});
    peer.send(peer.next_session(), History{{}, "file"});
    peer.send(0, Ping{5});
    peer.settle();
    to_server = peer.sent();
    to_client = peer.received();
  }
  test::ServedTree world;
  Bytes to_server, to_client;
};

/// What a connection hands out of the stream in these pieces; both sides keep to small packets.
std::vector<Message> messages_of(Role role, const std::vector<ByteView>& pieces) {
  Connection connection(role, {}, Time{});
  std::vector<Message> all;
  for (const ByteView piece : pieces) {
    const auto good = connection.receive(piece, Time{});
    EXPECT_TRUE(good) << good.error().message();
    while (auto message = connection.next_message()) {
      const Type type = type_of(message->body);
      all.push_back(*std::move(message));
      if (type == Type::version_handshake || type == Type::version_handshake_response) {
        connection.agree(kPacketMaxAtFirst);
      }
    }
  }
  return all;
}

TEST(Stream, OfARealSessionIsTheSameWhereverItIsCut) {
  const RealSession session;
  const std::pair<Role, const Bytes&> directions[] = {{Role::server, session.to_server},
                                                      {Role::client, session.to_client}};
  for (const auto& [role, bytes] : directions) {
    const ByteView stream(bytes);
    const auto expected = messages_of(role, {stream});
    EXPECT_GT(expected.size(), 12u);
    for (std::size_t cut = 0; cut <= stream.size(); ++cut) {
      const auto found = messages_of(role, {stream.first(cut), stream.subspan(cut)});
      ASSERT_EQ(found, expected) << "cut at " << cut;
    }
    std::vector<ByteView> single;
    for (std::size_t at = 0; at < stream.size(); ++at) single.push_back(stream.subspan(at, 1));
    EXPECT_EQ(messages_of(role, single), expected);
  }
}

}  // namespace
}  // namespace ebb::proto
