// Maps: a walk of the disk on the executor for each who asks, shared by all who ask meanwhile; its
// outcome is kept for those who go on to ask for what it lists, and nobody gets a part of another.
#include <algorithm>
#include <cerrno>

#include <fmt/format.h>

#include "server/core/service_impl.h"

namespace ebb::server {

using proto::Errc;

namespace {

/// Digests remembered on the disk stand for a path from the map's top and a file's content, so a
/// place may be shared by maps of several folders.
constexpr std::uint64_t kCachePlaces = 16;

NodeId folder_of(const proto::FsmapOf& of) {
  return of.folder ? NodeId{of.folder.value} : kRootNode;
}

/// What a client is told where there can be no map.
Error why_no_map(const Error& error) {
  std::string detail = error.detail;
  if (is_errno(error, EILSEQ)) detail += ": a name with a newline cannot stand in a map";
  if (is_errno(error, EBUSY)) detail += ": changes again and again while it is read";
  if (is_errno(error, EACCES)) detail += ": the server cannot read it";
  return {error.code, std::move(detail)};
}

Spot spot_of(const std::string& folder, const std::string& path) {
  const std::string whole = folder.empty() ? path : folder + "/" + path;
  const std::size_t slash = whole.rfind('/');
  if (slash == std::string::npos) return {{"", {}}, whole};
  return {{whole.substr(0, slash), {}}, whole.substr(slash + 1)};
}

}  // namespace

void Service::Impl::tell_map(Peer& peer, Session session, const proto::Fsmap& request) {
  if (peer.requests >= kRequestsMax) return refuse(peer, session, {Errc::busy, ""});
  const NodeId folder = folder_of(request.of);
  auto node = store->node(folder);
  if (!node) return refuse(peer, session, {Errc::not_found, "the folder is no more"});
  if (!node->is_folder()) return refuse(peer, session, {Errc::not_folder, ""});
  ++peer.requests;
  Mapping& mapping = mappings[{folder, request.of.hash}];
  if (mapping.stop) return mapping.next.emplace_back(peer.id, session), void();
  mapping.waiting.emplace_back(peer.id, session);
  walk(folder, request.of.hash);
}

void Service::Impl::walk(NodeId folder, DigestKind kind) {
  auto stop = std::make_shared<std::atomic<bool>>(false);
  mappings[{folder, kind}].stop = stop;
  auto where = tree->folder(folder);
  auto made = std::make_shared<Result<KeptMap>>(KeptMap{folder, {}, {}, {}});
  const std::string cache =
      fmt::format("{}/fsmap-{}-{}", options.state_folder, word(kind), folder.value % kCachePlaces);
  work(
      [depot = &seams.depot, where = std::move(where), made, stop, kind, cache] {
        if (!where) return void(*made = pass(where.error()));
        store::FsmapOptions how;
        how.kind = kind;
        how.cache = cache;
        how.stop = stop.get();
        auto map = depot->map(*where, how);
        if (!map) return void(*made = pass(map.error()));
        (*made)->path = where->path;
        (*made)->map = std::make_shared<const store::FsmapIndex>(std::move(*map));
      },
      [this, folder, kind, made] { walked(folder, kind, std::move(*made)); });
}

void Service::Impl::walked(NodeId folder, DigestKind kind, Result<KeptMap> made) {
  const auto it = mappings.find({folder, kind});
  if (it == mappings.end()) return;
  Mapping& mapping = it->second;
  const auto waiting = std::exchange(mapping.waiting, std::exchange(mapping.next, {}));
  mapping.stop.reset();
  if (mapping.waiting.empty()) {
    mappings.erase(it);
  } else {
    walk(folder, kind);
  }
  for (const auto& [who, session] : waiting) {
    Peer* peer = find(who);
    if (peer == nullptr) continue;
    --peer->requests;
    if (!made) {
      refuse(*peer, session, why_no_map(made.error()));
      continue;
    }
    const auto& tree_of = made->map->tree();
    reply(*peer, session,
          proto::FsmapResponse{tree_of.summary(), tree_of.size(), tree_of.counts().bytes});
  }
  if (!made) return;
  std::erase_if(maps, [&](const KeptMap& kept) {
    return kept.folder == folder && kept.map->tree().kind() == kind &&
           kept.map->tree().summary() == made->map->tree().summary();
  });
  made->used = seams.clock.now();
  maps.push_back(std::move(*made));
  bound_maps();
}

/// The newest, up to the bounds; the last one always.
void Service::Impl::bound_maps() {
  const Time now = seams.clock.now();
  std::erase_if(maps, [now](const KeptMap& kept) { return kept.used + kMapKeptFor <= now; });
  std::uint64_t files = 0;
  for (const auto& kept : maps) files += kept.map->size();
  while (maps.size() > 1 && (maps.size() > kMapsKept || files > kMapFilesKept)) {
    const auto oldest = std::min_element(maps.begin(), maps.end() - 1,
                                         [](auto& a, auto& b) { return a.used < b.used; });
    files -= oldest->map->size();
    maps.erase(oldest);
  }
}

void Service::Impl::leave_maps(PeerId peer) {
  for (auto& [key, mapping] : mappings) {
    const auto its = [peer](const auto& one) { return one.first == peer; };
    std::erase_if(mapping.waiting, its);
    std::erase_if(mapping.next, its);
    if (mapping.waiting.empty() && mapping.next.empty()) *mapping.stop = true;
  }
}

void Service::Impl::stop_maps() {
  for (auto& [key, mapping] : mappings) *mapping.stop = true;
}

const KeptMap* Service::Impl::kept_map(const proto::FsmapOf& of, const Digest& summary) {
  const auto it = std::find_if(maps.begin(), maps.end(), [&](const KeptMap& kept) {
    return kept.folder == folder_of(of) && kept.map->tree().kind() == of.hash &&
           kept.map->tree().summary() == summary;
  });
  if (it == maps.end()) return nullptr;
  it->used = seams.clock.now();
  return &*it;
}

// ---- what a map lists

void Service::Impl::tell_hashes(Peer& peer, Session session, const proto::FsmapHashes& request) {
  if (session_taken(peer, session)) {
    return refuse(peer, session, {Errc::bad_request, "the session is in use"});
  }
  if (peer.map_pages.size() >= kMapPagesMax) return refuse(peer, session, {Errc::busy, ""});
  const KeptMap* kept = kept_map(request.of, request.summary);
  if (kept == nullptr) return refuse(peer, session, {Errc::moved_on, "the tree has another map"});
  if (request.from > kept->map->size()) {
    return refuse(peer, session, {Errc::bad_request, "the map is shorter"});
  }
  peer.map_pages[session] = {session, kept->map, request.from};
  touch(peer.id);
}

void Service::Impl::pump_hashes(Peer& peer) {
  while (!peer.map_pages.empty() && peer.connection.can_send() && !peer.closing) {
    MapPages& sending = peer.map_pages.begin()->second;
    const std::uint64_t most =
        std::max<std::uint64_t>(1, (peer.connection.data_max() - 64) / sizeof(Digest));
    proto::FsmapHashesPage page;
    page.from = sending.next;
    const std::uint64_t end = std::min(sending.map->size(), sending.next + most);
    for (; sending.next < end; ++sending.next) {
      page.digests.push_back(sending.map->file(sending.next).digest);
    }
    page.end = end == sending.map->size();
    (void)peer.connection.send(sending.session, page);
    if (page.end) peer.map_pages.erase(peer.map_pages.begin());
  }
}

void Service::Impl::pull_mapped(Peer& peer, Session session, const proto::FsmapFile& request) {
  if (session_taken(peer, session)) {
    return refuse(peer, session, {Errc::bad_request, "the session is in use"});
  }
  if (peer.pulls.size() >= kPullsMax) return refuse(peer, session, {Errc::busy, "too many pulls"});
  const KeptMap* kept = kept_map(request.of, request.summary);
  if (kept == nullptr) return refuse(peer, session, {Errc::moved_on, "the tree has another map"});
  if (request.index >= kept->map->size()) {
    return refuse(peer, session, {Errc::bad_request, "the map is shorter"});
  }
  auto mapped = std::make_shared<MappedFile>();
  mapped->path = kept->map->path(request.index);
  mapped->spot = spot_of(kept->path, mapped->path);
  mapped->facts = kept->map->file(request.index);
  auto made = std::make_shared<Pull>();
  made->session = session;
  made->turn = ++turns;
  if (request.offset < mapped->facts.size) made->ranges = {{request.offset, mapped->facts.size}};
  made->request.holes = true;
  made->mapped = std::move(mapped);
  peer.pulls[session] = std::move(made);
  touch(peer.id);
}

}  // namespace ebb::server
