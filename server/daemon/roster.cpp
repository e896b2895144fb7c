#include "server/daemon/roster.h"

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <sstream>

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>

#include "base/file_io.h"
#include "base/folder_lock.h"
#include "base/json.h"
#include "proto/errors.h"

namespace ebb::server {
namespace {

constexpr std::size_t kSecretBytes = 32;
constexpr std::size_t kClientsMax = 10'000;
constexpr std::size_t kInvitationsMax = 1000;
constexpr std::size_t kNameMax = 64;

std::string path_of(const std::string& folder) {
  return folder + "/roster.json";
}

std::string hex(const std::uint8_t* bytes, std::size_t size) {
  std::string text;
  for (std::size_t i = 0; i < size; ++i) text += fmt::format("{:02x}", bytes[i]);
  return text;
}

std::string hash_of(const std::string& secret) {
  const auto hash = sha256(as_bytes(secret));
  return hex(hash.data(), hash.size());
}

/// A record that an older version wrote has none.
bool good_subtree(const Json& record) {
  return !record.contains("subtree") || record["subtree"].is_string();
}

bool well_formed(const Json& all) {
  if (!all.is_object() || !all.contains("clients") || !all.contains("invitations")) return false;
  const auto good_client = [](const Json& c) {
    return c.is_object() && c.value("name", Json()).is_string() &&
           c.value("key", Json()).is_string() && c.value("read_only", Json()).is_boolean() &&
           c.value("since", Json()).is_number_integer() && good_subtree(c);
  };
  const auto good_invitation = [](const Json& i) {
    return i.is_object() && i.value("hash", Json()).is_string() &&
           i.value("read_only", Json()).is_boolean() &&
           i.value("expires", Json()).is_number_integer() && good_subtree(i);
  };
  const Json& clients = all["clients"];
  const Json& open = all["invitations"];
  return clients.is_array() && open.is_array() &&
         std::all_of(clients.begin(), clients.end(), good_client) &&
         std::all_of(open.begin(), open.end(), good_invitation);
}

Result<Json> read(const std::string& folder) {
  const std::string path = path_of(folder);
  auto there = system_file_io().exists(path);
  if (!there) return pass(there.error());
  if (!*there) return Json{{"clients", Json::array()}, {"invitations", Json::array()}};
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  auto all = parse_json(text.str());
  if (!well_formed(all))
    return fail_errno(EINVAL, path + ": damaged; put an older one in its place, or enrol anew");
  return all;
}

Result<> write(const std::string& folder, const Json& all) {
  return replace_file(system_file_io(), path_of(folder), as_bytes(all.dump(1) + "\n"));
}

EnrolledClient client_of(const Json& c) {
  return {c["name"], c["key"], c["read_only"], c.value("subtree", ""), c["since"]};
}

Admission admission_of(const EnrolledClient& client) {
  return {client.name, client.read_only, client.subtree};
}

bool same(const std::string& a, const std::string& b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

Json* find(Json& list, const char* field, const std::string& value) {
  for (auto& entry : list) {
    if (same(entry[field], value)) return &entry;
  }
  return nullptr;
}

void drop_expired(Json& all, WallNs now) {
  Json kept = Json::array();
  for (auto& open : all["invitations"]) {
    if (open["expires"].get<WallNs>() > now) kept.push_back(std::move(open));
  }
  all["invitations"] = std::move(kept);
}

/// `wanted`, or with a number behind it where another client has it.
std::string free_name(Json& clients, const std::string& wanted) {
  const std::string stem = wanted.empty() ? "client" : wanted.substr(0, kNameMax - 6);
  std::string name = stem;
  for (int n = 2; find(clients, "name", name) != nullptr; ++n) name = fmt::format("{}-{}", stem, n);
  return name;
}

tl::unexpected<Error> stranger(std::string sentence) {
  return fail(proto::Errc::not_enrolled, std::move(sentence));
}

}  // namespace

Result<std::string> Roster::invite(const InvitationTerms& terms, WallNs now) const {
  std::uint8_t bytes[kSecretBytes];
  if (RAND_bytes(bytes, sizeof bytes) != 1)
    return fail_errno(EIO, "no random numbers for a secret");
  const std::string secret = hex(bytes, sizeof bytes);
  const FolderLock lock(folder_ + "/roster.lock");
  auto all = read(folder_);
  if (!all) return pass(all.error());
  drop_expired(*all, now);
  if ((*all)["invitations"].size() >= kInvitationsMax) {
    return fail_errno(E2BIG, "too many invitations are open; they expire");
  }
  (*all)["invitations"].push_back({{"hash", hash_of(secret)},
                                   {"read_only", terms.read_only},
                                   {"subtree", terms.subtree},
                                   {"expires", terms.expires}});
  if (auto kept = write(folder_, *all); !kept) return pass(kept.error());
  return secret;
}

Result<std::vector<EnrolledClient>> Roster::clients() const {
  auto all = read(folder_);
  if (!all) return pass(all.error());
  std::vector<EnrolledClient> clients;
  for (const auto& c : (*all)["clients"]) clients.push_back(client_of(c));
  std::sort(clients.begin(), clients.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  return clients;
}

Result<bool> Roster::revoke(const std::string& name) const {
  const FolderLock lock(folder_ + "/roster.lock");
  auto all = read(folder_);
  if (!all) return pass(all.error());
  Json kept = Json::array();
  for (const auto& c : (*all)["clients"]) {
    if (c["name"] != name) kept.push_back(c);
  }
  if (kept.size() == (*all)["clients"].size()) return false;
  (*all)["clients"] = std::move(kept);
  if (auto written = write(folder_, *all); !written) return pass(written.error());
  return true;
}

Result<Admission> Roster::admit(const std::string& key, const std::string& secret,
                                const std::string& wanted_name, const std::string& known_as,
                                WallNs now) const {
  const FolderLock lock(folder_ + "/roster.lock");
  auto all = read(folder_);
  if (!all) return pass(all.error());
  Json& clients = (*all)["clients"];
  const Json* known = find(clients, "key", key);
  const Json* owner = find(clients, "name", known_as);
  // Also an id that was never enrolled, a Unix socket's: who holds the key of another name has not
  // made it.
  const bool not_its_own =
      owner != nullptr ? (*owner)["key"] != key
                       : known != nullptr && !known_as.empty() && (*known)["name"] != known_as;
  if (not_its_own) {
    return stranger(
        fmt::format("this state folder is the client {}'s, which has another key; give another "
                    "with -o state=DIR",
                    known_as));
  }
  if (known != nullptr) return admission_of(client_of(*known));
  if (secret.empty()) {
    return stranger(
        "this machine's key is not enrolled with the server, or no more; ask for an invitation "
        "(ebbd invite)");
  }
  drop_expired(*all, now);
  Json& open = (*all)["invitations"];
  const Json* found = find(open, "hash", hash_of(secret));
  if (found == nullptr) {
    return stranger(
        "the invitation is used up, expired, or none of this server's; ask for a new one");
  }
  if (clients.size() >= kClientsMax) return stranger("the server has as many clients as it can");
  const EnrolledClient client{free_name(clients, wanted_name), key, (*found)["read_only"],
                              found->value("subtree", ""), now};
  open.erase(open.begin() + (found - &open[0]));
  clients.push_back({{"name", client.name},
                     {"key", client.key},
                     {"read_only", client.read_only},
                     {"subtree", client.subtree},
                     {"since", client.since}});
  if (auto kept = write(folder_, *all); !kept) return pass(kept.error());
  return admission_of(client);
}

}  // namespace ebb::server
