#include "fusefs/ebb/source.h"

#include <cerrno>
#include <filesystem>

namespace ebb::fusefs {
namespace {

std::string absolute(std::string_view path) {
  std::error_code ignored;
  const auto whole = std::filesystem::absolute(std::filesystem::path(path), ignored);
  const auto real = std::filesystem::weakly_canonical(whole, ignored);
  std::string text = (real.empty() ? whole.lexically_normal() : real).string();
  while (text.size() > 1 && text.back() == '/') text.pop_back();
  return text;
}

tl::unexpected<Refusal> not_an_address(const Error& error) {
  if (is_errno(error, EOPNOTSUPP)) {
    return refuse("{}; use a Unix socket or, on this machine, ebb://localhost/ with -o insecure",
                  error.detail);
  }
  return misused("source {}", error.detail);
}

Outcome<> check_address(const proto::Address& address, std::string_view text, bool insecure) {
  if (!address.subtree.empty()) {
    return refuse(
        "source {}: a part of a tree cannot be mounted by this version; mount the whole tree",
        text);
  }
  if (address.kind == proto::Address::Kind::tcp && !(insecure && proto::is_loopback(address))) {
    return refuse(
        "source {}: encrypted connections are not there yet, and plain TCP goes to this machine "
        "alone; "
        "use ebb://localhost/ with -o insecure, or a Unix socket",
        text);
  }
  return {};
}

}  // namespace

std::string Source::text() const {
  return address ? proto::to_text(*address) : folder;
}

Outcome<Source> parse_source(std::string_view text, bool insecure) {
  if (text.empty())
    return misused("no source to mount: give ebb://host/, unix:PATH or a directory");
  if (!text.starts_with("ebb://") && !text.starts_with("unix:"))
    return Source{std::nullopt, absolute(text)};
  auto address = proto::parse_source(text);
  if (!address) return not_an_address(address.error());
  if (auto good = check_address(*address, text, insecure); !good)
    return tl::unexpected(good.error());
  if (address->kind == proto::Address::Kind::unix_socket) address->path = absolute(address->path);
  return Source{*address, {}};
}

}  // namespace ebb::fusefs
