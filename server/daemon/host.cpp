#include "server/daemon/host.h"

#include <set>

#include <asio/post.hpp>

#include "base/clock.h"
#include "base/log.h"
#include "proto/errors.h"
#include "server/daemon/roster.h"

namespace ebb::server {

Host::Host(asio::io_context& io, HostOptions options) : options_(std::move(options)), timer_(io) {}

Result<std::unique_ptr<Host>> Host::open(asio::io_context& io, HostOptions options) {
  std::unique_ptr<Host> host(new Host(io, std::move(options)));
  const std::string own = host->options_.root + "/" + kOwnFolder;
  if (host->options_.state.empty()) host->options_.state = own;
  auto depot = DirectoryDepot::open(host->options_.root);
  if (!depot) return pass(depot.error());
  host->depot_ = std::move(*depot);
  auto& files = system_file_io();
  const auto who = "serving " + host->options_.root;
  auto lock = files.lock(own + "/lock", who);
  if (!lock) return pass(lock.error());
  host->tree_lock_ = std::move(*lock);
  if (auto ok = files.make_folder(host->options_.state); !ok) return pass(ok.error());
  host->threads_ = std::make_unique<DiskThreads>(io);
  ServiceOptions how;
  how.state_folder = host->options_.state;
  how.read_only = host->options_.read_only;
  how.history_max = host->options_.history_max;
  how.limits.packet_max = host->options_.packet_max;
  auto service = Service::open(
      {system_clock(), files, *host->depot_, *host->threads_, system_random()}, std::move(how));
  if (!service) return pass(service.error());
  host->service_ = std::move(*service);
  host->service_->on_output([raw = host.get()](PeerId peer) { raw->wake(peer); });
  if (host->options_.watch) host->begin_watching(io);
  return host;
}

Host::~Host() {
  alive_.reset();
  if (notices_) notices_->release();  // the depot's
  if (service_) {
    service_->stop_watching();
    hang_up();
    while (!service_->idle() && threads_->wait_for_one()) {
    }
  }
  // Jobs end before the service and the tree they work on do.
  if (threads_) threads_->join();
  service_.reset();
}

void Host::begin_watching(asio::io_context& io) {
  service_->on_deadline([this] { set_timer(); });
  if (depot_->notices_fd() >= 0) {
    notices_.emplace(io, depot_->notices_fd());
    wait_for_notices();
  }
  service_->watch_outside();
  set_timer();
}

void Host::wait_for_notices() {
  notices_->async_wait(asio::posix::stream_descriptor::wait_read,
                       [this, alive = std::weak_ptr<bool>(alive_)](asio::error_code error) {
                         if (error || alive.expired()) return;
                         service_->look_outside();
                         set_timer();
                         wait_for_notices();
                       });
}

void Host::admit(std::unique_ptr<proto::Stream> stream) {
  if (stream->peer_key()) make_room_for_stranger();
  const PeerId peer = service_->connected(stream->peer(), admission_of(*stream));
  if (stream->peer_key()) strangers_.push_back(peer);
  auto& kept = *streams_.emplace(peer, std::move(stream)).first->second;
  kept.start({[this, peer](ByteView in) { bytes(peer, in); },
              [this, peer] { return service_->next_output(peer); },
              [this, peer](Error why) { closed(peer, why); }});
  if (service_->wants_close(peer)) wake(peer);
  set_timer();
}

/// A Unix socket has let in its own user alone, and plain TCP is there because somebody said so.
Admit Host::admission_of(const proto::Stream& stream) const {
  const auto& key = stream.peer_key();
  if (!key) return {};
  return [key = proto::to_text(*key), roster = Roster(options_.state)](
             const proto::VersionHandshake& hello, const std::string& known_as) {
    const std::string secret(reinterpret_cast<const char*>(hello.proof.data()), hello.proof.size());
    return roster.admit(key, secret, hello.client_name, known_as, system_clock().wall());
  };
}

void Host::make_room_for_stranger() {
  std::erase_if(strangers_, [this](PeerId peer) {
    return streams_.count(peer) == 0 || service_->is_known(peer);
  });
  if (strangers_.size() < kStrangersMax) return;
  log_debug("{}: too many strangers at once", streams_[strangers_.front()]->peer());
  drop(strangers_.front());
  strangers_.pop_front();
}

void Host::drop(PeerId peer) {
  streams_.erase(peer);
  service_->disconnected(peer);
}

void Host::drop_revoked() {
  const auto clients = Roster(options_.state).clients();
  std::set<std::string> keys;
  if (clients) {
    for (const auto& client : *clients) keys.insert(client.key);
  }
  std::vector<PeerId> gone;
  for (const auto& [peer, stream] : streams_) {
    if (stream->peer_key() && keys.count(proto::to_text(*stream->peer_key())) == 0)
      gone.push_back(peer);
  }
  for (const PeerId peer : gone) drop(peer);
}

void Host::hang_up() {
  while (!streams_.empty()) {
    drop(streams_.begin()->first);
  }
}

void Host::bytes(PeerId peer, ByteView in) {
  service_->received(peer, in);
  while (streams_.count(peer) != 0 && !service_->wants_close(peer) &&
         !service_->wants_input(peer)) {
    threads_->wait_for_one();
  }
  set_timer();
}

void Host::closed(PeerId peer, const Error& why) {
  log_debug("{}: {}", streams_.count(peer) != 0 ? streams_[peer]->peer() : "peer", why.message());
  streams_.erase(peer);
  service_->disconnected(peer);
  set_timer();
}

void Host::wake(PeerId peer) {
  const auto it = streams_.find(peer);
  if (it == streams_.end()) return;
  if (service_->wants_close(peer)) {
    it->second->finish({proto::make_error_code(proto::Errc::lost), "hung up"});
  } else {
    it->second->wake();
  }
}

void Host::set_timer() {
  const Time next = service_->next_deadline();
  if (next == kNever) return void(timer_.cancel());
  timer_.expires_after(std::max(Duration(0), next - system_clock().now()));
  timer_.async_wait([this, alive = std::weak_ptr<bool>(alive_)](asio::error_code error) {
    if (error || alive.expired()) return;
    service_->advance(system_clock().now());
    set_timer();
  });
}

}  // namespace ebb::server
