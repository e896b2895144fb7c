// Connections: what comes in, what goes out.
#include <algorithm>
#include <cerrno>

#include "base/log.h"
#include "server/core/service_impl.h"
#include "store/errors.h"

namespace ebb::server {

using proto::Errc;

Errc errc_of(const Error& error) {
  if (error.code.category() == proto::category()) return static_cast<Errc>(error.code.value());
  if (error.code == store::Errc::stale) return Errc::not_found;
  if (error.code.category() != std::generic_category()) return Errc::io;
  switch (error.code.value()) {
    case ENOENT:
    case ESTALE:
      return Errc::not_found;
    case EEXIST:
      return Errc::exists;
    case ENOTEMPTY:
      return Errc::not_empty;
    case ENOTDIR:
      return Errc::not_folder;
    case EISDIR:
      return Errc::is_folder;
    case ENOSPC:
    case EDQUOT:
      return Errc::no_space;
    case EACCES:
    case EPERM:
      return Errc::no_permission;
    case EROFS:
      return Errc::read_only;
    case ENAMETOOLONG:
    case EILSEQ:
    case EINVAL:
      return Errc::bad_name;
    case EFBIG:
    case E2BIG:
    case ERANGE:
      return Errc::too_large;
    case EOPNOTSUPP:
    case EMLINK:
      return Errc::not_supported;
    case ELOOP:
    case EXDEV:
      return Errc::outside;
    case EMFILE:
    case ENFILE:
    case EBUSY:
    case ETXTBSY:
      return Errc::busy;
    default:
      return Errc::io;
  }
}

void Service::Impl::reply(Peer& peer, Session session, proto::Body body) {
  if (peer.closing) return;
  peer.replies.emplace_back(session, std::move(body));
  touch(peer.id);
  if (peer.replies.size() > kRepliesMax) close(peer, Errc::too_much, "answers are not read");
}

Result<> Service::Impl::send(Peer& peer, Session session, proto::Body body) {
  if (!peer.view.outward(body, peer.client)) return {};
  return peer.connection.send(session, body);
}

void Service::Impl::refuse(Peer& peer, Session session, const Error& error) {
  const Errc code = errc_of(error);
  reply(peer, session, proto::ErrorMessage{code, proto::retry(code), error.detail});
}

void Service::Impl::close(Peer& peer, Errc code, const std::string& sentence) {
  if (peer.closing) return;
  peer.replies.clear();
  (void)peer.connection.send(0, proto::ErrorMessage{code, proto::retry(code), sentence});
  peer.closing = true;
  touch(peer.id);
}

// ---- what comes in

bool Service::Impl::session_taken(const Peer& peer, Session session) const {
  return peer.pushes.count(session) != 0 || peer.pulls.count(session) != 0 ||
         peer.listings.count(session) != 0 || peer.map_pages.count(session) != 0 ||
         peer.comparing.count(session) != 0 || peer.tellings.count(session) != 0;
}

void Service::Impl::take(Peer& peer, proto::Message message) {
  const Session session = message.session;
  if (!peer.shaken) {
    if (auto* hello = std::get_if<proto::VersionHandshake>(&message.body)) {
      return shake(peer, *hello);
    }
    return close(peer, Errc::bad_packet, "a handshake comes first");
  }
  if (auto seen = peer.view.inward(message.body); !seen) {
    return refuse(peer, session, seen.error());
  }
  const auto take_one = [&](auto& body) {
    using T = std::decay_t<decltype(body)>;
    if constexpr (std::is_same_v<T, proto::FileSyncInit>) {
      push(peer, session, std::move(body));
    } else if constexpr (std::is_same_v<T, proto::FileSyncDelta>) {
      push_delta(peer, session, std::move(body));
    } else if constexpr (std::is_same_v<T, proto::Chunks>) {
      chunks(peer, session, body);
    } else if constexpr (std::is_same_v<T, proto::FileSyncData>) {
      push_data(peer, session, std::move(body));
    } else if constexpr (std::is_same_v<T, proto::FileSyncCheckHash>) {
      push_check(peer, session, body);
    } else if constexpr (std::is_same_v<T, proto::FileSyncFinish>) {
      finish(peer, session);
    } else if constexpr (std::is_same_v<T, proto::Pull>) {
      pull(peer, session, std::move(body));
    } else if constexpr (std::is_same_v<T, proto::Cancel>) {
      cancel(peer, session);
    } else if constexpr (std::is_same_v<T, proto::List>) {
      list(peer, session, body);
    } else if constexpr (std::is_same_v<T, proto::Mutate>) {
      mutate(peer, session, std::move(body));
    } else if constexpr (std::is_same_v<T, proto::Watch>) {
      watch(peer, session, body);
    } else if constexpr (std::is_same_v<T, proto::Stat>) {
      stat(peer, session, body);
    } else if constexpr (std::is_same_v<T, proto::StatFs>) {
      stat_fs(peer, session);
    } else if constexpr (std::is_same_v<T, proto::History>) {
      tell_history(peer, session, body);
    } else if constexpr (std::is_same_v<T, proto::Restore>) {
      restore_for(peer, session, body);
    } else if constexpr (std::is_same_v<T, proto::Fsmap>) {
      tell_map(peer, session, body);
    } else if constexpr (std::is_same_v<T, proto::FsmapHashes>) {
      tell_hashes(peer, session, body);
    } else if constexpr (std::is_same_v<T, proto::FsmapFile>) {
      pull_mapped(peer, session, body);
    } else if constexpr (std::is_same_v<T, proto::Compare>) {
      compare(peer, session, std::move(body));
    } else if constexpr (std::is_same_v<T, proto::VersionHandshake>) {
      close(peer, Errc::bad_packet, "a second handshake");
    } else if constexpr (std::is_same_v<T, proto::ErrorMessage>) {
      if (session == 0) {
        peer.closing = true;
      } else {
        cancel(peer, session);
      }
    } else if constexpr (std::is_same_v<T, proto::FileSyncInitResponse> ||
                         std::is_same_v<T, proto::FileSyncCheckHashResponse>) {
      // The client's word on a pull: nothing waits for it here.
    } else {
      refuse(peer, session, {Errc::bad_request, "a server's message from a client"});
    }
  };
  std::visit(take_one, message.body);
}

void Service::Impl::take_all(Peer& peer) {
  while (!peer.closing) {
    auto message = peer.connection.next_message();
    if (!message) break;
    take(peer, std::move(*message));
  }
}

void Service::Impl::finish(Peer& peer, Session session) {
  const auto it = peer.answered.find(session);
  if (it == peer.answered.end()) return;
  finished_ops.emplace_back(peer.client, it->second);
  peer.answered.erase(it);
}

void Service::Impl::cancel(Peer& peer, Session session) {
  if (auto it = peer.pulls.find(session); it != peer.pulls.end()) {
    it->second->cancelled = true;
    peer.pulls.erase(it);
  }
  peer.listings.erase(session);
  peer.map_pages.erase(session);
  peer.comparing.erase(session);
  peer.tellings.erase(session);
  if (peer.watching && peer.watching->session == session) peer.watching.reset();
  drop_push(peer, session);
}

// ---- small questions

void Service::Impl::stat(Peer& peer, Session session, const proto::Stat& request) {
  if (peer.requests >= kRequestsMax) return refuse(peer, session, {Errc::busy, ""});
  ++peer.requests;
  const NodeId id{request.entry.value};
  refresh_entry(id, [this, who = peer.id, session, id] {
    if (!dirty && !syncing) return answer_stat(who, session, id);
    after_sync([this, who, session, id](bool) { answer_stat(who, session, id); });
  });
}

void Service::Impl::answer_stat(PeerId who, Session session, NodeId id) {
  Peer* peer = find(who);
  if (peer == nullptr) return;
  --peer->requests;
  auto entry = tree->entry(id);
  auto where = tree->spots(id);
  if (!entry || !where || where->empty()) {
    return refuse(*peer, session, {Errc::not_found, "the entry is no more"});
  }
  reply(*peer, session, proto::StatResponse{durable, std::move(*entry)});
}

void Service::Impl::stat_fs(Peer& peer, Session session) {
  if (peer.requests >= kRequestsMax) return refuse(peer, session, {Errc::busy, ""});
  ++peer.requests;
  auto space = std::make_shared<Result<Space>>();
  work([depot = &seams.depot, space] { *space = depot->space(); },
       [this, space, who = peer.id, session] {
         Peer* waiting = find(who);
         if (waiting == nullptr) return;
         --waiting->requests;
         if (!*space) return refuse(*waiting, session, space->error());
         const Space& s = **space;
         reply(*waiting, session,
               proto::StatFsResponse{s.bytes_total, s.bytes_free, s.files_total, s.files_free,
                                     s.bytes_available});
       });
}

}  // namespace ebb::server
