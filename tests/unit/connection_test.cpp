// What a Connection promises: the same messages from any split of the stream, bounds on what a peer
// can make it keep, no starving, and an end to silence.
#include "proto/connection.h"

#include <map>
#include <set>

#include <gtest/gtest.h>

#include "tests/support/random_messages.h"

namespace ebb::proto {
namespace {

using std::chrono::seconds;

constexpr Time kStart{};

Time at(int s) {
  return kStart + seconds(s);
}

/// A connection that has shaken hands with somebody.
Connection agreed(Role role, std::uint32_t packet_max, Limits limits = {}) {
  Connection c(role, limits, kStart);
  c.agree(packet_max);
  return c;
}

Bytes drain(Connection& c) {
  Bytes all;
  for (Bytes some = c.next_output(); !some.empty(); some = c.next_output()) {
    all.insert(all.end(), some.begin(), some.end());
  }
  return all;
}

std::vector<Message> take_all(Connection& c) {
  std::vector<Message> all;
  while (auto m = c.next_message()) all.push_back(*std::move(m));
  return all;
}

std::vector<Message> received(Connection& c, ByteView in) {
  auto good = c.receive(in, kStart);
  EXPECT_TRUE(good) << good.error().message();
  return take_all(c);
}

Errc code_of(const Result<>& result) {
  if (result) return Errc::ok;
  EXPECT_EQ(&result.error().code.category(), &category());
  return static_cast<Errc>(result.error().code.value());
}

struct Raw {
  std::uint32_t size = 0;  // 0 = what it is
  Type type = Type::ping;
  std::uint8_t flags = 0;
  std::uint8_t version = kLayoutVersion;
  std::uint8_t oldest_reader = kLayoutVersion;
  std::uint32_t session = 0;
  std::uint32_t reserved = 0;
};

/// A packet as a peer that does not keep to the rules may send it.
Bytes packet(Raw raw, const Bytes& body) {
  PacketHeader header;
  header.size = raw.size != 0 ? raw.size : static_cast<std::uint32_t>(sizeof header + body.size());
  header.type = static_cast<std::uint8_t>(raw.type);
  header.flags = raw.flags;
  header.version = raw.version;
  header.oldest_reader = raw.oldest_reader;
  header.session = raw.session;
  header.reserved = raw.reserved;
  const ByteView head = bytes_of(header);
  Bytes out(head.begin(), head.end());
  out.insert(out.end(), body.begin(), body.end());
  return out;
}

struct Packet {
  Type type;
  std::uint32_t session;
  std::uint32_t size;
  bool more;
};

/// The packets of a stream that has been checked to be whole.
std::vector<Packet> packets_in(ByteView stream) {
  std::vector<Packet> all;
  while (!stream.empty()) {
    PacketHeader h;
    EXPECT_GE(stream.size(), sizeof h);
    std::memcpy(&h, stream.data(), sizeof h);
    EXPECT_LE(h.size, stream.size());
    all.push_back(
        {static_cast<Type>(std::uint8_t{h.type}), h.session, h.size, (h.flags & kMore) != 0});
    stream = stream.subspan(h.size);
  }
  return all;
}

std::size_t first_of(const std::vector<Packet>& all, Type type) {
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (all[i].type == type) return i;
  }
  ADD_FAILURE() << "no packet of type " << static_cast<int>(type);
  return all.size();
}

std::uint32_t session_for(const Body& body, std::uint32_t session) {
  const Type type = type_of(body);
  return type == Type::ping || type == Type::pong ? 0 : session;
}

bool fits_anywhere(const Body& body) {
  const Type type = type_of(body);
  return type != Type::version_handshake && type != Type::version_handshake_response &&
         type != Type::ping && type != Type::pong;
}

VersionHandshake some_handshake() {
  VersionHandshake hello;
  hello.version_min = kVersionMin;
  hello.version_max = kVersionMax;
  hello.client = ClientId(7);
  hello.client_name = "desk";
  return hello;
}

// ---- the stream

TEST(Connection, SameMessagesFromEverySplitOfTheStream) {
  RandomBits random(1);
  Connection sender = agreed(Role::client, kPacketMaxAtFirst);
  std::vector<Message> sent;
  for (std::uint32_t session = 1; session <= 6; ++session) {
    Body body = FileSyncData{session, random_bytes(random, 900)};
    if (session == 3) body = FileSyncData{9, random_bytes(random, 9000)};  // spans packets
    if (session == 5) body = Stat{EntryId(5)};
    ASSERT_TRUE(sender.send(session, body));
  }
  const Bytes stream = drain(sender);
  Connection whole = agreed(Role::server, kPacketMaxAtFirst);
  const std::vector<Message> expected = received(whole, stream);
  ASSERT_EQ(expected.size(), 6u);

  for (std::size_t cut = 0; cut <= stream.size(); ++cut) {
    Connection c = agreed(Role::server, kPacketMaxAtFirst);
    std::vector<Message> got = received(c, ByteView(stream).first(cut));
    for (Message& m : received(c, ByteView(stream).subspan(cut))) got.push_back(std::move(m));
    ASSERT_EQ(got, expected) << "cut at " << cut;
  }
  Connection drip = agreed(Role::server, kPacketMaxAtFirst);
  std::vector<Message> got;
  for (std::size_t i = 0; i < stream.size(); ++i) {
    for (Message& m : received(drip, ByteView(stream).subspan(i, 1))) got.push_back(std::move(m));
  }
  EXPECT_EQ(got, expected);
}

TEST(Connection, LongContentIsTheSameHoweverItIsCut) {
  RandomBits random(1);
  Connection sender = agreed(Role::client, kPacketMaxEver);
  const Bytes long_content = random_bytes(random, 100'000);
  ASSERT_TRUE(sender.send_data(1, 7, long_content));
  ASSERT_TRUE(sender.send(2, FileSyncData{9, random_bytes(random, 200)}));
  ASSERT_TRUE(sender.send(1, FileSyncCheckHash{5}));
  ASSERT_TRUE(sender.send_data(3, kSizeMax - 20'000, ByteView(long_content).first(20'000)));
  const Bytes stream = drain(sender);
  Connection whole = agreed(Role::server, kPacketMaxEver);
  const auto expected = received(whole, stream);
  ASSERT_EQ(expected.size(), 4u);
  EXPECT_EQ(expected[0].body, Body(FileSyncData{7, long_content}));
  std::vector<std::size_t> pieces = {1, 15, 16, 17, 27, 28, 29, 1000, 65'536};
  for (std::size_t cut = 99'990; cut < 100'060; ++cut) pieces.push_back(cut);
  for (const std::size_t piece : pieces) {
    Connection c = agreed(Role::server, kPacketMaxEver);
    std::vector<Message> got;
    for (std::size_t from = 0; from < stream.size(); from += piece) {
      const auto part = ByteView(stream).subspan(from, std::min(piece, stream.size() - from));
      for (Message& m : received(c, part)) got.push_back(std::move(m));
    }
    ASSERT_EQ(got, expected) << "in pieces of " << piece;
  }
}

TEST(Connection, LongContentThatLiesAboutItselfIsRefusedByName) {
  RandomBits random(1);
  const auto refusal = [&](std::uint64_t offset, std::uint32_t size) {
    Bytes body;
    Writer(body).number(offset).number(size);
    body.resize(body.size() + 50'000);
    Connection sender = agreed(Role::client, kPacketMaxEver);
    ASSERT_TRUE(sender.send_data(1, 0, ByteView(body).subspan(12)));
    Bytes stream = drain(sender);
    std::copy(body.begin(), body.begin() + 12, stream.begin() + sizeof(PacketHeader));
    Connection c = agreed(Role::server, kPacketMaxEver);
    auto good = c.receive(ByteView(stream).first(1000), kStart);
    EXPECT_TRUE(good);
    good = c.receive(ByteView(stream).subspan(1000), kStart);
    EXPECT_EQ(code_of(good), Errc::bad_packet) << offset << " " << size;
  };
  refusal(0, 50'001);
  refusal(kSizeMax, 50'000);
  refusal(UINT64_MAX, 50'000);
}

TEST(Connection, EveryMessageReachesAPeerThatOnlySpeaks4096) {
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE(seed);
    RandomBits random(seed);
    const Body body = random_body(random);
    if (!fits_anywhere(body)) continue;
    Connection a = agreed(Role::client, 1), b = agreed(Role::server, 1);
    ASSERT_EQ(a.packet_max(), 4096u);
    ASSERT_TRUE(a.send(session_for(body, 5), body));
    const Bytes stream = drain(a);
    for (const Packet& p : packets_in(stream)) ASSERT_LE(p.size, 4096u);
    const auto got = received(b, stream);
    ASSERT_EQ(got.size(), 1u);
    ASSERT_EQ(got[0].body, body);
  }
}

TEST(Connection, XattrsOf128KiBReachAPeerThatOnlySpeaks4096) {
  Mutate m;
  m.operation.id = OpId(1);
  m.kind = MutationKind::set_attributes;
  m.attributes.xattrs = pack_xattrs({{"user.a", std::string(kXattrValueMax, 'a')},
                                     {"user.b", std::string(kXattrValueMax - 100, 'b')}});
  ASSERT_GT(m.attributes.xattrs.size(), 130000u);
  Connection a = agreed(Role::client, 4096), b = agreed(Role::server, 4096);
  ASSERT_TRUE(a.send(1, m));
  const auto got = received(b, drain(a));
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(got[0].body, Body(m));
}

TEST(Connection, DataMaxFillsExactlyOnePacket) {
  for (std::uint32_t packet_max : {4096u, 5000u, kDataPacketMax}) {
    Connection a = agreed(Role::client, packet_max);
    ASSERT_TRUE(a.send(1, FileSyncData{0, Bytes(a.data_max())}));
    ASSERT_TRUE(a.send(2, FileSyncData{0, Bytes(a.data_max() + 1)}));
    const auto all = packets_in(drain(a));
    ASSERT_EQ(all.size(), 3u);
    EXPECT_EQ(all[0].size, packet_max);
    EXPECT_FALSE(all[0].more);
    EXPECT_TRUE(all[1].more);
  }
}

TEST(Connection, PartsOfMessagesOfSeveralSessionsMayBeMixed) {
  const Bytes first = encode(FileSyncData{1, Bytes(40, std::byte{1})});
  const Bytes second = encode(FileSyncData{2, Bytes(40, std::byte{2})});
  Bytes stream;
  for (std::size_t i = 0; i < first.size(); ++i) {
    const std::uint8_t flags = i + 1 < first.size() ? kMore : 0;
    for (std::uint32_t session : {1u, 2u}) {
      const Bytes p = packet({.type = Type::file_sync_data, .flags = flags, .session = session},
                             {session == 1 ? first[i] : second[i]});
      stream.insert(stream.end(), p.begin(), p.end());
    }
  }
  Connection c = agreed(Role::server, 4096);
  const auto got = received(c, stream);
  ASSERT_EQ(got.size(), 2u);
  EXPECT_EQ(encode(got[0].body), first);
  EXPECT_EQ(encode(got[1].body), second);
}

// ---- the handshake

TEST(Connection, HandshakeIsHandedOutAndWhatFollowsWaitsForTheAgreement) {
  Connection client(Role::client, {}, kStart), server(Role::server, {}, kStart);
  ASSERT_TRUE(client.send(0, some_handshake()));
  auto got = received(server, drain(client));
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(got[0].body, Body(some_handshake()));

  ASSERT_TRUE(server.send(0, VersionHandshakeResponse{.packet_max = 65536}));
  server.agree(65536);
  Bytes reply = drain(server);
  ASSERT_TRUE(server.send(1, FileSyncData{0, Bytes(5000)}));  // in the same segment, by chance
  const Bytes more = drain(server);
  reply.insert(reply.end(), more.begin(), more.end());
  got = received(client, reply);
  ASSERT_EQ(got.size(), 1u);
  client.agree(65536);
  EXPECT_EQ(take_all(client).size(), 1u);
}

TEST(Connection, GarbageBehindAHandshakeShowsAfterTheAgreement) {
  Connection server(Role::server, {}, kStart);
  Bytes in = packet({.type = Type::version_handshake}, encode(some_handshake()));
  in.insert(in.end(), 100, std::byte{0xff});
  ASSERT_TRUE(server.receive(in, kStart));
  server.agree(65536);
  EXPECT_LE(server.next_deadline(), kStart);
  EXPECT_EQ(code_of(server.advance(kStart)), Errc::bad_packet);
}

TEST(Connection, NothingButAHandshakeIsTakenAtFirst) {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    RandomBits random(seed);
    const Body body = random_body(random);
    const Type type = type_of(body);
    for (Role role : {Role::client, Role::server}) {
      const Type allowed =
          role == Role::server ? Type::version_handshake : Type::version_handshake_response;
      if (type == allowed || type == Type::error) continue;
      Connection c(role, {}, kStart);
      const std::uint32_t session = fits_anywhere(body) ? 1 : 0;
      const Bytes in = packet({.type = type, .session = session}, encode(body));
      ASSERT_EQ(code_of(c.receive(in, kStart)), Errc::bad_packet) << "seed " << seed;
      ASSERT_FALSE(c.next_message());
    }
  }
}

TEST(Connection, AHandshakeOfMoreThan4096IsRefused) {
  Connection c(Role::server, {}, kStart);
  Bytes body = encode(some_handshake());
  body.resize(4096 - sizeof(PacketHeader));
  EXPECT_TRUE(c.receive(packet({.type = Type::version_handshake}, body), kStart));
  Connection d(Role::server, {}, kStart);
  body.resize(body.size() + 1);
  EXPECT_EQ(code_of(d.receive(packet({.type = Type::version_handshake}, body), kStart)),
            Errc::bad_packet);
  Connection e(Role::server, {}, kStart);
  EXPECT_EQ(
      code_of(e.receive(packet({.type = Type::version_handshake, .flags = kMore}, body), kStart)),
      Errc::bad_packet);
}

TEST(Connection, ASecondHandshakeIsRefused) {
  Connection c = agreed(Role::server, 4096);
  EXPECT_EQ(code_of(c.receive(packet({.type = Type::version_handshake}, encode(some_handshake())),
                              kStart)),
            Errc::bad_packet);
}

TEST(Connection, WhatWaitsBehindAHandshakeIsBounded) {
  Connection c(Role::server, {}, kStart);
  ASSERT_TRUE(
      c.receive(packet({.type = Type::version_handshake}, encode(some_handshake())), kStart));
  EXPECT_TRUE(c.receive(Bytes(kHeldMax), kStart));
  EXPECT_EQ(code_of(c.receive(Bytes(1), kStart)), Errc::too_much);
}

TEST(Connection, AnswersToWhatWasAskedEarlyMayComeInOneCallWithTheHandshake) {
  Connection server = agreed(Role::server, kPacketMaxAtFirst);
  ASSERT_TRUE(server.send(0, VersionHandshakeResponse{}));
  const Bytes piece(4000);
  constexpr std::size_t kPieces = 2 * kHeldMax / 4000;
  for (std::size_t i = 0; i < kPieces; ++i) {
    ASSERT_TRUE(server.send_data(1, i * piece.size(), piece));
  }
  Connection client(Role::client, {}, kStart);
  ASSERT_TRUE(client.receive(drain(server), kStart));
  EXPECT_EQ(take_all(client).size(), 1u);
  client.agree(kPacketMaxAtFirst);
  EXPECT_EQ(take_all(client).size(), kPieces);
}

// ---- bad bytes

TEST(Connection, BadHeadersAreRefusedBeforeTheirBodyHasCome) {
  const Raw bad[] = {
      {.size = 15},
      {.size = 4097},
      {.size = 0xffffffff},
      {.flags = 2},
      {.flags = 0x80},
      {.version = 0, .oldest_reader = 0},
      {.version = 1, .oldest_reader = 2},
      {.reserved = 1},
  };
  for (const Raw& raw : bad) {
    Connection c = agreed(Role::server, 4096);
    const Bytes in = packet(raw, {});
    EXPECT_EQ(code_of(c.receive(in, kStart)), Errc::bad_packet);
    // The refusal is said once, and then nothing more is taken.
    const auto last = packets_in(drain(c));
    ASSERT_EQ(last.size(), 1u);
    EXPECT_EQ(last[0].type, Type::error);
    EXPECT_EQ(code_of(c.receive(encode(Ping{}), kStart)), Errc::bad_packet);
    EXPECT_EQ(code_of(c.send(1, Stat{})), Errc::lost);
    EXPECT_TRUE(c.next_output().empty());
  }
}

TEST(Connection, RandomGarbageNeverCrashes) {
  for (std::uint64_t seed = 1; seed <= 2000; ++seed) {
    SCOPED_TRACE(seed);
    RandomBits random(seed);
    Connection c = agreed(Role::server, 4096);
    Bytes in = packet({.type = static_cast<Type>(random() % 50), .session = 1},
                      random_bytes(random, random() % 300));
    if (random() % 2 == 0) in[random() % in.size()] = static_cast<std::byte>(random());
    static_cast<void>(c.receive(in, kStart));
    take_all(c);
    drain(c);
  }
}

TEST(Connection, AnUnknownTypeIsAnsweredAndTheConnectionGoesOn) {
  Connection c = agreed(Role::server, 4096);
  Connection peer = agreed(Role::client, 4096);
  // In two packets, as a newer peer may well send it.
  EXPECT_TRUE(
      received(c, packet({.type = Type{200}, .flags = kMore, .session = 9}, Bytes(10))).empty());
  EXPECT_TRUE(received(c, packet({.type = Type{200}, .session = 9}, Bytes(10))).empty());
  // A type we know, in a layout for newer readers only.
  EXPECT_TRUE(
      received(
          c, packet({.type = Type::stat, .version = 2, .oldest_reader = 2, .session = 4}, Bytes(3)))
          .empty());
  const auto answers = received(peer, drain(c));
  ASSERT_EQ(answers.size(), 2u);
  EXPECT_EQ(answers[0].session, 9u);
  EXPECT_EQ(std::get<ErrorMessage>(answers[0].body).code, Errc::unknown_type);
  EXPECT_EQ(answers[1].session, 4u);
  // A newer layout that old readers understand is just read.
  Bytes stat = encode(Stat{EntryId(3)});
  stat.push_back(std::byte{1});
  EXPECT_EQ(received(c, packet({.type = Type::stat, .version = 2, .session = 4}, stat)).size(), 1u);
}

TEST(Connection, AMessageInsideAnotherIsRefused) {
  Connection c = agreed(Role::server, 4096);
  ASSERT_TRUE(
      c.receive(packet({.type = Type::stat, .flags = kMore, .session = 1}, Bytes(1)), kStart));
  EXPECT_EQ(code_of(c.receive(packet({.type = Type::cancel, .session = 1}, {}), kStart)),
            Errc::bad_packet);
}

TEST(Connection, SessionZeroIsForTheConnectionAlone) {
  Connection c = agreed(Role::server, 4096);
  EXPECT_EQ(code_of(c.receive(packet({.type = Type::stat}, encode(Stat{})), kStart)),
            Errc::bad_packet);
  Connection d = agreed(Role::server, 4096);
  EXPECT_EQ(code_of(d.receive(packet({.type = Type::ping, .session = 3}, encode(Ping{})), kStart)),
            Errc::bad_packet);
}

// ---- bounds

TEST(Connection, UnfinishedMessagesAreBoundedInNumber) {
  Limits limits;
  limits.partial_messages_max = 8;
  Connection c = agreed(Role::server, 4096, limits);
  for (std::uint32_t s = 1; s <= 8; ++s) {
    ASSERT_TRUE(
        c.receive(packet({.type = Type::stat, .flags = kMore, .session = s}, Bytes(1)), kStart));
  }
  EXPECT_EQ(code_of(c.receive(packet({.type = Type::stat, .flags = kMore, .session = 9}, Bytes(1)),
                              kStart)),
            Errc::too_much);
}

TEST(Connection, UnfinishedMessagesAreBoundedInBytes) {
  Limits limits;
  limits.partial_bytes_max = 3 * kMessageMax;
  Connection c = agreed(Role::server, kPacketMaxEver, limits);
  const Bytes half(kMessageMax / 2 - sizeof(PacketHeader));
  Errc code = Errc::ok;
  int taken = 0;
  for (std::uint32_t s = 1; s <= 64 && code == Errc::ok; ++s) {
    code = code_of(
        c.receive(packet({.type = Type::change, .flags = kMore, .session = s}, half), kStart));
    if (code == Errc::ok) ++taken;
  }
  EXPECT_EQ(code, Errc::too_much);
  EXPECT_EQ(taken, 6);
}

TEST(Connection, FinishedMessagesNoLongerCount) {
  Limits limits;
  limits.partial_bytes_max = 100'000;
  Connection a = agreed(Role::client, 4096), b = agreed(Role::server, 4096, limits);
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(a.send(1, FileSyncData{0, Bytes(20'000)}));
    ASSERT_EQ(received(b, drain(a)).size(), 1u) << i;
  }
}

TEST(Connection, AMessageIsBoundedInLength) {
  Connection c = agreed(Role::server, kPacketMaxEver);
  const Bytes in = packet({.type = Type::change, .flags = kMore, .session = 1},
                          Bytes(kPacketMaxEver - sizeof(PacketHeader)));
  EXPECT_TRUE(c.receive(in, kStart));
  EXPECT_TRUE(c.receive(in, kStart));
  EXPECT_EQ(code_of(c.receive(in, kStart)), Errc::too_much);

  Connection a = agreed(Role::client, kPacketMaxEver);
  EXPECT_EQ(code_of(a.send(1, FileSyncData{0, Bytes(kMessageMax)})), Errc::too_large);
  EXPECT_EQ(a.outbox_bytes(), 0u);
}

TEST(Connection, TheOutboxIsBounded) {
  Limits limits;
  limits.outbox_max = 100'000;
  Connection c = agreed(Role::client, 4096, limits);
  int queued = 0;
  while (c.can_send()) {
    ASSERT_TRUE(c.send(1, FileSyncData{0, Bytes(4000)}));
    ++queued;
  }
  EXPECT_LE(queued, 25);
  const std::size_t before = c.outbox_bytes();
  EXPECT_LE(before, limits.outbox_max + 4100);
  EXPECT_EQ(code_of(c.send(1, FileSyncData{0, Bytes(1)})), Errc::too_much);
  EXPECT_EQ(c.outbox_bytes(), before);
  EXPECT_EQ(packets_in(drain(c)).size(), static_cast<std::size_t>(queued));
  EXPECT_EQ(c.outbox_bytes(), 0u);
  EXPECT_TRUE(c.can_send());
}

TEST(Connection, APeerThatAsksAndDoesNotReadIsRefused) {
  for (const Raw& raw : {Raw{.type = Type::ping}, Raw{.type = Type{99}, .session = 5}}) {
    Connection c = agreed(Role::server, 4096);
    const Bytes in = packet(raw, encode(Ping{1}));
    Errc code = Errc::ok;
    std::size_t asked = 0;
    for (; code == Errc::ok && asked < 5000; ++asked) code = code_of(c.receive(in, kStart));
    EXPECT_EQ(code, Errc::too_much);
    EXPECT_EQ(asked, Limits{}.answers_max + 1);
  }
}

TEST(Connection, WhatTheOtherSideWouldRefuseIsNotSent) {
  Connection c = agreed(Role::client, 4096);
  Mutate bad;
  bad.place = {kRootEntry, ".."};
  EXPECT_EQ(code_of(c.send(1, bad)), Errc::bad_request);
  EXPECT_EQ(c.outbox_bytes(), 0u);
}

// ---- order

TEST(Connection, ASmallRequestIsNotDelayedByMuchData) {
  Connection asks = agreed(Role::client, kPacketMaxEver, {.outbox_max = 65u << 20});
  while (asks.outbox_bytes() < 64u << 20) {
    ASSERT_TRUE(asks.send(1, FileSyncData{0, Bytes(asks.data_max())}));
  }
  ASSERT_TRUE(asks.send(2, Stat{EntryId(1)}));
  ASSERT_TRUE(asks.send(3, FileSyncData{0, Bytes(10)}));
  const auto all = packets_in(drain(asks));
  EXPECT_EQ(first_of(all, Type::stat), 0u);
  for (std::size_t i = 0; i < 3; ++i) {
    if (all[i].session == 3) return;
  }
  ADD_FAILURE() << "another session's data did not get its turn";
}

TEST(Connection, MuchListingDoesNotStopData) {
  Connection c = agreed(Role::server, 4096);
  ASSERT_TRUE(c.send(1, FileSyncData{0, Bytes(10)}));
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(c.send(2, ListPage{}));
  const auto all = packets_in(drain(c));
  EXPECT_EQ(first_of(all, Type::file_sync_data), static_cast<std::size_t>(Outbox::kOrderedBurst));
}

TEST(Connection, OrderWithinASessionIsKept) {
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE(seed);
    RandomBits random(seed);
    Connection a = agreed(Role::client, 4096), b = agreed(Role::server, 4096);
    std::map<std::uint32_t, std::uint64_t> sent, got;
    std::vector<Message> arrived;
    auto deliver = [&](const Bytes& bytes) {
      for (Message& m : received(b, bytes)) arrived.push_back(std::move(m));
    };
    for (int i = 0; i < 60; ++i) {
      const auto session = static_cast<std::uint32_t>(1 + random() % 4);
      const std::uint64_t n = sent[session]++;
      if (random() % 2 == 0) {
        ASSERT_TRUE(a.send(session, FileSyncData{n, Bytes(random() % 3 == 0 ? 10000 : 10)}));
      } else {
        ASSERT_TRUE(a.send(session, FileSyncCheckHash{n}));
      }
      if (random() % 10 == 0) deliver(a.next_output());
    }
    deliver(drain(a));
    ASSERT_EQ(arrived.size(), 60u);
    for (const Message& m : arrived) {
      const auto* data = std::get_if<FileSyncData>(&m.body);
      const std::uint64_t n = data ? data->offset : std::get<FileSyncCheckHash>(m.body).sent;
      ASSERT_EQ(n, got[m.session]++) << "session " << m.session;
    }
  }
}

TEST(Connection, RequestsOfDifferentSessionsKeepTheirOrder) {
  Connection a = agreed(Role::client, 4096), b = agreed(Role::server, 4096);
  ASSERT_TRUE(a.send(1000, FileSyncData{0, Bytes(50000)}));
  for (std::uint32_t s = 1; s <= 50; ++s) {
    Mutate m;
    m.operation.id = OpId(s);
    if (s % 3 == 0) m.attributes.xattrs = pack_xattrs({{"user.x", std::string(9000, 'x')}});
    ASSERT_TRUE(a.send(s, m));
  }
  std::uint64_t last = 0;
  for (const Message& m : received(b, drain(a))) {
    const auto* mutate = std::get_if<Mutate>(&m.body);
    if (!mutate) continue;
    EXPECT_EQ(mutate->operation.id.value, last + 1);
    last = mutate->operation.id.value;
  }
  EXPECT_EQ(last, 50u);
}

TEST(Connection, DataDoesNotOvertakeTheInitOfItsSession) {
  Connection a = agreed(Role::client, 4096);
  for (std::uint32_t s = 10; s < 40; ++s) ASSERT_TRUE(a.send(s, Stat{}));
  ASSERT_TRUE(a.send(1, FileSyncInit{}));
  ASSERT_TRUE(a.send(1, FileSyncData{0, Bytes(5)}));
  const auto all = packets_in(drain(a));
  EXPECT_LT(first_of(all, Type::file_sync_init), first_of(all, Type::file_sync_data));
}

TEST(Connection, AtMostOneMessageOfOursIsUnfinishedAtATime) {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    RandomBits random(seed);
    Connection a = agreed(Role::client, 4096);
    for (int i = 0; i < 100; ++i) {
      const auto session = static_cast<std::uint32_t>(1 + random() % 20);
      ASSERT_TRUE(a.send(session, FileSyncData{0, Bytes(random() % 20000)}));
      if (random() % 2 == 0) {
        ASSERT_TRUE(a.send(session + 20, ListPage{}));
      }
    }
    std::set<std::uint32_t> open;
    for (const Packet& p : packets_in(drain(a))) {
      if (p.more) open.insert(p.session);
      if (!p.more) open.erase(p.session);
      ASSERT_LE(open.size(), 1u) << "seed " << seed;
    }
  }
}

// ---- time

TEST(Connection, AHandshakeThatDoesNotComeIsNotWaitedForForEver) {
  Connection c(Role::server, {}, kStart);
  EXPECT_EQ(c.next_deadline(), at(10));
  EXPECT_TRUE(c.advance(at(9)));
  EXPECT_EQ(code_of(c.advance(at(10))), Errc::lost);
  EXPECT_TRUE(c.next_output().empty());
}

TEST(Connection, SilencePingsAndThenIsTheEnd) {
  Connection c = agreed(Role::client, 4096);
  EXPECT_EQ(c.next_deadline(), at(10));
  EXPECT_TRUE(c.advance(at(9)));
  EXPECT_TRUE(c.next_output().empty());
  EXPECT_TRUE(c.advance(at(10)));
  EXPECT_EQ(packets_in(drain(c)).size(), 1u);
  EXPECT_EQ(c.next_deadline(), at(20));
  EXPECT_TRUE(c.advance(at(20)));
  EXPECT_EQ(packets_in(drain(c)).size(), 1u);
  EXPECT_EQ(c.next_deadline(), at(30));
  EXPECT_EQ(code_of(c.advance(at(30))), Errc::lost);
  EXPECT_EQ(code_of(c.receive(encode(Ping{}), at(31))), Errc::lost);
}

TEST(Connection, AnAnsweredPingIsLife) {
  Connection a = agreed(Role::client, 4096), b = agreed(Role::server, 4096);
  for (int t = 10; t < 200; t += 10) {
    ASSERT_TRUE(a.advance(at(t)));
    ASSERT_TRUE(b.receive(drain(a), at(t)));
    ASSERT_TRUE(a.receive(drain(b), at(t)));
    ASSERT_EQ(a.next_deadline(), at(t + 10));
  }
  EXPECT_FALSE(a.next_message());
  EXPECT_FALSE(b.next_message());
}

TEST(Connection, ASleepOfOursIsNotTheOtherSidesSilence) {
  Connection c = agreed(Role::client, 4096);
  EXPECT_TRUE(c.advance(at(3600)));
  EXPECT_EQ(packets_in(drain(c)).size(), 1u);
  EXPECT_TRUE(c.advance(at(3619)));
  EXPECT_EQ(code_of(c.advance(at(3620))), Errc::lost);
}

}  // namespace
}  // namespace ebb::proto
