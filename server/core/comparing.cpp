// Comparing: a client that was away for long tells of each folder what it knows, as one digest, and
// is told which of them are different.  What is equal is not sent again.
#include <algorithm>

#include "server/core/service_impl.h"
#include "store/names_summary.h"

namespace ebb::server {

using proto::Errc;

namespace {

/// Who waits for it; null when it was cancelled.
template <class Impl>
Peer* wanted(Impl& impl, PeerId who, const std::shared_ptr<Comparing>& comparing) {
  Peer* peer = impl.find(who);
  if (peer == nullptr) return nullptr;
  const auto it = peer->comparing.find(comparing->session);
  return it != peer->comparing.end() && it->second == comparing ? peer : nullptr;
}

}  // namespace

void Service::Impl::compare(Peer& peer, Session session, proto::Compare request) {
  if (session_taken(peer, session)) {
    return refuse(peer, session, {Errc::bad_request, "the session is in use"});
  }
  if (peer.comparing.size() >= kComparingMax) return refuse(peer, session, {Errc::busy, ""});
  auto comparing = std::make_shared<Comparing>();
  comparing->session = session;
  comparing->folders = std::move(request.folders);
  comparing->different.resize(comparing->folders.size());
  peer.comparing[session] = comparing;
  compare_more(peer.id, comparing);
}

/// The disk's word first, as for a listing.
void Service::Impl::compare_more(PeerId who, const std::shared_ptr<Comparing>& comparing) {
  while (comparing->under_way < kCompareAhead && comparing->next < comparing->folders.size()) {
    const std::size_t at = comparing->next++;
    ++comparing->under_way;
    const NodeId folder{comparing->folders[at].folder.value};
    refresh(folder, [this, who, comparing, folder, at](Result<> ok) {
      --comparing->under_way;
      const auto ours = ok ? names_summary(folder) : pass(ok.error());
      comparing->different[at] = !ours || *ours != comparing->folders[at].summary;
      if (wanted(*this, who, comparing)) compare_more(who, comparing);
    });
  }
  if (comparing->under_way != 0 || comparing->next < comparing->folders.size()) return;
  const auto tell = [this, who, comparing](bool) {
    Peer* peer = wanted(*this, who, comparing);
    if (peer == nullptr) return;
    peer->comparing.erase(comparing->session);
    proto::CompareResponse out;
    out.sequence = durable;
    for (std::size_t i = 0; i < comparing->folders.size(); ++i) {
      if (comparing->different[i]) out.different.push_back(comparing->folders[i].folder);
    }
    reply(*peer, comparing->session, std::move(out));
  };
  // Told only when it cannot be taken back by a power cut.
  if (!dirty && !syncing) return tell(true);
  after_sync(tell);
}

Result<Digest> Service::Impl::names_summary(NodeId folder) const {
  store::NamesSummary summary;
  auto read = store->list(folder, 0, [&](const store::Name& name) {
    if (!name.local) return true;
    if (const auto entry = tree->entry(name.local)) {
      summary.add({name.text, entry->id, static_cast<std::uint8_t>(entry->kind),
                   entry->content_version, entry->attributes_version});
    }
    return true;
  });
  if (!read) return pass(read.error());
  return summary.finish();
}

}  // namespace ebb::server
