#include "fusefs/ebb/enrolment.h"

#include <cstdlib>
#include <fstream>
#include <sstream>

#include <pwd.h>
#include <unistd.h>

#include "base/file_io.h"
#include "base/folder_lock.h"
#include "base/json.h"

namespace ebb::fusefs {
namespace {

constexpr std::size_t kSecretMax = 256;

/// $XDG_CONFIG_HOME/ebbfs, made where it is missing.
Outcome<std::string> configuration_folder() {
  std::string base;
  if (const char* configured = std::getenv("XDG_CONFIG_HOME"); configured && *configured == '/') {
    base = configured;
  } else {
    const char* home = std::getenv("HOME");
    if (!home || *home != '/') {
      const passwd* user = ::getpwuid(::getuid());
      home = user ? user->pw_dir : nullptr;
    }
    if (!home || *home != '/')
      return refuse("no home directory for this user's key; set XDG_CONFIG_HOME");
    base = std::string(home) + "/.config";
  }
  const std::string folder = base + "/ebbfs";
  if (auto made = system_file_io().make_folder(folder); !made)
    return refuse("{}: {}", folder, made.error().message());
  return folder;
}

/// A server's key belongs to where it is reached, whichever part of its tree is mounted.
std::string name_of(const proto::Address& address) {
  proto::Address whole = address;
  whole.subtree.clear();
  return proto::to_text(whole);
}

Outcome<Json> read_servers(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return Json::object();
  std::ostringstream text;
  text << file.rdbuf();
  auto servers = parse_json(text.str());
  if (!servers.is_object()) return refuse("{}: damaged; put it away and enrol anew", path);
  return servers;
}

Outcome<> read_invitation(const proto::Address& address, Enrolment& out) {
  const auto dot = address.invitation.find('.');
  const auto server = proto::parse_fingerprint(address.invitation.substr(0, dot));
  if (dot == std::string::npos || !server || address.invitation.size() - dot - 1 > kSecretMax) {
    return misused("source {}: the invitation behind # is not whole; paste all of it",
                   proto::to_text(address));
  }
  out.server = *server;
  out.secret = address.invitation.substr(dot + 1);
  return {};
}

Outcome<> read_known(const proto::Address& address, const std::string& folder, Enrolment& out) {
  const auto servers = read_servers(folder + "/servers.json");
  if (!servers) return tl::unexpected(servers.error());
  const auto known = servers->find(name_of(address));
  if (known == servers->end() || !known->is_string()) {
    return refuse(
        "source {}: not enrolled with this server; mount the link that `ebbd invite` prints there "
        "once, or use -o "
        "insecure for a plain one on this machine",
        proto::to_text(address));
  }
  const auto server = proto::parse_fingerprint(known->get<std::string>());
  if (!server) return refuse("{}/servers.json: damaged; put it away and enrol anew", folder);
  out.server = *server;
  return {};
}

}  // namespace

Outcome<Enrolment> find_enrolment(const proto::Address& address) {
  const auto folder = configuration_folder();
  if (!folder) return tl::unexpected(folder.error());
  Enrolment out;
  auto found = address.invitation.empty() ? read_known(address, *folder, out)
                                          : read_invitation(address, out);
  if (!found) return tl::unexpected(found.error());
  auto key = proto::TlsKey::load_or_make(*folder + "/key.pem");
  if (!key) return refuse("this user's key: {}", key.error().message());
  out.key = *key;
  return out;
}

Outcome<> keep_enrolment(const proto::Address& address, const proto::Fingerprint& server) {
  const auto folder = configuration_folder();
  if (!folder) return tl::unexpected(folder.error());
  const std::string path = *folder + "/servers.json";
  const FolderLock lock(path + ".lock");
  auto servers = read_servers(path);
  if (!servers) return tl::unexpected(servers.error());
  (*servers)[name_of(address)] = proto::to_text(server);
  auto kept = replace_file(system_file_io(), path, as_bytes(servers->dump(1) + "\n"));
  if (!kept) return refuse("{}", kept.error().message());
  return {};
}

}  // namespace ebb::fusefs
