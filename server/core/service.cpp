#include "server/core/service.h"

#include <algorithm>

#include "base/log.h"
#include "server/core/service_impl.h"

namespace ebb::server {

Service::Service(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Service::~Service() = default;

Result<std::unique_ptr<Service>> Service::open(ServiceSeams seams, ServiceOptions options) {
  auto impl = std::make_unique<Impl>(seams, std::move(options));
  if (auto ok = impl->open(); !ok) return pass(ok.error());
  return std::unique_ptr<Service>(new Service(std::move(impl)));
}

PeerId Service::connected(std::string from, Admit admit) {
  auto& all = impl_->peers;
  const PeerId id = impl_->next_peer++;
  const Time now = impl_->seams.clock.now();
  proto::Limits limits = impl_->options.limits;
  limits.clock = &impl_->seams.clock;
  all.emplace(id, std::make_unique<Peer>(id, std::move(from), limits, now));
  all[id]->admit = std::move(admit);
  if (all.size() > kPeersMax) {
    impl_->close(*all[id], proto::Errc::too_much, "too many connections");
    impl_->settle();
  }
  return id;
}

void Service::received(PeerId id, ByteView bytes) {
  Peer* peer = impl_->find(id);
  if (peer == nullptr || peer->closing) return;
  peer->bytes_in += bytes.size();
  auto ok = peer->connection.receive(bytes, impl_->seams.clock.now());
  impl_->take_all(*peer);
  if (!ok) {
    log_info("{}: {}", peer->from, ok.error().message());
    peer->closing = true;
  }
  impl_->touch(id);
  impl_->settle();
}

void Service::disconnected(PeerId id) {
  Peer* peer = impl_->find(id);
  if (peer == nullptr) return;
  while (!peer->pushes.empty()) impl_->leave_push(*peer, peer->pushes.begin()->first);
  impl_->peers.erase(id);
  impl_->leave_maps(id);
  impl_->settle();
}

bool Service::is_known(PeerId id) const {
  const Peer* peer = impl_->find(id);
  return peer != nullptr && peer->shaken;
}

Bytes Service::next_output(PeerId id) {
  Peer* peer = impl_->find(id);
  if (peer == nullptr) return {};
  if (!peer->closing) impl_->pump(*peer);
  Bytes out = peer->connection.next_output(impl_->seams.clock.now());
  peer->bytes_out += out.size();
  return out;
}

bool Service::wants_close(PeerId id) const {
  Peer* peer = impl_->find(id);
  return peer == nullptr || peer->closing;
}

bool Service::wants_input(PeerId id) const {
  Peer* peer = impl_->find(id);
  return peer != nullptr && !peer->closing && peer->unwritten < kUnwrittenMax;
}

void Service::on_output(std::function<void(PeerId)> wake) {
  impl_->wake = std::move(wake);
}

Time Service::next_deadline() const {
  Time next = kNever;
  for (const auto& [id, peer] : impl_->peers) {
    if (!peer->closing) next = std::min(next, peer->connection.next_deadline());
  }
  next = std::min(next, impl_->outside_deadline());
  for (const auto& push : impl_->adrift) next = std::min(next, push->left_at + kAdriftFor);
  for (const auto& kept : impl_->maps) next = std::min(next, kept.used + kMapKeptFor);
  return next;
}

void Service::advance(Time now) {
  for (const auto& [id, peer] : impl_->peers) {
    if (peer->closing || now < peer->connection.next_deadline()) continue;
    if (auto ok = peer->connection.advance(now); !ok) peer->closing = true;
    impl_->touch(id);
  }
  impl_->bound_adrift();
  impl_->bound_maps();
  impl_->poll_outside();
  impl_->settle();
}

bool Service::idle() const {
  return impl_->idle();
}

ServiceStatus Service::status() const {
  ServiceStatus out;
  out.tree = impl_->store->tree();
  out.epoch = impl_->epoch;
  out.sequence = Seq{impl_->store->sequence()};
  out.entries_known = impl_->store->figures().nodes;
  out.mutations = impl_->mutations_done;
  out.conflicts = impl_->conflicts;
  out.history_bytes = impl_->history->bytes();
  out.history_max = impl_->options.history_max;
  if (auto runs = impl_->history->runs()) {
    for (const auto& run : *runs) {
      out.deletions.push_back(
          {run.client, impl_->receipts->name(run.client), run.count, run.begin, run.end});
    }
  }
  for (const auto& [id, peer] : impl_->peers) {
    out.peers.push_back({id, peer->client, peer->name, peer->bytes_in, peer->bytes_out});
  }
  return out;
}

void Service::watch_outside() {
  impl_->watch_outside();
  impl_->settle();
}

void Service::look_outside() {
  impl_->look_outside();
  impl_->settle();
}

void Service::on_deadline(std::function<void()> moved) {
  impl_->deadline_moved = std::move(moved);
}

void Service::stop_watching() {
  impl_->stop_watching();
  impl_->stop_maps();
}

void Service::undo(const std::string& client, WallNs since,
                   std::function<void(Result<UndoReport>)> then) {
  impl_->undo(client, since, std::move(then));
  impl_->settle();
}

// ---- the inside's own turning

Peer* Service::Impl::find(PeerId id) {
  const auto it = peers.find(id);
  return it == peers.end() ? nullptr : it->second.get();
}

void Service::Impl::work(std::function<void()> job, std::function<void()> done) {
  ++jobs;
  seams.executor.run(std::move(job),
                     [this, still = std::weak_ptr<bool>(alive), then = std::move(done)] {
                       if (still.expired()) return;
                       --jobs;
                       then();
                       settle();
                     });
}

bool Service::Impl::idle() const {
  if (jobs != 0 || !queue.empty() || syncing || !sync_waiters.empty() || batch_running)
    return false;
  return std::all_of(peers.begin(), peers.end(), [](const auto& entry) {
    const Peer& peer = *entry.second;
    return peer.pushes.empty() && peer.pulls.empty() && peer.listings.empty() &&
           peer.replies.empty() && peer.map_pages.empty() && peer.comparing.empty() &&
           peer.tellings.empty();
  });
}

void Service::Impl::settle() {
  if (settling) return;  // the outer call goes on
  settling = true;
  for (bool again = true; again;) {
    again = false;
    start_push_jobs();
    start_batch();
    look_at_history();
    look_at_due();
    start_sync();
    checkpoint_if_due();
    std::set<PeerId> now;
    now.swap(touched);
    for (const auto id : now) {
      Peer* peer = find(id);
      if (peer == nullptr) continue;
      if (!peer->closing) pump(*peer);
      const bool held = peer->unwritten >= kUnwrittenMax;
      const bool freed = peer->held && !held;
      peer->held = held;
      if (wake && (peer->closing || freed || peer->connection.outbox_bytes() != 0)) wake(id);
    }
    again = !touched.empty();
  }
  settling = false;
  const Time next = outside_deadline();
  const bool earlier = next < told_deadline;
  told_deadline = next;
  if (earlier && deadline_moved) deadline_moved();
}

void Service::Impl::pump(Peer& peer) {
  if (!peer.view.stands()) return close(peer, proto::Errc::not_found, "the folder is no more");
  while (!peer.replies.empty() && peer.connection.can_send()) {
    auto& [session, body] = peer.replies.front();
    auto ok = send(peer, session, std::move(body));
    if (!ok) log_warn("{}: an answer could not be sent: {}", peer.from, ok.error().message());
    peer.replies.pop_front();
  }
  pump_watch(peer);
  pump_listings(peer);
  pump_hashes(peer);
  pump_tellings(peer);
  pump_pulls(peer);
}

void Service::Impl::after_sync(std::function<void(bool)> then) {
  sync_waiters.push_back(std::move(then));
}

void Service::Impl::start_sync() {
  if (broken) sync_waiters.clear();  // those who would be told have been sent away
  if (syncing || sync_waiters.empty()) return;
  syncing = true;
  dirty = false;
  auto waiters = std::make_shared<std::vector<std::function<void(bool)>>>(std::move(sync_waiters));
  sync_waiters.clear();
  const Seq covered{store->sequence()};
  auto outcome = std::make_shared<Result<>>();
  work(
      [outcome, weak = std::weak_ptr(store)] {
        if (auto open = weak.lock()) *outcome = open->sync();
      },
      [this, outcome, waiters, covered] {
        syncing = false;
        if (*outcome) {
          durable = std::max(durable, covered);
        } else {
          give_up(outcome->error());
        }
        for (auto& waiter : *waiters) waiter(outcome->has_value());
        for (const auto& [id, peer] : peers) touch(id);
      });
}

void Service::Impl::checkpoint_if_due() {
  if (checkpointing || broken || !store->wants_checkpoint()) return;
  if (auto ok = store->begin_checkpoint(); !ok) return give_up(ok.error());
  checkpointing = true;
  auto outcome = std::make_shared<Result<>>();
  work(
      [outcome, weak = std::weak_ptr(store)] {
        if (auto open = weak.lock()) *outcome = open->run_checkpoint();
      },
      [this, outcome] {
        checkpointing = false;
        auto ok = *outcome ? store->end_checkpoint() : *outcome;
        if (!ok) give_up(ok.error());
      });
}

void Service::Impl::give_up(const Error& why) {
  if (broken) return;
  broken = true;
  log_error("{}: the database failed: {}; the server must be started again", options.state_folder,
            why.message());
  for (const auto& [id, peer] : peers) {
    close(*peer, proto::Errc::io, "the server's database failed");
  }
}

}  // namespace ebb::server
