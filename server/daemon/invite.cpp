// `ebbd invite`, `ebbd clients`, `ebbd revoke`: with the server running or not.
#include <cerrno>
#include <filesystem>
#include <fstream>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "base/file_io.h"
#include "proto/asio/address.h"
#include "proto/asio/tls.h"
#include "server/core/beneath.h"
#include "server/daemon/commands.h"
#include "server/daemon/control.h"
#include "server/daemon/program.h"
#include "server/daemon/roster.h"
#include "server/daemon/time_text.h"

namespace ebb::server {
namespace {

constexpr WallNs kWeek = 7LL * 24 * 3600 * 1'000'000'000;

int failed(const Command& command, const std::string& why, std::ostream& err) {
  err << fmt::format("ebbd: {}: {}\n", command.root, why);
  return kExitFailed;
}

/// Empty: there is one.
std::string no_state(const Command& command) {
  auto there = system_file_io().exists(state_folder(command));
  if (there && *there) return "";
  return "no server's state here; name the ROOT that is served, and its --state, after ebbd serve "
         "was started once";
}

std::string own_name() {
  char name[256] = {};
  return ::gethostname(name, sizeof name - 1) == 0 ? name : "localhost";
}

/// From the root, with single slashes between its names.  Typed so, or as a path of this machine.
Result<std::string> subtree_of(const Command& command) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  const fs::path root = fs::canonical(command.root, ignored);
  fs::path given = fs::path(command.subtree).lexically_normal();
  if (given.is_absolute()) {
    const fs::path inside = given.lexically_relative(root);
    given = !inside.empty() && *inside.begin() != ".." ? inside : given.relative_path();
  }
  std::string path = given.string();
  while (path.ends_with('/')) path.pop_back();
  if (path.empty() || path == ".") return std::string();
  const std::string own(kOwnFolder);
  const Fd top(::open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!top || path == own || path.starts_with(own + "/") ||
      !open_beneath(top.get(), path, O_PATH | O_DIRECTORY)) {
    return fail_errno(ENOTDIR,
                      "--subtree " + command.subtree +
                          ": no folder of the tree that is reached without a symbolic link");
  }
  return path;
}

bool means_every_address(const std::string& host) {
  return host.empty() || host == "0.0.0.0" || host == "::";
}

/// What --host says, or where the server listens, or did when it ran last.
Result<proto::Address> reached_at(const Command& command) {
  proto::Address address;
  std::ifstream noted(listening_path(state_folder(command)));
  std::string host;
  std::uint16_t port = 0;
  const bool known = std::getline(noted, host) && noted >> port;
  if (!command.host.empty()) {
    auto given = proto::parse_listen(command.host);
    if (!given || given->kind != proto::Address::Kind::tcp || given->host.empty())
      return fail_errno(EINVAL, command.host + ": NAME or NAME:PORT is meant");
    address = *given;
    const bool has_port =
        command.host.find(
            ':', command.host.rfind(']') == std::string::npos ? 0 : command.host.rfind(']')) !=
        std::string::npos;
    if (!has_port && known) address.port = port;
    return address;
  }
  if (!known) {
    return fail_errno(EADDRNOTAVAIL,
                      "the server listens on no TCP address with TLS; serve with --listen "
                      "HOST:PORT, or say --host NAME:PORT");
  }
  address.host = means_every_address(host) ? own_name() : host;
  address.port = port;
  return address;
}

}  // namespace

int invite(const Command& command, std::ostream& out, std::ostream& err) {
  const WallNs now = system_clock().wall();
  InvitationTerms terms;
  terms.read_only = command.read_only;
  terms.expires = now + kWeek;
  if (!command.expires.empty()) {
    const auto past = parse_time(command.expires, now);
    if (!past || *past >= now) {
      err << fmt::format("ebbd: --expires {}: 90s, 15m, 2h or 3d is meant\n", command.expires);
      return kExitUsage;
    }
    terms.expires = now + (now - *past);
  }
  const std::string state = state_folder(command);
  if (auto no = no_state(command); !no.empty()) return failed(command, no, err);
  const auto subtree = subtree_of(command);
  if (!subtree) return failed(command, subtree.error().detail, err);
  terms.subtree = *subtree;
  const auto address = reached_at(command);
  if (!address) return failed(command, address.error().detail, err);
  const auto key = proto::TlsKey::load_or_make(key_path(state));
  if (!key) return failed(command, key.error().message(), err);
  const auto secret = Roster(state).invite(terms, now);
  if (!secret) return failed(command, secret.error().message(), err);
  out << fmt::format("{}#{}.{}\n", proto::to_text(*address), proto::to_text((*key)->fingerprint()),
                     *secret);
  return kExitDone;
}

int show_clients(const Command& command, std::ostream& out, std::ostream& err) {
  if (auto no = no_state(command); !no.empty()) return failed(command, no, err);
  const auto clients = Roster(state_folder(command)).clients();
  if (!clients) return failed(command, clients.error().message(), err);
  for (const auto& client : *clients) {
    if (command.json) {
      out << Json{{"name", client.name},
                  {"key", client.key},
                  {"read_only", client.read_only},
                  {"subtree", client.subtree},
                  {"since", utc_text(client.since)}}
                 .dump()
          << "\n";
    } else {
      const std::string subtree = client.subtree.empty() ? "" : "  subtree " + client.subtree;
      out << fmt::format("{}  {}  since {}  key {}{}\n", client.name,
                         client.read_only ? "read-only" : "read-write", utc_text(client.since),
                         client.key.substr(0, 16), subtree);
    }
  }
  return kExitDone;
}

int revoke(const Command& command, std::ostream& out, std::ostream& err) {
  if (auto no = no_state(command); !no.empty()) return failed(command, no, err);
  const auto revoked = Roster(state_folder(command)).revoke(command.name);
  if (!revoked) return failed(command, revoked.error().message(), err);
  if (!*revoked)
    return failed(command, fmt::format("no client {}; ebbd clients lists them", command.name), err);
  // A server that does not run has nobody to hang up on.
  (void)ask_control(control_path(command), R"({"do": "revoke"})");
  out << fmt::format("{} is let in no more\n", command.name);
  return kExitDone;
}

}  // namespace ebb::server
