// What the tests of the transport share: an io_context that is run until something has come true,
// and sockets that the test itself holds, so that it can misbehave.
#pragma once

#include <deque>
#include <filesystem>
#include <functional>
#include <optional>

#include <asio/io_context.hpp>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "proto/asio/connector.h"
#include "proto/asio/listener.h"

namespace ebb::proto {

/// Runs the loop until `condition`; a minute without it is a failure.
inline bool run_until(asio::io_context& io, const std::function<bool()>& condition) {
  const auto limit = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > limit) return false;
    io.restart();
    io.run_one_for(std::chrono::seconds(1));
  }
  return true;
}

/// Runs what is ready and nothing else.
inline void settle(asio::io_context& io) {
  io.restart();
  while (io.poll() != 0) io.restart();
}

/// A folder that goes with the test.
class TempFolder {
 public:
  TempFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "ebb-transport-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) ADD_FAILURE() << "no temporary folder";
    path_ = name;
  }
  ~TempFolder() { std::filesystem::remove_all(path_); }
  Address socket(const std::string& name = "sock") const {
    Address a;
    a.kind = Address::Kind::unix_socket;
    a.path = path_ + "/" + name;
    return a;
  }

 private:
  std::string path_;
};

/// A key of the test's own.
inline std::shared_ptr<TlsKey> a_key(const std::string& name = "key") {
  static const TempFolder folder;
  auto key = TlsKey::load_or_make(folder.socket(name).path);
  if (!key) ADD_FAILURE() << key.error().message();
  return key ? *key : nullptr;
}

inline Address loopback(std::uint16_t port = 0, const std::string& host = "127.0.0.1") {
  Address a;
  a.host = host;
  a.port = port;
  return a;
}

/// One side of a stream as the test sees it.
struct End {
  std::unique_ptr<Stream> stream;
  Bytes in;
  std::deque<Bytes> out;
  std::optional<Error> closed;
  int closes = 0;

  void take(std::unique_ptr<Stream> s) {
    stream = std::move(s);
    stream->start({.bytes = [this](ByteView b) { in.insert(in.end(), b.begin(), b.end()); },
                   .next_output =
                       [this] {
                         if (out.empty()) return Bytes();
                         Bytes next = std::move(out.front());
                         out.pop_front();
                         return next;
                       },
                   .closed =
                       [this](Error e) {
                         closed = std::move(e);
                         ++closes;
                       }});
  }
  void say(std::string_view text) {
    const ByteView b = as_bytes(text);
    out.emplace_back(b.begin(), b.end());
    stream->wake();
  }
};

/// A plain blocking socket to the address, for peers that do not behave.
inline int raw_connect(const Address& address) {
  if (address.kind == Address::Kind::unix_socket) {
    sockaddr_un to{};
    to.sun_family = AF_UNIX;
    address.path.copy(to.sun_path, sizeof to.sun_path - 1);
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(::connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
    return fd;
  }
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(address.port);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  EXPECT_EQ(::connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
  return fd;
}

/// A listener that keeps its clients, and a client that has reached it.
struct Pair {
  asio::io_context io;
  std::unique_ptr<Listener> listener;
  std::unique_ptr<Connector> connector;
  End server, client;

  void listen(const Address& at) {
    auto opened = Listener::open(io, at, {},
                                 [this](std::unique_ptr<Stream> s) { server.take(std::move(s)); });
    ASSERT_TRUE(opened) << opened.error().message();
    listener = *std::move(opened);
  }
  void connect() {
    connector = std::make_unique<Connector>(io, listener->address(), ConnectOptions{},
                                            [this](Result<std::unique_ptr<Stream>> r) {
                                              ASSERT_TRUE(r) << r.error().message();
                                              client.take(*std::move(r));
                                            });
    ASSERT_TRUE(run_until(io, [this] { return server.stream && client.stream; }));
  }
};

}  // namespace ebb::proto
