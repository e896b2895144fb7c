// What a content is made of, told to a client that has another version of it: chunks by size and
// SHA-256.  The client compares; what it names in a push are places in a content that it may read,
// never a hash.
#include <cerrno>

#include "server/core/service_impl.h"

namespace ebb::server {

using proto::Errc;

namespace {

/// Bytes that are read for one page.
constexpr std::uint64_t kPageBytes = 8u << 20;

struct Step {
  std::vector<proto::Chunk> chunks;
  Result<> outcome;
};

Result<> begin(Depot& depot, ChunkTelling& telling, const Result<std::vector<Spot>>& spots) {
  if (!spots || spots->empty()) return fail_errno(ENOENT);
  auto opened = depot.open(spots->front());
  if (!opened) return pass(opened.error());
  telling.file = std::move(*opened);
  return {};
}

Result<> fill(ChunkTelling& telling) {
  const auto room = telling.chunker.room();
  auto n = telling.file->read_at(telling.chunker.read_at(), room);
  if (!n) return pass(n.error());
  if (*n != room.size()) return fail(Errc::moved_on, "the file is shorter now");
  telling.chunker.filled(*n);
  return {};
}

/// Nothing is believed before it is known that the file is still what was seen.
Result<> tell_some(ChunkTelling& telling, std::vector<proto::Chunk>& chunks) {
  const std::uint64_t end = telling.chunker.taken() + kPageBytes;
  while (!telling.chunker.done() && telling.chunker.taken() < end) {
    if (auto ok = fill(telling); !ok) return ok;
    while (const auto part = telling.chunker.next()) {
      telling.hash.update(part->bytes);
      chunks.push_back({static_cast<std::uint32_t>(part->bytes.size()), sha256(part->bytes)});
    }
  }
  auto now = telling.file->facts();
  if (!now) return pass(now.error());
  if (!untouched(*now, telling.seen)) return fail(Errc::moved_on, "the file changed on the server");
  return {};
}

}  // namespace

void Service::Impl::chunks(Peer& peer, Session session, const proto::Chunks& request) {
  if (!peer.connection.can(proto::kDelta)) return refuse(peer, session, {Errc::not_supported, ""});
  if (session_taken(peer, session)) {
    return refuse(peer, session, {Errc::bad_request, "the session is in use"});
  }
  if (peer.tellings.size() >= kTellingsMax) {
    return refuse(peer, session, {Errc::busy, "too many lists of chunks"});
  }
  const auto entry = readable(request.entry, request.content_version);
  if (!entry) return refuse(peer, session, entry.error());
  const NodeId id{request.entry.value};
  auto telling = std::make_shared<ChunkTelling>(entry->size);
  telling->session = session;
  telling->id = id;
  telling->seen = *tree->facts(id);
  peer.tellings[session] = std::move(telling);
  touch(peer.id);
}

/// One page of one content after the other, and none before the last one has found room.
void Service::Impl::pump_tellings(Peer& peer) {
  if (peer.tellings.empty() || !peer.replies.empty() || !peer.connection.can_send()) return;
  const auto telling = peer.tellings.begin()->second;
  if (peer.tells) return;
  peer.tells = true;
  auto step = std::make_shared<Step>();
  const bool first = !telling->file;
  auto spots = first ? tree->spots(telling->id) : Result<std::vector<Spot>>(std::vector<Spot>());
  work(
      [depot = &seams.depot, telling, step, first, spots = std::move(spots)] {
        if (first) step->outcome = begin(*depot, *telling, spots);
        if (step->outcome) step->outcome = tell_some(*telling, step->chunks);
      },
      [this, who = peer.id, telling, step] {
        Peer* waiting = find(who);
        if (waiting == nullptr) return;
        waiting->tells = false;
        touch(who);
        const auto it = waiting->tellings.find(telling->session);
        if (it == waiting->tellings.end() || it->second != telling) return;
        if (!step->outcome) {
          waiting->tellings.erase(it);
          return content_failed(*waiting, telling->session, telling->id, step->outcome.error());
        }
        const bool end = telling->chunker.done();
        reply(*waiting, telling->session,
              proto::ChunkList{end, end ? telling->hash.digest() : 0, std::move(step->chunks)});
        if (end) waiting->tellings.erase(telling->session);
      });
}

}  // namespace ebb::server
