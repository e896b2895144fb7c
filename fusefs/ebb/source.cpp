#include "fusefs/ebb/source.h"

#include <filesystem>

#include "proto/messages.h"

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

Outcome<> check_address(const proto::Address& address, bool insecure) {
  const std::string text = proto::to_text(address);
  if (!proto::valid_path(address.subtree) || address.subtree.size() > proto::kSubtreeMax) {
    return misused(
        "source {}: a part of a tree is names with slashes between them, at most {} bytes", text,
        proto::kSubtreeMax);
  }
  if (address.kind == proto::Address::Kind::tcp && insecure && !proto::is_loopback(address)) {
    return refuse("source {}: plain TCP goes to this machine alone; leave -o insecure out", text);
  }
  if (!address.invitation.empty() && insecure) {
    return misused("source {}: an invitation is for an encrypted connection; leave -o insecure out",
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
  if (!address) return misused("source {}", address.error().detail);
  if (auto good = check_address(*address, insecure); !good) return tl::unexpected(good.error());
  if (address->kind == proto::Address::Kind::unix_socket) address->path = absolute(address->path);
  return Source{*address, {}};
}

}  // namespace ebb::fusefs
