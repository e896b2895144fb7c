// The handshake: who a peer is, and what it sees of the tree.
#include <algorithm>

#include <fmt/format.h>

#include "base/hash.h"
#include "base/log.h"
#include "server/core/service_impl.h"

namespace ebb::server {

using proto::Errc;

namespace {

std::string range_refusal(const proto::VersionHandshake& hello) {
  return fmt::format("no common version: this server speaks {} to {}, the client {} to {}",
                     proto::kVersionMin, proto::kVersionMax, hello.version_min, hello.version_max);
}

bool good_client_name(const std::string& name) {
  return name.size() <= 255 && std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '-';
         });
}

constexpr std::uint64_t kClientIdMax = (std::uint64_t{1} << 56) - 1;

std::string joined(const std::string& folder, const std::string& path) {
  return folder.empty() || path.empty() ? folder + path : folder + "/" + path;
}

}  // namespace

proto::VersionHandshakeResponse Service::Impl::greeting(const Peer& peer) const {
  proto::VersionHandshakeResponse out;
  out.version_min = proto::kVersionMin;
  out.version_max = proto::kVersionMax;
  out.capabilities = proto::kSubtrees | options.limits.capabilities;
  // A stranger is told the refusal and nothing of the tree.
  if (peer.admit || !peer.view.stands()) return out;
  out.tree = peer.view.tree_id(store->tree());
  out.epoch = epoch;
  out.sequence = durable;
  out.read_only = options.read_only || peer.read_only;
  return out;
}

void Service::Impl::turn_away(Peer& peer, Errc code, std::string sentence) {
  auto out = greeting(peer);
  out.code = code;
  out.sentence = std::move(sentence);
  (void)peer.connection.send(0, out);
  peer.connection.agree(proto::kPacketMaxAtFirst);
  peer.closing = true;
  touch(peer.id);
}

void Service::Impl::shake(Peer& peer, const proto::VersionHandshake& hello) {
  if (hello.version_min > proto::kVersionMax || hello.version_max < proto::kVersionMin) {
    return turn_away(peer, Errc::no_common_version, range_refusal(hello));
  }
  if (broken) return turn_away(peer, Errc::io, "the server's database failed");
  if (!hello.client || hello.client.value > kClientIdMax || !good_client_name(hello.client_name)) {
    return turn_away(peer, Errc::bad_request,
                     "a client needs an id below 2^56 and a name in [A-Za-z0-9-]");
  }
  if (!peer.admit) return admitted(peer, hello, {hello.client_name, false, ""});
  std::string known_as = receipts->name(hello.client);
  if (known_as == hex16(hello.client.value)) known_as.clear();  // nobody has come with it
  // Whoever is asked may have to read a file, or to wait for a lock.
  auto outcome = std::make_shared<Result<Admission>>(fail(Errc::not_enrolled));
  work([admit = peer.admit, hello, known_as, outcome] { *outcome = admit(hello, known_as); },
       [this, who = peer.id, hello, outcome] {
         Peer* waiting = find(who);
         if (waiting == nullptr || waiting->closing) return;
         if (!*outcome) return turn_away(*waiting, Errc::not_enrolled, outcome->error().detail);
         waiting->admit = {};
         admitted(*waiting, hello, **outcome);
       });
}

void Service::Impl::admitted(Peer& peer, const proto::VersionHandshake& hello,
                             Admission admission) {
  peer.name = std::move(admission.name);
  peer.read_only = options.read_only || admission.read_only;
  const std::string path = joined(admission.subtree, hello.subtree);
  if (path.empty()) return welcome(peer, hello);
  find_folder(path, [this, who = peer.id, hello](Result<NodeId> top) {
    Peer* waiting = find(who);
    if (waiting == nullptr || waiting->closing) return;
    waiting->view = View(*tree, top.value_or(NodeId{}));  // without it, of nothing
    if (!top) {
      const std::string shown = hello.subtree.empty() ? "" : hello.subtree + ": ";
      return turn_away(*waiting, Errc::not_found, shown + "no such folder on the server");
    }
    welcome(*waiting, hello);
  });
}

void Service::Impl::welcome(Peer& peer, const proto::VersionHandshake& hello) {
  auto out = greeting(peer);
  if (hello.tree && hello.tree != out.tree) {
    return turn_away(peer, Errc::other_tree, "this address serves another tree");
  }
  store::Transaction tx(*store);
  auto noted = receipts->note_name(tx, hello.client, peer.name);
  if (noted) noted = tx.commit();
  if (!noted) return turn_away(peer, Errc::io, noted.error().message());
  out.version = std::min(proto::kVersionMax, hello.version_max);
  out.packet_max =
      std::clamp(hello.packet_max, proto::kPacketMaxAtFirst, options.limits.packet_max);
  out.capabilities &= hello.capabilities;
  out.continues = hello.tree == out.tree && in_history(hello.epoch, hello.sequence);
  peer.client = hello.client;
  peer.shaken = true;
  (void)peer.connection.send(0, out);
  peer.connection.agree(out.packet_max, out.capabilities);
  log_debug("{}: client {} {}", peer.from, peer.name, out.continues ? "goes on" : "begins");
  touch(peer.id);
  // What came behind the handshake has waited for the agreement.
  take_all(peer);
}

// ---- the folder that is to be the root

void Service::Impl::find_folder(const std::string& path, std::function<void(Result<NodeId>)> then) {
  find_folder_in(kRootNode, path, 0, std::move(then));
}

/// From a folder on the way down; `at` is where in the path the next name begins.
void Service::Impl::find_folder_in(NodeId folder, const std::string& path, std::size_t at,
                                   std::function<void(Result<NodeId>)> then) {
  refresh(folder, [this, folder, path, at, then = std::move(then)](Result<> ok) mutable {
    if (!ok || at >= path.size()) return then(ok ? Result<NodeId>(folder) : pass(ok.error()));
    const auto end = std::min(path.find('/', at), path.size());
    auto next = tree->child(folder, path.substr(at, end - at));
    auto node = next && *next ? store->node(*next) : Result<store::Node>(fail(Errc::not_found));
    if (!node || !node->is_folder()) return then(fail(Errc::not_found));
    find_folder_in(*next, path, end + 1, std::move(then));
  });
}

}  // namespace ebb::server
