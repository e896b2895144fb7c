#include "proto/asio/socket.h"

#include <cstring>

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

namespace ebb::proto {

namespace {

using asio::ip::tcp;

bool is_unix(Socket& socket) {
  int domain = 0;
  socklen_t size = sizeof domain;
  return ::getsockopt(socket.native_handle(), SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 &&
         domain == AF_UNIX;
}

}  // namespace

void close_on_exec(int fd) {
  ::fcntl(fd, F_SETFD, FD_CLOEXEC);
}

void prepare(Socket& socket) {
  close_on_exec(socket.native_handle());
  if (is_unix(socket)) return;
  const int on = 1;
  ::setsockopt(socket.native_handle(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ::setsockopt(socket.native_handle(), IPPROTO_TCP, TCP_NOTSENT_LOWAT, &kUnsentMax,
               sizeof kUnsentMax);
}

bool is_loopback(const asio::ip::address& address) {
  if (address.is_v4()) return address.to_v4().is_loopback();
  const auto v6 = address.to_v6();
  if (!v6.is_v4_mapped()) return v6.is_loopback();
  return asio::ip::make_address_v4(asio::ip::v4_mapped, v6).is_loopback();
}

std::optional<uid_t> peer_uid(Socket& socket) {
  ucred who{};
  socklen_t size = sizeof who;
  if (!is_unix(socket)) return std::nullopt;
  if (::getsockopt(socket.native_handle(), SOL_SOCKET, SO_PEERCRED, &who, &size) != 0) {
    return static_cast<uid_t>(-1);  // nobody
  }
  return who.uid;
}

std::string describe_peer(Socket& socket) {
  if (const auto uid = peer_uid(socket)) return "unix socket, uid " + std::to_string(*uid);
  asio::error_code error;
  const auto generic = socket.remote_endpoint(error);
  tcp::endpoint peer;
  if (error || generic.size() > peer.capacity()) return "unknown";
  std::memcpy(peer.data(), generic.data(), generic.size());
  peer.resize(generic.size());
  const std::string host = peer.address().to_string();
  const std::string shown = peer.address().is_v6() ? "[" + host + "]" : host;
  return shown + ":" + std::to_string(peer.port());
}

Error to_error(const asio::error_code& code, std::string detail) {
  return {code, std::move(detail)};
}

}  // namespace ebb::proto
