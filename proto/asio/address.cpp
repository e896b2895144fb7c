#include "proto/asio/address.h"

#include <cerrno>
#include <charconv>

#include <arpa/inet.h>
#include <sys/un.h>

namespace ebb::proto {

namespace {

constexpr std::string_view kScheme = "ebb://";
constexpr std::string_view kUnix = "unix:";
constexpr std::size_t kHostMax = 253;  // of a DNS name

tl::unexpected<Error> bad(std::string_view text, std::string_view why) {
  return fail_errno(EINVAL, std::string(text) + ": " + std::string(why));
}

bool parse_port(std::string_view text, std::uint16_t& port) {
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, port);
  return !text.empty() && error == std::errc() && rest == end;
}

bool is_v6(const std::string& host) {
  in6_addr out;
  return inet_pton(AF_INET6, host.c_str(), &out) == 1;
}

bool good_host(std::string_view host) {
  // What a resolver, a log line and a URL all take; anything else is a slip of the keyboard.
  return host.size() <= kHostMax && host.find_first_of(" \t\r\n/?#@[]%\\") == host.npos &&
         host.find('\0') == host.npos;
}

/// Takes `[V6]` or a name off the front of `text`; what is left is empty or begins with a colon.
bool take_host(std::string_view& text, std::string& host) {
  if (!text.empty() && text.front() == '[') {
    const auto close = text.find(']');
    if (close == text.npos) return false;
    host = text.substr(1, close - 1);
    text.remove_prefix(close + 1);
    return is_v6(host);
  }
  const auto colon = text.find(':');
  host = text.substr(0, colon);
  text.remove_prefix(colon == text.npos ? text.size() : colon);
  return good_host(host) && text.find(':', 1) == text.npos;
}

Result<Address> parse_host_and_port(std::string_view whole, std::string_view text) {
  Address address;
  if (!take_host(text, address.host)) {
    return bad(whole, "no host; an IPv6 number stands in brackets");
  }
  if (text.empty()) return address;
  if (text.front() != ':' || !parse_port(text.substr(1), address.port)) {
    return bad(whole, "no port, which is a number up to 65535");
  }
  return address;
}

Result<Address> parse_unix(std::string_view whole, std::string_view path) {
  if (path.empty() || path.find('\0') != path.npos) return bad(whole, "no path behind unix:");
  if (path.size() >= sizeof(sockaddr_un::sun_path)) {
    return fail_errno(ENAMETOOLONG, std::string(whole) + ": a socket's path has at most " +
                                        std::to_string(sizeof(sockaddr_un::sun_path) - 1) +
                                        " bytes");
  }
  Address address;
  address.kind = Address::Kind::unix_socket;
  address.path = path;
  return address;
}

std::string_view without_slashes(std::string_view path) {
  while (!path.empty() && path.front() == '/') path.remove_prefix(1);
  while (!path.empty() && path.back() == '/') path.remove_suffix(1);
  return path;
}

}  // namespace

Result<Address> parse_source(std::string_view text) {
  if (text.substr(0, kUnix.size()) == kUnix) return parse_unix(text, text.substr(kUnix.size()));
  if (text.substr(0, kScheme.size()) != kScheme) {
    return bad(text, "neither ebb://HOST nor unix:PATH");
  }
  std::string_view rest = text.substr(kScheme.size());
  std::string_view invitation;
  if (const auto hash = rest.find('#'); hash != rest.npos) {
    invitation = rest.substr(hash + 1);
    rest = rest.substr(0, hash);
    text = text.substr(0, text.find('#'));  // what is shown to people has no secret
    if (invitation.empty()) return bad(text, "nothing behind #; an invitation is pasted whole");
  }
  const auto slash = rest.find('/');
  auto address = parse_host_and_port(text, rest.substr(0, slash));
  if (!address) return address;
  if (address->host.empty()) return bad(text, "no host");
  if (address->port == 0) return bad(text, "no port, which is a number from 1 to 65535");
  if (slash != rest.npos) address->subtree = without_slashes(rest.substr(slash));
  address->invitation = invitation;
  return address;
}

Result<Address> parse_listen(std::string_view text) {
  if (text.substr(0, kUnix.size()) == kUnix) return parse_unix(text, text.substr(kUnix.size()));
  if (text.empty()) return bad(text, "no address");
  return parse_host_and_port(text, text);
}

std::string to_text(const Address& address) {
  if (address.kind == Address::Kind::unix_socket) return std::string(kUnix) + address.path;
  const std::string host = is_v6(address.host) ? "[" + address.host + "]" : address.host;
  return std::string(kScheme) + host + ":" + std::to_string(address.port) + "/" + address.subtree;
}

bool is_loopback(const Address& address) {
  if (address.kind == Address::Kind::unix_socket || address.host == "localhost") return true;
  in_addr v4;
  if (inet_pton(AF_INET, address.host.c_str(), &v4) == 1) return (ntohl(v4.s_addr) >> 24) == 127;
  in6_addr v6;
  return inet_pton(AF_INET6, address.host.c_str(), &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

}  // namespace ebb::proto
