// What listening and connecting promise: nobody but the owner and root over a Unix socket, nobody
// but this machine over plain TCP, clear errors, and no callback after the end.
#include "proto/asio/listener.h"

#include <fstream>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "proto/asio/connector.h"
#include "tests/transport/transport.h"

namespace ebb::proto {
namespace {

struct Attempt {
  std::unique_ptr<Connector> connector;
  std::optional<Result<std::unique_ptr<Stream>>> result;

  Attempt(asio::io_context& io, const Address& to, ConnectOptions options = {}) {
    connector = std::make_unique<Connector>(
        io, to, options, [this](Result<std::unique_ptr<Stream>> r) { result = std::move(r); });
  }
  int error(asio::io_context& io) {
    if (!run_until(io, [this] { return result.has_value(); })) return -1;
    if (*result) return 0;
    EXPECT_NE(result->error().detail, "");
    return result->error().code.value();
  }
};

Result<std::unique_ptr<Listener>> listen(asio::io_context& io, const Address& at,
                                         std::unique_ptr<Stream>* last = nullptr,
                                         ListenOptions options = {}) {
  return Listener::open(io, at, options, [last](std::unique_ptr<Stream> s) {
    if (last) *last = std::move(s);
  });
}

int open_error(const Address& at, ListenOptions options = {}) {
  asio::io_context io;
  const auto opened = listen(io, at, nullptr, options);
  if (opened) return 0;
  EXPECT_NE(opened.error().detail, "");
  return opened.error().code.value();
}

mode_t mode_of(const std::string& path) {
  struct stat info {};
  EXPECT_EQ(::lstat(path.c_str(), &info), 0);
  return info.st_mode & 07777;
}

// ---- TCP

TEST(Listening, PortZeroIsAnyFreeOneAndIsTold) {
  asio::io_context io;
  auto a = listen(io, loopback()), b = listen(io, loopback());
  ASSERT_TRUE(a && b);
  EXPECT_NE((*a)->address().port, 0);
  EXPECT_NE((*a)->address().port, (*b)->address().port);
  EXPECT_EQ(Attempt(io, (*a)->address()).error(io), 0);
}

TEST(Listening, ANameMayMeanSeveralAddresses) {
  asio::io_context io;
  std::unique_ptr<Stream> last;
  auto listener = listen(io, loopback(0, "localhost"), &last);
  ASSERT_TRUE(listener) << listener.error().message();
  EXPECT_EQ(Attempt(io, loopback((*listener)->address().port, "localhost")).error(io), 0);
  ASSERT_TRUE(run_until(io, [&] { return last != nullptr; }));
  EXPECT_NE(last->peer(), "unknown");
}

TEST(Listening, PlainTcpIsForThisMachineAlone) {
  EXPECT_EQ(open_error(loopback(0, "0.0.0.0")), EACCES);
  EXPECT_EQ(open_error(loopback(0, "")), EACCES);
  EXPECT_EQ(open_error(loopback(0, "0.0.0.0"), {.key = a_key()}), 0);
  asio::io_context io;
  EXPECT_EQ(Attempt(io, loopback(9, "192.0.2.1")).error(io), EACCES);
}

TEST(Listening, AnAddressInUseIsRefused) {
  asio::io_context io;
  auto first = listen(io, loopback());
  ASSERT_TRUE(first);
  EXPECT_EQ(open_error((*first)->address()), EADDRINUSE);
}

TEST(Listening, AnAddressThatIsNotOursIsRefused) {
  EXPECT_EQ(open_error(loopback(0, "192.0.2.1"), {.key = a_key()}), EADDRNOTAVAIL);
}

// ---- Unix sockets

TEST(Listening, AUnixSocketIsPrivateAndGoesAtTheEnd) {
  TempFolder folder;
  const Address at = folder.socket();
  {
    asio::io_context io;
    const mode_t before = ::umask(0);
    auto listener = listen(io, at);
    ::umask(before);
    ASSERT_TRUE(listener) << listener.error().message();
    EXPECT_EQ(mode_of(at.path), 0600u);
    Attempt attempt(io, at);
    EXPECT_EQ(attempt.error(io), 0);
  }
  EXPECT_FALSE(std::filesystem::exists(at.path));
}

TEST(Listening, ADeadServersSocketIsReplaced) {
  TempFolder folder;
  const Address at = folder.socket();
  const int dead = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  at.path.copy(name.sun_path, sizeof name.sun_path - 1);
  ASSERT_EQ(::bind(dead, reinterpret_cast<sockaddr*>(&name), sizeof name), 0);
  ASSERT_EQ(::listen(dead, 1), 0);
  ::close(dead);
  asio::io_context io;
  auto listener = listen(io, at);
  ASSERT_TRUE(listener) << listener.error().message();
  EXPECT_EQ(Attempt(io, at).error(io), 0);
}

TEST(Listening, ALivingServersSocketIsNotReplaced) {
  TempFolder folder;
  asio::io_context io;
  auto first = listen(io, folder.socket());
  ASSERT_TRUE(first);
  EXPECT_EQ(open_error(folder.socket()), EADDRINUSE);
  EXPECT_EQ(Attempt(io, folder.socket()).error(io), 0) << "the first one still answers";
}

TEST(Listening, AFileInTheWayStays) {
  TempFolder folder;
  std::ofstream(folder.socket().path) << "precious";
  EXPECT_EQ(open_error(folder.socket()), EEXIST);
  EXPECT_EQ(std::filesystem::file_size(folder.socket().path), 8u);
  std::filesystem::remove(folder.socket().path);
  std::filesystem::create_symlink("/nowhere", folder.socket().path);
  EXPECT_EQ(open_error(folder.socket()), EEXIST);
  EXPECT_TRUE(std::filesystem::is_symlink(folder.socket().path));
}

TEST(Listening, SomebodyElsesSocketIsNotUnlinkedAtTheEnd) {
  TempFolder folder;
  asio::io_context io;
  auto first = listen(io, folder.socket());
  ASSERT_TRUE(first);
  std::filesystem::remove(folder.socket().path);
  auto second = listen(io, folder.socket());
  ASSERT_TRUE(second);
  first->reset();
  EXPECT_EQ(Attempt(io, folder.socket()).error(io), 0);
}

TEST(Listening, ASocketInAFolderThatIsMissingIsRefused) {
  TempFolder folder;
  EXPECT_EQ(open_error(folder.socket("no/sock")), ENOENT);
}

TEST(Listening, AnotherUserIsHungUpOn) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root to become another user";
  TempFolder folder;
  asio::io_context io;
  std::unique_ptr<Stream> last;
  auto listener = listen(io, folder.socket(), &last);
  ASSERT_TRUE(listener);
  // As if somebody had opened the way: the check does not rest on the mode.
  std::filesystem::permissions(folder.socket().path, std::filesystem::perms::all);
  std::filesystem::permissions(std::filesystem::path(folder.socket().path).parent_path(),
                               std::filesystem::perms::all);
  const pid_t child = ::fork();
  if (child == 0) {
    if (::setuid(65534) != 0) ::_exit(2);
    const int fd = raw_connect(folder.socket());
    char byte = 0;
    ::_exit(::recv(fd, &byte, 1, 0) <= 0 ? 0 : 1);  // waits for the end
  }
  int status = -1;
  ASSERT_TRUE(run_until(io, [&] { return ::waitpid(child, &status, WNOHANG) == child; }));
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  EXPECT_EQ(last, nullptr);
}

TEST(Listening, TheOwnUserIsNamed) {
  TempFolder folder;
  asio::io_context io;
  std::unique_ptr<Stream> last;
  auto listener = listen(io, folder.socket(), &last);
  ASSERT_TRUE(listener);
  Attempt attempt(io, folder.socket());
  ASSERT_TRUE(run_until(io, [&] { return last != nullptr; }));
  EXPECT_EQ(last->peer(), "unix socket, uid " + std::to_string(::geteuid()));
}

// ---- connecting

TEST(Connecting, ARefusalIsTold) {
  asio::io_context io;
  std::uint16_t port = 0;
  {
    auto listener = listen(io, loopback());
    port = (*listener)->address().port;
  }
  EXPECT_EQ(Attempt(io, loopback(port)).error(io), ECONNREFUSED);
  TempFolder folder;
  EXPECT_EQ(Attempt(io, folder.socket()).error(io), ENOENT);
}

TEST(Connecting, ANameThatMeansNothingIsTold) {
  asio::io_context io;
  Attempt attempt(io, loopback(1, "no-such-host.invalid"));
  ASSERT_TRUE(run_until(io, [&] { return attempt.result.has_value(); }));
  ASSERT_FALSE(*attempt.result);
  EXPECT_NE(attempt.result->error().message().find("no-such-host.invalid"), std::string::npos);
}

/// A listener whose queue is full: further connections are neither taken nor refused.
struct FullQueue {
  int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  std::vector<int> waiting;
  Address address = loopback();

