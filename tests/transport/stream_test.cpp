// What a Stream promises, over real sockets: bytes arrive, both ways and in order; an end is told
// once and with its reason; nobody who has gone is called.
#include "proto/asio/stream.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "proto/connection.h"
#include "tests/transport/transport.h"

namespace ebb::proto {
namespace {

class Streams : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override { pair.listen(GetParam() ? folder.socket() : loopback()); }
  TempFolder folder;
  Pair pair;
};

INSTANTIATE_TEST_SUITE_P(Kinds, Streams, testing::Bool(),
                         [](const auto& kind) { return kind.param ? "Unix" : "Tcp"; });

TEST_P(Streams, CarryBytesBothWaysInOrder) {
  pair.connect();
  std::string expected;
  for (int i = 0; i < 2000; ++i) {
    const std::string piece = std::to_string(i) + std::string(static_cast<std::size_t>(i), '.');
    expected += piece;
    pair.client.say(piece);
    pair.server.say(piece);
  }
  ASSERT_TRUE(run_until(pair.io, [&] {
    return pair.server.in.size() >= expected.size() && pair.client.in.size() >= expected.size();
  }));
  EXPECT_EQ(as_text(pair.server.in), expected);
  EXPECT_EQ(as_text(pair.client.in), expected);
  EXPECT_EQ(pair.client.stream->bytes_out(), expected.size());
  EXPECT_EQ(pair.client.stream->bytes_in(), expected.size());
}

TEST_P(Streams, TellAHangUpOnce) {
  pair.connect();
  pair.client.stream.reset();
  ASSERT_TRUE(run_until(pair.io, [&] { return pair.server.closed.has_value(); }));
  EXPECT_EQ(pair.server.closed->code, make_error_code(Errc::lost));
  pair.server.stream->wake();
  settle(pair.io);
  EXPECT_EQ(pair.server.closes, 1);
  EXPECT_EQ(pair.client.closes, 0) << "who closes is not told";
}

TEST_P(Streams, SayTheirLastWordsAndClose) {
  pair.connect();
  pair.server.say("last words");
  pair.server.stream->finish({make_error_code(Errc::bad_packet), "test"});
  ASSERT_TRUE(run_until(pair.io, [&] { return pair.client.closed.has_value(); }));
  EXPECT_EQ(as_text(pair.client.in), "last words");
  EXPECT_FALSE(pair.server.closed) << "the other side has not closed yet";
  pair.client.stream.reset();
  ASSERT_TRUE(run_until(pair.io, [&] { return pair.server.closed.has_value(); }));
  EXPECT_EQ(pair.server.closed->code, make_error_code(Errc::bad_packet));
}

TEST_P(Streams, DropWhatArrivesWhileTheyFinish) {
  const int fd = raw_connect(pair.listener->address());
  ASSERT_TRUE(run_until(pair.io, [&] { return pair.server.stream != nullptr; }));
  pair.server.stream->finish({make_error_code(Errc::bad_packet), {}});
  const Bytes much(1 << 20);
  std::size_t sent = 0;
  ASSERT_TRUE(run_until(pair.io, [&] {
    const ssize_t n =
        ::send(fd, much.data() + sent, much.size() - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0) sent += static_cast<std::size_t>(n);
    return sent == much.size();
  })) << "what arrives is no longer read";
  ::close(fd);
  ASSERT_TRUE(run_until(pair.io, [&] { return pair.server.closed.has_value(); }));
  EXPECT_TRUE(pair.server.in.empty());
}

TEST_P(Streams, DoNotWaitForAPeerThatDoesNotReadItsEnd) {
  const int fd = raw_connect(pair.listener->address());
  ASSERT_TRUE(run_until(pair.io, [&] { return pair.server.stream != nullptr; }));
  for (int i = 0; i < 64; ++i) pair.server.say(std::string(1 << 20, 'x'));
  pair.server.stream->finish({make_error_code(Errc::too_much), {}}, std::chrono::milliseconds(10));
  ASSERT_TRUE(run_until(pair.io, [&] { return pair.server.closed.has_value(); }));
  EXPECT_EQ(pair.server.closed->code, make_error_code(Errc::too_much));
  ::close(fd);
}

TEST_P(Streams, APeerThatClosedItsHalfStillGetsTheLastWords) {
  const int fd = raw_connect(pair.listener->address());
  ASSERT_TRUE(run_until(pair.io, [&] { return pair.server.stream != nullptr; }));
  pair.server.stream->finish({make_error_code(Errc::bad_packet), {}});
  pair.server.say("last words");
  ::shutdown(fd, SHUT_WR);
  ASSERT_TRUE(run_until(pair.io, [&] { return pair.server.closed.has_value(); }));
  char words[32];
  EXPECT_EQ(::recv(fd, words, sizeof words, MSG_WAITALL), 10);
  ::close(fd);
}

TEST_P(Streams, AnOwnerThatGoesIsNotCalledAnyMore) {
  pair.connect();
  pair.client.say("something");
  int calls = 0;
  pair.server.stream.reset();
  // The same again with an owner that goes at each of its events.
  for (int at = 0; at < 3; ++at) {
    SCOPED_TRACE(at);
    pair.server = {};
    pair.client = {};
    bool gone = false;
    std::unique_ptr<Stream> owner;
    auto leave = [&](int event) {
      EXPECT_FALSE(gone);
      if (event != at) return;
      gone = true;
      ++calls;
      owner.reset();
    };
    std::unique_ptr<Stream> accepted;
    auto again = Listener::open(pair.io, GetParam() ? folder.socket("two") : loopback(), {},
                                [&](std::unique_ptr<Stream> s) { accepted = std::move(s); });
    ASSERT_TRUE(again);
    const int fd = raw_connect((*again)->address());
    ASSERT_TRUE(run_until(pair.io, [&] { return accepted != nullptr; }));
    owner = std::move(accepted);
    owner->start({.bytes = [&](ByteView) { leave(0); },
                  .next_output =
                      [&] {
                        leave(1);
                        return Bytes();
                      },
                  .closed = [&](Error) { leave(2); }});
    EXPECT_EQ(::send(fd, "hello", 5, MSG_NOSIGNAL), 5);
    ::shutdown(fd, SHUT_WR);
    ASSERT_TRUE(run_until(pair.io, [&] { return gone; }));
    settle(pair.io);
    ::close(fd);
  }
  EXPECT_EQ(calls, 3);
}

TEST_P(Streams, MayBeDestroyedWithOperationsInFlight) {
  pair.connect();
  for (int i = 0; i < 32; ++i) pair.client.say(std::string(1 << 20, 'x'));
  settle(pair.io);
  pair.client.stream.reset();
  pair.server.stream.reset();
  settle(pair.io);
  EXPECT_EQ(pair.client.closes + pair.server.closes, 0);
}

TEST_P(Streams, PullNoMoreThanABatchAheadOfThePeer) {
  const int fd = raw_connect(pair.listener->address());
  ASSERT_TRUE(run_until(pair.io, [&] { return pair.server.stream != nullptr; }));
  for (int i = 0; i < 1000; ++i) pair.server.say(std::string(100'000, 'x'));
  settle(pair.io);
  // The peer reads nothing: what was taken lies in the kernel's buffers and in one batch.
  EXPECT_GT(pair.server.out.size(), 500u);
  ::close(fd);
}

TEST_P(Streams, AreClosedOnExec) {
  pair.connect();
  for (int fd = 3; fd < 64; ++fd) {
    struct stat info {};
    if (::fstat(fd, &info) != 0 || !S_ISSOCK(info.st_mode)) continue;
    EXPECT_TRUE(::fcntl(fd, F_GETFD) & FD_CLOEXEC) << fd;
  }
}

// ---- a Connection over a Stream, and peers that do not behave

class Served : public Streams {
 protected:
  void SetUp() override {
    auto opened = Listener::open(io, GetParam() ? folder.socket() : loopback(), {},
                                 [this](std::unique_ptr<Stream> s) { serve(std::move(s)); });
    ASSERT_TRUE(opened) << opened.error().message();
    listener = *std::move(opened);
    fd = raw_connect(listener->address());
    ASSERT_TRUE(run_until(io, [this] { return stream != nullptr; }));
  }
  void TearDown() override { ::close(fd); }

  void serve(std::unique_ptr<Stream> s) {
    stream = std::move(s);
    stream->start({.bytes =
                       [this](ByteView in) {
                         auto good = connection.receive(in, Time{});
                         while (auto m = connection.next_message()) messages.push_back(*m);
                         if (!good) stream->finish(good.error());
                         stream->wake();
                       },
                   .next_output = [this] { return connection.next_output(); },
                   .closed = [this](Error e) { closed = std::move(e); }});
  }
  void send_raw(ByteView bytes) {
    ASSERT_EQ(::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
  }
  static Bytes hello() {
    Connection client(Role::client, {}, Time{});
    VersionHandshake m;
    m.version_max = 1;
    EXPECT_TRUE(client.send(0, m));
    return client.next_output();
  }

  asio::io_context io;
  Connection connection{Role::server, {}, Time{}};
  std::unique_ptr<Listener> listener;
  std::unique_ptr<Stream> stream;
  std::vector<Message> messages;
  std::optional<Error> closed;
  int fd = -1;
};

INSTANTIATE_TEST_SUITE_P(Kinds, Served, testing::Bool(),
                         [](const auto& kind) { return kind.param ? "Unix" : "Tcp"; });

TEST_P(Served, AHandshakeInSingleBytesArrives) {
  for (std::byte b : hello()) {
    send_raw(ByteView(&b, 1));
    settle(io);
  }
  ASSERT_TRUE(run_until(io, [this] { return !messages.empty(); }));
  EXPECT_TRUE(std::holds_alternative<VersionHandshake>(messages[0].body));
}

TEST_P(Served, AHangUpInMidPacketIsAnEndAndNoMessage) {
  const Bytes bytes = hello();
  send_raw(ByteView(bytes).first(bytes.size() / 2));
  ::shutdown(fd, SHUT_WR);
  ASSERT_TRUE(run_until(io, [this] { return closed.has_value(); }));
  EXPECT_EQ(closed->code, make_error_code(Errc::lost));
  EXPECT_TRUE(messages.empty());
}

TEST_P(Served, GarbageIsAnsweredWithAnErrorAndTheEnd) {
  send_raw(as_bytes("GET / HTTP/1.1\r\nHost: example\r\n\r\n"));
  // The error arrives whole although more garbage is on its way.
  std::string answer(4096, ' ');
  ASSERT_TRUE(run_until(
      io, [&] { return ::recv(fd, answer.data(), answer.size(), MSG_DONTWAIT | MSG_PEEK) > 0; }));
  send_raw(Bytes(50'000));
  const ssize_t n = ::recv(fd, answer.data(), answer.size(), 0);
  ASSERT_GT(n, static_cast<ssize_t>(sizeof(PacketHeader)));
  const auto body = ByteView(as_bytes(answer)).first(static_cast<std::size_t>(n));
  const auto error = decode(Type::error, body.subspan(sizeof(PacketHeader)));
  ASSERT_TRUE(error);
  EXPECT_EQ(std::get<ErrorMessage>(*error).code, Errc::bad_packet);
  ::shutdown(fd, SHUT_WR);
  ASSERT_TRUE(run_until(io, [this] { return closed.has_value(); }));
  EXPECT_EQ(closed->code, make_error_code(Errc::bad_packet));
  EXPECT_TRUE(messages.empty());
}

}  // namespace
}  // namespace ebb::proto
