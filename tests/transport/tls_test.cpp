// What TLS promises: both sides are known by their keys, nobody else's key is talked to, nothing is
// said in the clear, and who does not speak TLS is cut.
#include "proto/asio/tls.h"

#include <fstream>

#include <sys/stat.h>

#include "proto/errors.h"
#include "tests/transport/transport.h"

namespace ebb::proto {
namespace {

struct Tls : ::testing::Test {
  asio::io_context io;
  std::unique_ptr<Stream> accepted;
  std::unique_ptr<Listener> listener;

  void SetUp() override {
    auto opened = Listener::open(io, loopback(), {.key = a_key("server")},
                                 [this](std::unique_ptr<Stream> s) { accepted = std::move(s); });
    ASSERT_TRUE(opened) << opened.error().message();
    listener = std::move(*opened);
  }

  Result<std::unique_ptr<Stream>> connect(ConnectOptions options) {
    std::optional<Result<std::unique_ptr<Stream>>> result;
    Connector connector(io, listener->address(), std::move(options),
                        [&](Result<std::unique_ptr<Stream>> r) { result = std::move(r); });
    EXPECT_TRUE(run_until(io, [&] { return result.has_value(); }));
    return std::move(*result);
  }
};

TEST_F(Tls, EachSideKnowsTheOthersKeyAndBytesArriveWhole) {
  auto stream = connect({.key = a_key("client"), .server = a_key("server")->fingerprint()});
  ASSERT_TRUE(stream) << stream.error().message();
  ASSERT_TRUE(run_until(io, [&] { return accepted != nullptr; }));
  EXPECT_EQ(accepted->peer_key(), a_key("client")->fingerprint());
  EXPECT_EQ((*stream)->peer_key(), a_key("server")->fingerprint());
  End client, server;
  client.take(std::move(*stream));
  server.take(std::move(accepted));
  const std::string much(3'000'000, 'x');
  client.say("hello ");
  client.say(much);
  server.say("answer");
  EXPECT_TRUE(
      run_until(io, [&] { return server.in.size() == much.size() + 6 && client.in.size() == 6; }));
  client.stream->finish({Errc::lost, "enough"});
  EXPECT_TRUE(run_until(io, [&] { return server.closed.has_value(); }));
  EXPECT_EQ(server.closed->code, Errc::lost);
}

TEST_F(Tls, AServerWithAnotherKeyIsRefusedWithWhatItMeans) {
  const auto stream =
      connect({.key = a_key("client"), .server = a_key("somebody else")->fingerprint()});
  ASSERT_FALSE(stream);
  EXPECT_TRUE(is_errno(stream.error(), EKEYREJECTED));
  EXPECT_NE(stream.error().message().find("another key"), std::string::npos);
}

TEST_F(Tls, AServerWithAnotherKeyIsNotShownOurs) {
  asio::ip::tcp::acceptor door(io, {asio::ip::address_v4::loopback(), 0});
  std::unique_ptr<TlsStream> server;
  std::optional<asio::error_code> ended;
  door.async_accept([&](const asio::error_code& error, asio::ip::tcp::socket socket) {
    ASSERT_FALSE(error);
    server = std::make_unique<TlsStream>(Socket(std::move(socket)), a_key("in between")->context());
    server->async_handshake(TlsStream::server, [&](const asio::error_code& e) { ended = e; });
  });
  std::optional<Result<std::unique_ptr<Stream>>> result;
  Connector connector(io, loopback(door.local_endpoint().port()),
                      {.key = a_key("client"), .server = a_key("server")->fingerprint()},
                      [&](Result<std::unique_ptr<Stream>> r) { result = std::move(r); });
  ASSERT_TRUE(run_until(io, [&] { return result && ended; }));
  ASSERT_FALSE(*result);
  EXPECT_TRUE(is_errno(result->error(), EKEYREJECTED)) << result->error().message();
  EXPECT_TRUE(*ended);
  EXPECT_FALSE(peer_fingerprint(*server)) << "the client has shown who it is";
}

TEST_F(Tls, WhoSpeaksInTheClearIsCutAndTheNextOneIsServed) {
  const int raw = raw_connect(listener->address());
  const std::string plain(100, 'p');
  ASSERT_EQ(::write(raw, plain.data(), plain.size()), static_cast<ssize_t>(plain.size()));
  char byte = 0;
  ssize_t got = 1;
  EXPECT_TRUE(run_until(io, [&] {
    got = ::recv(raw, &byte, 1, MSG_DONTWAIT);
    return got == 0 || (got < 0 && errno == ECONNRESET) || got > 0;
  }));
  ::close(raw);
  EXPECT_EQ(accepted, nullptr);
  EXPECT_TRUE(connect({.key = a_key("client"), .server = a_key("server")->fingerprint()}));
}

TEST_F(Tls, AClientOfAPlainServerIsToldSo) {
  std::unique_ptr<Stream> plain;
  auto opened = Listener::open(io, loopback(), {}, [&](std::unique_ptr<Stream> s) {
    s->start(
        {.bytes = [](ByteView) {}, .next_output = [] { return Bytes(); }, .closed = [](Error) {}});
    s->finish({Errc::lost, "garbage"});
    plain = std::move(s);
  });
  ASSERT_TRUE(opened);
  listener = std::move(*opened);
  const auto stream = connect({.key = a_key("client"), .server = a_key("server")->fingerprint()});
  ASSERT_FALSE(stream);
  EXPECT_NE(stream.error().message().find("--insecure"), std::string::npos);
}

TEST_F(Tls, SilentStrangersDoNotKeepOthersOut) {
  std::vector<int> silent;
  for (int i = 0; i < 200; ++i) {
    silent.push_back(raw_connect(listener->address()));
    settle(io);
  }
  const auto stream = connect({.key = a_key("client"), .server = a_key("server")->fingerprint()});
  EXPECT_TRUE(stream) << stream.error().message();
  for (const int fd : silent) ::close(fd);
}

TEST(TlsKeys, AreMadeOnceAndKeptForTheirOwnerAlone) {
  const TempFolder folder;
  const std::string path = folder.socket("key").path;
  const auto made = TlsKey::load_or_make(path);
  const auto again = TlsKey::load_or_make(path);
  ASSERT_TRUE(made && again);
  EXPECT_EQ((*made)->fingerprint(), (*again)->fingerprint());
  struct stat info {};
  ASSERT_EQ(::stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
}

TEST(TlsKeys, ThatAreDamagedAreNamedAndNotReplaced) {
  const TempFolder folder;
  const std::string path = folder.socket("key").path;
  std::ofstream(path) << "no key";
  const auto key = TlsKey::load_or_make(path);
  ASSERT_FALSE(key);
  EXPECT_NE(key.error().message().find(path), std::string::npos);
  std::string text;
  std::ifstream(path) >> text;
  EXPECT_EQ(text, "no");
}

TEST(Fingerprints, AreTheirText) {
  const auto print = a_key()->fingerprint();
  EXPECT_EQ(*parse_fingerprint(to_text(print)), print);
  EXPECT_FALSE(parse_fingerprint("00"));
  EXPECT_FALSE(parse_fingerprint(std::string(64, 'g')));
}

}  // namespace
}  // namespace ebb::proto
