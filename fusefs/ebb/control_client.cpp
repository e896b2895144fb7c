#include "fusefs/ebb/control_client.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "fusefs/ebb/registry.h"

namespace ebb::fusefs {

Outcome<ControlClient> ControlClient::connect(const Mount& mount) {
  auto link = control_of(mount);
  if (!link) return tl::unexpected(link.error());
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (link->size() >= sizeof address.sun_path)
    return refuse("{}: {}", *link, std::strerror(ENAMETOOLONG));
  std::memcpy(address.sun_path, link->data(), link->size());
  ControlClient client(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), mount.point);
  if (client.fd_ < 0) return refuse("{}: {}", mount.point, std::strerror(errno));
  if (::connect(client.fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return refuse(
        "{}: its daemon does not answer ({}); unmount it with `fusermount3 -u` and mount it again",
        mount.point, std::strerror(errno));
  }
  return client;
}

ControlClient::ControlClient(ControlClient&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      mountpoint_(std::move(other.mountpoint_)),
      in_(std::move(other.in_)) {}

ControlClient::~ControlClient() {
  if (fd_ >= 0) ::close(fd_);
}

Outcome<> ControlClient::send(const std::string& line) {
  for (std::size_t sent = 0; sent < line.size();) {
    const ssize_t n = ::send(fd_, line.data() + sent, line.size() - sent, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return refuse("{}: its daemon has hung up", mountpoint_);
    sent += static_cast<std::size_t>(n);
  }
  return {};
}

Outcome<Json> ControlClient::ask(const Json& request, const Waiting& waiting) {
  if (auto sent = send(to_line(request)); !sent) return tl::unexpected(sent.error());
  const Time end = waiting.at_most ? system_clock().now() + *waiting.at_most : kNever;
  std::array<char, 65536> part;
  while (in_.find('\n') == std::string::npos) {
    const Duration left =
        end == kNever ? Duration(std::chrono::seconds(1)) : end - system_clock().now();
    if (left <= Duration::zero()) {
      return refuse("{}: not done in time", waiting.about.empty() ? mountpoint_ : waiting.about);
    }
    const auto milliseconds = std::chrono::ceil<std::chrono::milliseconds>(
        std::min(left, Duration(std::chrono::seconds(1))));
    pollfd ready{.fd = fd_, .events = POLLIN, .revents = 0};
    const int polled = ::poll(&ready, 1, static_cast<int>(milliseconds.count()));
    if (polled == 0 && waiting.tick) waiting.tick();
    if (polled <= 0) continue;
    const ssize_t n = ::recv(fd_, part.data(), part.size(), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0 || in_.size() > kAnswerMax) return refuse("{}: its daemon has hung up", mountpoint_);
    in_.append(part.data(), static_cast<std::size_t>(n));
  }
  const auto line_end = in_.find('\n');
  Json answer = parse_json(std::string_view(in_).substr(0, line_end));
  in_.erase(0, line_end + 1);
  if (!answer.is_object())
    return refuse("{}: its daemon speaks another version's language", mountpoint_);
  return answer;
}

}  // namespace ebb::fusefs
