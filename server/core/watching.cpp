// Watching: the log of changes is what is sent, so a watcher that was away and one that is live get
// the same.
#include <algorithm>

#include "server/core/service_impl.h"

namespace ebb::server {

void Service::Impl::watch(Peer& peer, Session session, const proto::Watch& request) {
  if (session_taken(peer, session)) {
    return refuse(peer, session, {proto::Errc::bad_request, "the session is in use"});
  }
  const bool complete =
      in_history(request.epoch, request.sequence) && log->reaches(request.sequence);
  const Seq from = complete ? std::min(request.sequence, durable) : durable;
  peer.watching = Watching{session, from};
  reply(peer, session, proto::WatchResponse{complete, epoch, from});
}

void Service::Impl::pump_watch(Peer& peer) {
  if (!peer.watching || !peer.replies.empty()) return;
  auto& watching = *peer.watching;
  if (watching.sent >= durable) return;
  if (!log->reaches(watching.sent)) {
    return close(peer, proto::Errc::too_much, "the log of changes no longer reaches back so far");
  }
  bool all = true;
  auto ok = log->read(watching.sent, durable, [&](const ChangeLog::Record& record) {
    if (!peer.connection.can_send()) return all = false;
    proto::Change change;
    change.sequence = record.sequence;
    change.kind = record.kind;
    if (record.folder) change.place = {EntryId{record.folder.value}, record.name};
    change.by = record.origin.client;
    change.operation = record.origin.operation;
    change.entry.id = EntryId{record.entry.value};
    if (record.kind != proto::ChangeKind::name_gone) {
      auto entry = tree->entry(record.entry);
      // Gone since: a later change says so.
      if (!entry) {
        watching.sent = record.sequence;
        return true;
      }
      change.entry = std::move(*entry);
    }
    if (!send(peer, watching.session, std::move(change))) return all = false;
    watching.sent = record.sequence;
    return true;
  });
  if (ok && all) watching.sent = durable;
}

}  // namespace ebb::server
