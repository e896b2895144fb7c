#include "fusefs/ebb/source.h"

#include <charconv>
#include <filesystem>

namespace ebb::fusefs {
namespace {

constexpr std::string_view kScheme = "ebb://";
constexpr std::string_view kUnix = "unix:";

bool is_loopback(std::string_view host) {
  return host == "localhost" || host == "::1" || host.starts_with("127.");
}

std::string absolute(std::string_view path) {
  std::error_code ignored;
  const auto whole = std::filesystem::absolute(std::filesystem::path(path), ignored);
  const auto real = std::filesystem::weakly_canonical(whole, ignored);
  std::string text = (real.empty() ? whole.lexically_normal() : real).string();
  while (text.size() > 1 && text.back() == '/') text.pop_back();
  return text;
}

Outcome<std::uint16_t> parse_port(std::string_view digits, std::string_view text) {
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (error != std::errc{} || end != digits.data() + digits.size() || port == 0) {
    return misused("{}: the port is not a number from 1 to 65535", text);
  }
  return port;
}

/// host, host:port or [address]:port
Outcome<> parse_authority(std::string_view authority, std::string_view text, Source& source) {
  std::string_view rest;
  if (authority.starts_with('[')) {
    const auto end = authority.find(']');
    if (end == std::string_view::npos) return misused("{}: no ] after the address", text);
    source.host = authority.substr(1, end - 1);
    rest = authority.substr(end + 1);
  } else {
    const auto colon = authority.find(':');
    source.host = authority.substr(0, colon);
    if (colon != std::string_view::npos) rest = authority.substr(colon);
  }
  if (source.host.empty()) return misused("{}: no host after ebb://", text);
  if (rest.empty()) return {};
  if (rest.front() != ':') return misused("{}: neither a port nor / after the host", text);
  auto port = parse_port(rest.substr(1), text);
  if (!port) return tl::unexpected(port.error());
  source.port = *port;
  return {};
}

Outcome<Source> parse_url(std::string_view text, bool insecure) {
  if (text.find('#') != std::string_view::npos) {
    return refuse(
        "{}: invitations are not supported by this version; use a Unix socket or, on this machine, "
        "ebb://localhost/ with -o insecure",
        text.substr(0, text.find('#')));
  }
  std::string_view rest = text.substr(kScheme.size());
  const auto slash = rest.find('/');
  const std::string_view path = slash == std::string_view::npos ? "" : rest.substr(slash);
  Source source{.kind = Source::Kind::tcp, .host = {}, .path = {}};
  if (auto parsed = parse_authority(rest.substr(0, slash), text, source); !parsed) {
    return tl::unexpected(parsed.error());
  }
  if (path.size() > 1) {
    return refuse(
        "{}: a part of a tree cannot be mounted by this version; mount the whole tree, ebb://{}/",
        text, rest.substr(0, slash));
  }
  if (!insecure || !is_loopback(source.host)) {
    return refuse(
        "{}: encrypted connections are not supported by this version, and plain TCP goes to this "
        "machine alone; use ebb://localhost/ with -o insecure, or a Unix socket",
        text);
  }
  return source;
}

}  // namespace

std::string Source::text() const {
  switch (kind) {
    case Kind::tcp: {
      const bool six = host.find(':') != std::string::npos;
      return fmt::format("ebb://{}{}{}:{}/", six ? "[" : "", host, six ? "]" : "", port);
    }
    case Kind::unix_socket:
      return "unix:" + path;
    case Kind::folder:
      break;
  }
  return path;
}

Outcome<Source> parse_source(std::string_view text, bool insecure) {
  if (text.empty())
    return misused("no source to mount: give ebb://host/, unix:PATH or a directory");
  if (text.starts_with(kScheme)) return parse_url(text, insecure);
  if (text.starts_with(kUnix)) {
    const auto path = text.substr(kUnix.size());
    if (path.empty()) return misused("{}: no path after unix:", text);
    return Source{.kind = Source::Kind::unix_socket, .host = {}, .path = absolute(path)};
  }
  return Source{.kind = Source::Kind::folder, .host = {}, .path = absolute(text)};
}

}  // namespace ebb::fusefs
