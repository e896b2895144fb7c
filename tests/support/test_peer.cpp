#include "tests/support/test_peer.h"

#include <algorithm>

#include "proto/session_hash.h"

namespace ebb::test {

using namespace proto;

bool QueueExecutor::run_one() {
  if (queue_.empty()) return false;
  auto [job, done] = std::move(queue_.front());
  queue_.pop_front();
  job();
  done();
  return true;
}

// ---- ServedTree

ServedTree::ServedTree(server::ServiceOptions given) : options(std::move(given)) {
  options.state_folder = "/state";
}

bool ServedTree::start() {
  auto opened = server::Service::open({clock, io, depot, executor, random}, options);
  if (!opened) {
    open_error = opened.error().message();
    return false;
  }
  service = std::move(*opened);
  return true;
}

void ServedTree::stop() {
  settle();
  service.reset();
  executor.clear();
  for (auto* peer : peers_) peer->closed_ = true;
}

void ServedTree::kill() {
  executor.clear();
  io.kill_process();
  service.reset();
  depot.clear_faults();
  for (auto* peer : peers_) peer->closed_ = true;
}

void ServedTree::power_cut(std::uint64_t seed) {
  kill();
  io.crash(seed);
  depot.crash(seed);
}

void ServedTree::settle() {
  for (bool moved = true; moved;) {
    moved = false;
    for (auto* peer : peers_) moved = peer->exchange() || moved;
    moved = executor.run_one() || moved;
  }
}

// ---- TestPeer

TestPeer::TestPeer(ServedTree& world, std::uint64_t client, bool shake_now, server::Admit admit)
    : world_(world), client_(client), connection_(Role::client, {}, world.clock.now()) {
  world_.peers_.push_back(this);
  peer_ = world_.service->connected("test", std::move(admit));
  if (shake_now) shake(hello());
}

TestPeer::~TestPeer() {
  auto& all = world_.peers_;
  all.erase(std::remove(all.begin(), all.end(), this), all.end());
  if (world_.service && !closed_) world_.service->disconnected(peer_);
}

VersionHandshake TestPeer::hello() const {
  VersionHandshake out;
  out.version_min = kVersionMin;
  out.version_max = kVersionMax;
  out.packet_max = 64 << 10;
  out.client = client_;
  out.client_name = "tester";
  out.capabilities = kDelta;
  return out;
}

std::optional<VersionHandshakeResponse> TestPeer::shake(const VersionHandshake& hello) {
  send(0, hello);
  settle();
  auto answer = take_one<VersionHandshakeResponse>(0);
  return answer;
}

void TestPeer::send(std::uint32_t session, const Body& body) {
  (void)connection_.send(session, body);
}

void TestPeer::raw(ByteView bytes) {
  if (!closed_) world_.service->received(peer_, bytes);
}

void TestPeer::unplug() {
  if (!closed_ && world_.service) world_.service->disconnected(peer_);
  closed_ = true;
}

bool TestPeer::exchange() {
  if (closed_ || !world_.service) return false;
  bool moved = false;
  for (Bytes out = connection_.next_output(); !out.empty(); out = connection_.next_output()) {
    sent_.insert(sent_.end(), out.begin(), out.end());
    world_.service->received(peer_, out);
    moved = true;
  }
  for (Bytes in = world_.service->next_output(peer_); !in.empty();
       in = world_.service->next_output(peer_)) {
    moved = true;
    received_.insert(received_.end(), in.begin(), in.end());
    (void)connection_.receive(in, world_.clock.now());
    while (auto message = connection_.next_message()) {
      if (auto* answer = std::get_if<VersionHandshakeResponse>(&message->body)) {
        connection_.agree(answer->packet_max, answer->capabilities);
      }
      inbox_[message->session].push_back(std::move(message->body));
    }
  }
  if (world_.service->wants_close(peer_)) {
    world_.service->disconnected(peer_);
    closed_ = true;
    moved = true;
  }
  return moved;
}

std::vector<Body> TestPeer::take(std::uint32_t session) {
  auto out = std::move(inbox_[session]);
  inbox_.erase(session);
  return out;
}

std::map<std::string, Entry> TestPeer::list(EntryId folder, std::uint32_t budget) {
  const auto session = next_session();
  send(session, List{folder, budget});
  settle();
  std::map<std::string, Entry> out;
  for (auto& body : take(session)) {
    if (auto* page = std::get_if<ListPage>(&body)) {
      const std::string prefix =
          page->folder == folder ? "" : std::to_string(page->folder.value) + "/";
      for (auto& named : page->entries) out[prefix + named.name] = named.entry;
    }
  }
  return out;
}

std::optional<Entry> TestPeer::find(const std::string& path) {
  EntryId at = kRootEntry;
  std::optional<Entry> entry;
  for (std::size_t begin = 0; begin < path.size();) {
    const auto end = std::min(path.find('/', begin), path.size());
    auto names = list(at);
    const auto it = names.find(path.substr(begin, end - begin));
    if (it == names.end()) return std::nullopt;
    entry = it->second;
    at = entry->id;
    begin = end + 1;
  }
  return entry;
}

TestPeer::Pulled TestPeer::pull(EntryId entry, Version version, std::vector<Range> ranges) {
  const auto session = next_session();
  send(session, Pull{entry, version, std::move(ranges), 0});
  settle();
  Pulled out;
  std::optional<SessionHash> hash;
  for (auto& body : take(session)) {
    if (auto* init = std::get_if<FileSyncInit>(&body)) {
      out.init = *init;
      hash.emplace(init->size, init->ranges);
    } else if (auto* data = std::get_if<FileSyncData>(&body)) {
      if (hash) hash->update(data->offset, data->bytes);
      out.bytes += as_text(data->bytes);
    } else if (auto* check = std::get_if<FileSyncCheckHash>(&body)) {
      out.hash_fits = hash && hash->complete() && hash->digest() == check->sent;
    } else if (auto* error = std::get_if<ErrorMessage>(&body)) {
      out.code = error->code;
    }
  }
  return out;
}

FileSyncInit TestPeer::init_new(EntryId folder, const std::string& name, std::uint64_t size) {
  FileSyncInit out;
  out.operation = next_operation();
  out.place = {folder, name};
  out.size = size;
  if (size != 0) out.ranges = {{0, size}};
  return out;
}

FileSyncInit TestPeer::init_over(const Entry& entry, std::uint64_t size) {
  FileSyncInit out;
  out.operation = next_operation();
  out.entry = entry.id;
  out.content_version = entry.content_version;
  out.attributes_version = entry.attributes_version;
  out.size = size;
  if (size != 0) out.ranges = {{0, size}};
  return out;
}

std::uint32_t TestPeer::begin_push(FileSyncInit init, const std::string& content) {
  const auto session = next_session();
  send(session, init);
  SessionHash hash(init.size, init.ranges);
  for (const auto& range : init.ranges) {
    for (auto at = range.begin; at < range.end;) {
      const auto step = std::min<std::uint64_t>(connection_.data_max(), range.end - at);
      const auto part = as_bytes(content).subspan(at, step);
      hash.update(at, part);
      send(session, FileSyncData{at, Bytes(part.begin(), part.end())});
      at += step;
    }
  }
  send(session, FileSyncCheckHash{hash.digest()});
  return session;
}

std::optional<FileSyncCheckHashResponse> TestPeer::receipt(std::uint32_t session) {
  for (auto& body : take(session)) {
    if (auto* answer = std::get_if<FileSyncCheckHashResponse>(&body)) return *answer;
    if (auto* answer = std::get_if<FileSyncInitResponse>(&body);
        answer && answer->code != Errc::ok) {
      FileSyncCheckHashResponse out;
      out.code = answer->code;
      out.sentence = answer->sentence;
      return out;
    }
  }
  return std::nullopt;
}

FileSyncCheckHashResponse TestPeer::push(FileSyncInit init, const std::string& content) {
  const auto session = begin_push(std::move(init), content);
  settle();
  auto out = receipt(session);
  if (out) return *out;
  FileSyncCheckHashResponse none;
  none.code = Errc::lost;
  return none;
}

std::uint32_t TestPeer::begin_mutate(const Mutate& mutation) {
  const auto session = next_session();
  send(session, mutation);
  return session;
}

MutateResponse TestPeer::mutate(Mutate mutation) {
  if (!mutation.operation.id) mutation.operation = next_operation();
  const auto session = begin_mutate(mutation);
  settle();
  auto out = take_one<MutateResponse>(session);
  if (out) return *out;
  MutateResponse none;
  none.code = Errc::lost;
  return none;
}

}  // namespace ebb::test