  FullQueue() {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof at;
    EXPECT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&at), size), 0);
    EXPECT_EQ(::listen(fd, 0), 0);
    EXPECT_EQ(::getsockname(fd, reinterpret_cast<sockaddr*>(&at), &size), 0);
    address.port = ntohs(at.sin_port);
    for (int i = 0; i < 8; ++i) {
      waiting.push_back(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
      static_cast<void>(::connect(waiting.back(), reinterpret_cast<sockaddr*>(&at), sizeof at));
    }
  }
  ~FullQueue() {
    for (int w : waiting) ::close(w);
    ::close(fd);
  }
};

TEST(Connecting, AServerThatDoesNotAnswerIsGivenUp) {
  asio::io_context io;
  FullQueue queue;
  Attempt attempt(io, queue.address, {.timeout = std::chrono::milliseconds(20)});
  EXPECT_EQ(attempt.error(io), ETIMEDOUT);
}

TEST(Connecting, AnAttemptThatIsDroppedIsNotHeardOfAgain) {
  asio::io_context io;
  auto listener = listen(io, loopback());
  ASSERT_TRUE(listener);
  FullQueue queue;
  for (const Address& to : {(*listener)->address(), queue.address, loopback(1, "localhost")}) {
    Attempt attempt(io, to);
    attempt.connector.reset();
    settle(io);
    EXPECT_FALSE(attempt.result);
  }
}

TEST(Connecting, TheOwnerMayGoInsideTheCall) {
  asio::io_context io;
  auto listener = listen(io, loopback());
  ASSERT_TRUE(listener);
  std::unique_ptr<Connector> connector;
  bool called = false;
  connector = std::make_unique<Connector>(io, (*listener)->address(), ConnectOptions{},
                                          [&](Result<std::unique_ptr<Stream>> r) {
                                            EXPECT_TRUE(r);
                                            called = true;
                                            connector.reset();
                                          });
  EXPECT_TRUE(run_until(io, [&] { return called; }));
}

TEST(Listening, TheOwnerMayGoInsideTheCall) {
  asio::io_context io;
  std::unique_ptr<Listener> listener;
  bool called = false;
  auto opened = Listener::open(io, loopback(), {}, [&](std::unique_ptr<Stream>) {
    called = true;
    listener.reset();
  });
  ASSERT_TRUE(opened);
  listener = *std::move(opened);
  const int fd = raw_connect(listener->address());
  EXPECT_TRUE(run_until(io, [&] { return called; }));
  settle(io);
  ::close(fd);
}

}  // namespace
}  // namespace ebb::proto
