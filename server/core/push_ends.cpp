// How pushes end before they have landed, and what stays of those whose connection broke.
//
// A push that was checked lands whether or not somebody waits for it.  One that was not is adrift:
// what has come of it stays staged, within bounds, and the client that asks again under the same
// operation id goes on behind it.
#include <algorithm>

#include "server/core/service_impl.h"

namespace ebb::server {

namespace {

bool same_push(const proto::FileSyncInit& a, const proto::FileSyncInit& b) {
  return a.operation.id == b.operation.id && a.entry == b.entry && a.place == b.place &&
         a.content_version == b.content_version && a.size == b.size && a.ranges == b.ranges &&
         a.holes == b.holes;
}

bool same_source(const std::optional<Borrowed>& a, const std::optional<Borrowed>& b) {
  if (!a || !b) return !a && !b;
  return a->source == b->source && a->source_version == b->source_version && a->hash == b->hash &&
         a->copies == b->copies;
}

}  // namespace

/// Takes what a push has in the queue out of it.
void Service::Impl::unqueue(const std::shared_ptr<Push>& push) {
  const auto queued = std::find_if(queue.begin(), queue.end(),
                                   [&](const auto& mutation) { return mutation->push == push; });
  if (queued == queue.end()) return;
  queue.erase(queued);
  if (!push->duplicate) landing.erase({push->client, push->init.operation.id});
  if (Peer* peer = find(push->peer)) {
    peer->mutations -= std::min<std::size_t>(peer->mutations, 1);
  }
}

/// The session is over.  What was staged goes, unless it is landing at this moment.
void Service::Impl::drop_push(Peer& peer, Session session) {
  const auto it = peer.pushes.find(session);
  if (it == peer.pushes.end()) return;
  const auto push = it->second;
  peer.pushes.erase(it);
  for (const auto& data : push->unwritten) {
    peer.unwritten -= std::min(peer.unwritten, data.bytes.size());
  }
  push->unwritten.clear();
  push->dropped = true;
  const auto before = queue.size();
  unqueue(push);
  const bool lands = push->checked && queue.size() == before;
  if (!lands) discard(push);
}

/// The connection is gone, or about to be.
void Service::Impl::leave_push(Peer& peer, Session session) {
  const auto it = peer.pushes.find(session);
  if (it == peer.pushes.end()) return;
  const auto push = it->second;
  if (push->duplicate) return drop_push(peer, session);
  for (const auto& data : push->unwritten) {
    peer.unwritten -= std::min(peer.unwritten, data.bytes.size());
  }
  peer.pushes.erase(it);
  push->peer = 0;
  push->left_at = seams.clock.now();
  if (!push->finished) adrift.push_back(push);
  bound_adrift();
}

/// A client that comes again before its former connection is known to be broken.
void Service::Impl::leave_elsewhere(const Peer& peer, OpId operation) {
  for (const auto& [id, other] : peers) {
    if (id == peer.id || other->client != peer.client) continue;
    const auto found =
        std::find_if(other->pushes.begin(), other->pushes.end(), [&](const auto& entry) {
          return entry.second->init.operation.id == operation && !entry.second->checked;
        });
    if (found != other->pushes.end()) leave_push(*other, found->first);
  }
}

/// The push of this operation that is adrift, when it is the same one; another one goes.
std::shared_ptr<Push> Service::Impl::take_adrift(ClientId client, const proto::FileSyncInit& init,
                                                 const std::optional<Borrowed>& borrowed) {
  const auto it = std::find_if(adrift.begin(), adrift.end(), [&](const auto& push) {
    return !push->checked && push->client == client && push->init.operation.id == init.operation.id;
  });
  if (it == adrift.end()) return nullptr;
  const auto push = *it;
  adrift.erase(it);
  if (same_push(push->init, init) && same_source(push->borrowed, borrowed)) return push;
  discard(push);
  return nullptr;
}

void Service::Impl::bound_adrift() {
  const Time now = seams.clock.now();
  std::uint64_t bytes = 0;
  std::size_t count = 0;
  std::vector<std::shared_ptr<Push>> gone;
  for (auto it = adrift.rbegin(); it != adrift.rend(); ++it) {
    const auto& push = *it;
    if (push->checked) continue;
    bytes += push->hash->offset();
    const bool old = now - push->left_at >= kAdriftFor;
    if (++count > kAdriftMax || bytes > kAdriftBytesMax || old) gone.push_back(push);
  }
  for (const auto& push : gone) {
    std::erase(adrift, push);
    discard(push);
  }
}

/// All of them: their space is needed.
void Service::Impl::drop_adrift() {
  const auto all = adrift;
  for (const auto& push : all) {
    if (push->checked) continue;
    std::erase(adrift, push);
    discard(push);
  }
}

void Service::Impl::discard(const std::shared_ptr<Push>& push) {
  if (push->busy) {
    push->dropped = true;  // when its job has ended
    return;
  }
  push->file.reset();
  push->base_file.reset();
  if (!push->started || push->duplicate) return;
  work([depot = &seams.depot, number = push->staging] { (void)depot->unstage(number); }, [] {});
}

}  // namespace ebb::server
