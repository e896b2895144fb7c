// Listing: folders are read on the executor, compared with the record, and sent page by page.
#include <algorithm>
#include <cerrno>

#include "server/core/service_impl.h"

namespace ebb::server {

using proto::Errc;

namespace {

constexpr std::size_t kSlice = 2000;  // names of a folder taken into the record at once

/// What an entry takes in a page, and a little more.
std::size_t size_in_page(const proto::NamedEntry& named) {
  return 128 + named.name.size() + named.entry.target.size() + named.entry.attributes.xattrs.size();
}

/// What a page of one packet may hold beside its own fields.
std::size_t page_room(const proto::Connection& connection) {
  return std::max<std::size_t>(
      1024, connection.data_max() - std::min<std::size_t>(256, connection.data_max() / 8));
}

}  // namespace

// ---- the disk's word on a folder

void Service::Impl::refresh(NodeId folder, std::function<void(Result<>)> then) {
  auto [it, fresh] = readings.try_emplace(folder);
  if (!fresh) {
    // The read under way may have begun before what the asker wants to see.
    it->second.next.push_back(std::move(then));
    return;
  }
  it->second.waiting.push_back(std::move(then));
  read_folder(folder);
}

void Service::Impl::bring_up_to_date(NodeId folder, std::function<void(Result<>)> then) {
  if (watching_outside) look_outside();
  if (current.count(folder) != 0) return then({});
  refresh(folder, std::move(then));
}

/// Everything of a folder that was read is in the record now.
void Service::Impl::note_current(NodeId folder) {
  if (!watching_outside || !seams.depot.notices_all()) return;
  look_outside();
  const Reading& reading = readings.at(folder);
  if (reading.watched && !reading.noticed) current.insert(folder);
}

void Service::Impl::read_folder(NodeId folder) {
  readings[folder].noticed = false;
  auto where = std::make_shared<Result<FolderRef>>(tree->folder(folder));
  struct Outcome {
    Result<std::unique_ptr<Reconciliation>> read = fail_errno(ENOENT, "");
    Result<> watched;
  };
  auto outcome = std::make_shared<Outcome>();
  work(
      [depot = &seams.depot, where, outcome, folder, watch = watching_outside] {
        if (!*where) return void(outcome->read = pass(where->error()));
        // First, so that nothing falls between.
        if (watch) outcome->watched = depot->watch(**where, folder.value);
        auto read = depot->read_folder(**where);
        outcome->read = read ? Result<std::unique_ptr<Reconciliation>>(
                                   std::make_unique<Reconciliation>(folder, std::move(*read)))
                             : pass(read.error());
      },
      [this, folder, outcome, since = batches_ended, watch = watching_outside] {
        if (outcome->read && !outcome->watched) not_watched(outcome->watched.error());
        const bool watched = watch && outcome->watched.has_value();
        if (const auto it = readings.find(folder); it != readings.end())
          it->second.watched = watched;
        folder_was_read(folder, since, std::move(outcome->read));
      });
}

void Service::Impl::folder_was_read(NodeId folder, std::uint64_t since,
                                    Result<std::unique_ptr<Reconciliation>> read) {
  const auto it = readings.find(folder);
  if (it == readings.end()) return;
  const auto changed = changed_in.find(folder);
  if (changed != changed_in.end() && changed->second > since) {
    // A batch changed the folder while it was read.
    if (changed->second > batches_ended) {
      it->second.behind_batch = true;
    } else {
      read_folder(folder);
    }
    return;
  }
  Result<> outcome = read ? Result<>() : pass(read.error());
  if (read) {
    auto all = take_in(**read);
    if (all && !*all) {
      // The next slice when others have had their turn.
      auto rest = std::make_shared<std::unique_ptr<Reconciliation>>(std::move(*read));
      return work(
          [] {}, [this, folder, since, rest] { folder_was_read(folder, since, std::move(*rest)); });
    }
    if (all) note_current(folder);
    if (!all) outcome = pass(all.error());
  }
  if (looking) read_meanwhile.insert(folder);
  auto waiting = std::move(it->second.waiting);
  it->second.waiting = std::move(it->second.next);
  it->second.next.clear();
  // Nothing has changed since they asked.
  if (current.count(folder) != 0) {
    for (auto& then : std::exchange(it->second.waiting, {})) waiting.push_back(std::move(then));
  }
  if (it->second.waiting.empty()) {
    readings.erase(it);
  } else {
    read_folder(folder);
  }
  for (auto& then : waiting) then(outcome);
}

/// A slice of a folder; true: the last one.
Result<bool> Service::Impl::take_in(Reconciliation& read) {
  const auto before = store->sequence();
  store::Transaction tx(*store);
  auto all = read.step(tx, *tree, kSlice);
  if (!all) return all;
  if (auto ok = tx.commit(); !ok) return pass(ok.error());
  dirty = dirty || store->sequence() != before;
  if (dirty) after_sync([](bool) {});
  return all;
}

void Service::Impl::refresh_entry(NodeId id, std::function<void()> then) {
  auto names = store->names_of(id);
  const bool root = id == kRootNode;
  if (!root && (!names || names->empty())) return then();
  const NodeId folder = root ? kRootNode : names->front().folder;
  auto node = store->node(id);
  if (root || !node || node->is_folder()) {
    return refresh(folder, [then = std::move(then)](Result<>) { then(); });
  }
  auto spots = tree->spots(id);
  auto seen = tree->facts(id);
  if (!spots || spots->empty() || !seen) return then();
  auto outcome = std::make_shared<Result<Facts>>();
  work([depot = &seams.depot, outcome, spot = spots->front()] { *outcome = depot->stat(spot); },
       [this, folder, outcome, known = std::move(*seen), go = std::move(then)]() mutable {
         const bool same =
             *outcome && untouched(**outcome, known) && (*outcome)->attributes == known.attributes;
         if (same) return go();
         refresh(folder, [this, folder, go = std::move(go)](Result<> ok) {
           if (ok || folder == kRootNode) return go();
           refresh_entry(folder, go);  // the folder itself has moved or gone
         });
       });
}

// ---- sessions

void Service::Impl::list(Peer& peer, Session session, const proto::List& request) {
  if (session_taken(peer, session)) {
    return refuse(peer, session, {Errc::bad_request, "the session is in use"});
  }
  if (peer.listings.size() >= kListingsMax) return refuse(peer, session, {Errc::busy, ""});
  auto listing = std::make_shared<Listing>();
  listing->session = session;
  listing->top = NodeId{request.folder.value};
  listing->budget = request.budget;
  auto node = store->node(listing->top);
  if (!node) return refuse(peer, session, {Errc::not_found, "the folder is no more"});
  if (!node->is_folder()) return refuse(peer, session, {Errc::not_folder, ""});
  listing->items.push_back({listing->top, Listing::Item::State::waiting, std::nullopt});
  take_from_others(peer, listing->top);
  peer.listings[session] = listing;
  read_ahead(peer.id, listing);
}

/// The folder is asked for by itself now: listings that would come to it later leave it out.
void Service::Impl::take_from_others(Peer& peer, NodeId folder) {
  for (auto it = peer.listings.begin(); it != peer.listings.end();) {
    const Listing& listing = *it->second;
    auto& items = it->second->items;
    const auto begin = items.begin() + (listing.begun ? 1 : 0);
    const auto found = std::find_if(begin, items.end(), [&](const Listing::Item& item) {
      return item.folder == folder && folder != listing.top;
    });
    if (found != items.end()) items.erase(found);
    if (!items.empty()) {
      ++it;
      continue;
    }
    end_listing(peer, listing);
    it = peer.listings.erase(it);
  }
}

void Service::Impl::end_listing(Peer& peer, const Listing& listing) {
  proto::ListPage end;
  end.folder = EntryId{listing.top.value};
  end.sequence = durable;
  end.end = true;
  (void)send(peer, listing.session, std::move(end));
}

void Service::Impl::read_ahead(PeerId who, const std::shared_ptr<Listing>& listing) {
  using State = Listing::Item::State;
  for (std::size_t i = 0; i < std::min(kListAhead, listing->items.size()); ++i) {
    auto& item = listing->items[i];
    if (item.state != State::waiting) continue;
    item.state = State::reading;
    bring_up_to_date(item.folder, [this, who, listing, folder = item.folder](Result<> ok) {
      for (auto& waiting : listing->items) {
        if (waiting.folder != folder || waiting.state != State::reading) continue;
        waiting.state = ok ? State::ready : State::failed;
        if (!ok) waiting.error = ok.error();
      }
      touch(who);
    });
  }
}

void Service::Impl::pump_listings(Peer& peer) {
  std::vector<Session> done;
  // The newest first: somebody waits for it, while the others are ahead of those who asked.
  for (auto it = peer.listings.rbegin(); it != peer.listings.rend(); ++it) {
    const auto& [session, listing] = *it;
    const auto hold = listing;
    while (peer.connection.can_send() && !peer.closing) {
      if (!pump_listing(peer, *hold)) break;
      if (hold->items.empty()) {
        done.push_back(session);
        break;
      }
    }
    if (!hold->items.empty()) read_ahead(peer.id, hold);
  }
  for (const auto session : done) peer.listings.erase(session);
}

/// One page, or the end of a folder that cannot be listed.  False: has to wait.
bool Service::Impl::pump_listing(Peer& peer, Listing& listing) {
  using State = Listing::Item::State;
  auto& front = listing.items.front();
  if (front.state == State::ready) return send_page(peer, listing);
  if (front.state != State::failed) return false;
  if (front.folder == listing.top) {
    const Errc code = errc_of(*front.error);
    (void)send(peer, listing.session,
               proto::ErrorMessage{code, proto::retry(code), front.error->detail});
    listing.items.clear();
    return true;
  }
  listing.items.pop_front();
  if (listing.items.empty()) end_listing(peer, listing);
  return true;
}

bool Service::Impl::send_page(Peer& peer, Listing& listing) {
  const NodeId folder = listing.items.front().folder;
  const std::size_t room = page_room(peer.connection);
  proto::ListPage page;
  page.folder = EntryId{folder.value};
  page.sequence = durable;
  page.first = !listing.begun;
  page.last = true;
  std::vector<NodeId> folders;
  std::size_t used = 0;
  std::uint64_t cookie = listing.cookie;
  bool not_durable = false;
  auto ok = store->list(folder, listing.cookie, [&](const store::Name& name) {
    if (!name.local) return true;
    auto entry = tree->entry(name.local);
    if (!entry) return true;
    proto::NamedEntry named{name.text, std::move(*entry)};
    const std::size_t size = size_in_page(named);
    if (used != 0 && used + size > room) {
      page.last = false;
      return false;
    }
    const auto newest = std::max(named.entry.content_version, named.entry.attributes_version);
    if (newest.value > durable.value) {
      not_durable = true;
      return false;
    }
    if (named.entry.kind == proto::EntryKind::folder) folders.push_back(name.local);
    used += size;
    cookie = name.cookie;
    page.entries.push_back(std::move(named));
    return true;
  });
  if (not_durable) {
    // Told only when it cannot be taken back by a power cut.
    after_sync([this, who = peer.id](bool) { touch(who); });
    start_sync();
    return false;
  }
  if (!ok) page.last = true;
  // Folders beneath are added while there is a budget; it may be overdrawn by the last folder.
  for (const auto beneath : folders) {
    if (listing.budget == 0 || listing.items.size() >= kListFoldersMax) break;
    listing.items.push_back({beneath, Listing::Item::State::waiting, std::nullopt});
  }
  listing.cookie = cookie;
  listing.begun = true;
  if (folder != listing.top) {
    listing.budget -= std::min<std::uint64_t>(listing.budget, page.entries.size() + page.last);
  }
  if (page.last) {
    listing.items.pop_front();
    listing.cookie = 0;
    listing.begun = false;
    if (listing.budget == 0) listing.items.clear();
    page.end = listing.items.empty();
  }
  (void)send(peer, listing.session, std::move(page));
  return true;
}

}  // namespace ebb::server
