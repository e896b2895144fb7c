// Pulls: content read on the executor ahead of the link, sent in the order of priority, checked
// around reading.
#include <algorithm>
#include <cerrno>

#include "base/sparse.h"
#include "server/core/service_impl.h"

namespace ebb::server {

using proto::Errc;

/// Where reading is in the ranges of a pull.
struct Reading {
  std::size_t range = 0;
  std::uint64_t at = 0;
};

/// One step of a pull on the executor's way: the pull's own fields are left alone meanwhile.
struct PullStep {
  std::shared_ptr<Pull> pull;
  std::shared_ptr<DepotFile> file;  // none: this is the first
  bool first = false;
  bool holes_wanted = false;
  Result<std::vector<Spot>> spots;  // first: where to find it
  std::size_t most = 0;             // bytes to read
  std::vector<Range> ranges;        // first: asked for, then to be sent
  std::vector<Range> holes;
  std::vector<Range> wanted;
  Reading reading;
  std::unique_ptr<DepotFile> opened;
  Facts seen;
  std::vector<proto::FileSyncData> data;
  Result<> outcome;
};

namespace {

/// What was asked for of a content of that size; all of it when nothing was named.
std::vector<Range> ranges_of(const proto::Pull& request, std::uint64_t size) {
  std::vector<Range> out;
  if (request.ranges.empty() && size != 0) out.push_back({0, size});
  for (auto range : request.ranges) {
    range.end = std::min(range.end, size);
    if (!range.empty()) out.push_back(range);
  }
  return out;
}

/// With more ranges than this a content is not looked at for holes.
constexpr std::size_t kMappedMax = 512;

/// The holes of what was asked for are named and not sent.  One that goes on behind the end of a
/// range is named as far as it goes: nobody has to ask for the rest of it.
void leave_out_holes(const DepotFile& file, std::uint64_t size, PullStep& step) {
  if (step.ranges.empty() || step.ranges.size() > kMappedMax) return;
  const std::size_t most = proto::kRangesMax / (2 * step.ranges.size());
  std::vector<Range> data;
  for (std::size_t i = 0; i < step.ranges.size(); ++i) {
    const Range range = step.ranges[i];
    const auto parts = file.data_in(range, most);
    auto holes = between(range, parts);
    if (!holes.empty() && holes.back().end == range.end) {
      const std::uint64_t limit = i + 1 < step.ranges.size() ? step.ranges[i + 1].begin : size;
      const Range behind{range.end, limit};
      const auto next = behind.empty() ? std::vector<Range>{behind} : file.data_in(behind, 1);
      holes.back().end = next.empty() ? limit : std::max(range.end, next.front().begin);
    }
    data.insert(data.end(), parts.begin(), parts.end());
    step.holes.insert(step.holes.end(), holes.begin(), holes.end());
  }
  step.ranges = std::move(data);
}

/// The next parts to read, at most `most` bytes in all.
std::vector<Range> next_parts(const std::vector<Range>& ranges, Reading& reading,
                              std::size_t most) {
  std::vector<Range> wanted;
  std::size_t size = 0;
  while (reading.range < ranges.size() && size < most) {
    const Range range = ranges[reading.range];
    const auto part = std::min<std::uint64_t>(range.end - reading.at, most - size);
    wanted.push_back({reading.at, reading.at + part});
    size += part;
    reading.at += part;
    if (reading.at != range.end) continue;
    if (++reading.range < ranges.size()) reading.at = ranges[reading.range].begin;
  }
  return wanted;
}

Result<> check_unmoved(DepotFile& file, const Facts& seen) {
  auto now = file.facts();
  if (!now) return pass(now.error());
  if (!untouched(*now, seen)) return fail(Errc::moved_on, "the file changed on the server");
  return {};
}

/// Whether it is what the map lists, as far as can be seen; the client holds it to the digest.
Result<> check_mapped(const Facts& now, const store::FsmapFile& listed) {
  const bool same =
      now.size == listed.size && now.ctime == listed.ctime && now.attributes.mtime == listed.mtime;
  if (!same) return fail(Errc::moved_on, "the file changed since the map was made");
  return {};
}

/// Reads some of the ranges and looks, before the bytes are believed, whether the file is still
/// what was seen.
Result<> read_some(DepotFile& file, const Facts& seen, std::vector<Range> wanted, PullStep& step) {
  for (const auto range : wanted) {
    proto::FileSyncData data;
    data.offset = range.begin;
    data.bytes.resize(range.size());
    auto n = file.read_at(range.begin, data.bytes);
    if (!n) return pass(n.error());
    if (*n != range.size()) return fail(Errc::moved_on, "the file is shorter now");
    step.data.push_back(std::move(data));
  }
  return check_unmoved(file, seen);
}

Result<> open_first(Depot& depot, PullStep& step) {
  if (!step.spots || step.spots->empty()) return fail_errno(ENOENT);
  auto opened = depot.open(step.spots->front());
  if (!opened) return pass(opened.error());
  step.opened = std::move(*opened);
  if (const auto& mapped = step.pull->mapped) {
    auto now = step.opened->facts();
    if (!now) return pass(now.error());
    if (auto same = check_mapped(*now, mapped->facts); !same) return same;
    step.seen = std::move(*now);
  }
  // Whether it is what was seen is looked at when it has been read.
  if (step.holes_wanted) leave_out_holes(*step.opened, step.seen.size, step);
  if (!step.ranges.empty()) step.reading.at = step.ranges.front().begin;
  step.wanted = next_parts(step.ranges, step.reading, step.most);
  return {};
}

/// On the executor.
void read(Depot& depot, PullStep& step) {
  if (step.first) step.outcome = open_first(depot, step);
  if (!step.outcome) return;
  DepotFile& file = step.first ? *step.opened : *step.file;
  step.outcome = read_some(file, step.seen, std::move(step.wanted), step);
}

}  // namespace

Result<proto::Entry> Service::Impl::readable(EntryId id, Version content_version) const {
  auto entry = tree->entry(NodeId{id.value});
  if (!entry) return fail(Errc::not_found, "the entry is no more");
  if (entry->kind != proto::EntryKind::file) {
    return fail(entry->kind == proto::EntryKind::folder ? Errc::is_folder : Errc::not_regular);
  }
  if (content_version && content_version != entry->content_version) {
    return fail(Errc::moved_on, "the content has another version");
  }
  return entry;
}

void Service::Impl::pull(Peer& peer, Session session, proto::Pull request) {
  if (session_taken(peer, session)) {
    return refuse(peer, session, {Errc::bad_request, "the session is in use"});
  }
  if (peer.pulls.size() >= kPullsMax) return refuse(peer, session, {Errc::busy, "too many pulls"});
  const NodeId id{request.entry.value};
  const auto entry = readable(request.entry, request.content_version);
  if (!entry) return refuse(peer, session, entry.error());
  request.content_version = entry->content_version;
  auto made = std::make_shared<Pull>();
  made->session = session;
  made->turn = ++turns;
  made->seen = *tree->facts(id);
  made->ranges = ranges_of(request, entry->size);
  made->request = std::move(request);
  peer.pulls[session] = std::move(made);
  touch(peer.id);
}

void Service::Impl::pull_failed(PeerId who, Session session, const Error& error) {
  Peer* peer = find(who);
  if (peer == nullptr) return;
  const auto it = peer->pulls.find(session);
  if (it == peer->pulls.end()) return;
  const NodeId id{it->second->request.entry.value};
  peer->pulls.erase(it);
  content_failed(*peer, session, id, error);
}

void Service::Impl::content_failed(Peer& peer, Session session, NodeId id, const Error& error) {
  // A file that is gone or another one is, for who asked for this version, a version that moved on.
  const bool gone = is_errno(error, ENOENT) || is_errno(error, ENOTDIR) ||
                    error.code == Errc::moved_on || error.code == Errc::not_regular;
  refuse(peer, session, gone ? Error{Errc::moved_on, "the file changed on the server"} : error);
  if (gone) refresh_entry(id, [] {});
}

// ---- reading

/// Those that may read: the open ones, and others by priority while there is room.
void Service::Impl::read_pulls(Peer& peer) {
  std::vector<std::shared_ptr<Pull>> order;
  for (auto& [session, pull] : peer.pulls) order.push_back(pull);
  std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
    if (a->request.priority != b->request.priority) {
      return a->request.priority > b->request.priority;
    }
    return a->turn < b->turn;
  });
  std::size_t opens[2] = {0, 0};  // large, small
  const auto is_small = [](const Pull& pull) { return pull.seen.size <= kSmall; };
  for (const auto& pull : order) opens[is_small(*pull)] += pull->opened ? 1 : 0;
  std::vector<std::shared_ptr<PullStep>> together;
  for (const auto& pull : order) {
    const bool small = is_small(*pull);
    std::size_t& open = opens[small];
    const bool wants = !pull->busy && pull->ahead_bytes < kPullAhead &&
                       (pull->range < pull->ranges.size() || !pull->opened);
    if (!wants) continue;
    // What a reader waits for finds a place where others do not.
    const std::size_t most = small ? kSmallOpen : kPullsOpen;
    const std::size_t places = pull->request.priority < 2 ? most : 4 * most;
    if (!pull->opened && open >= places) continue;
    if (!pull->opened) ++open;
    pull->opened = true;
    auto step = next_step(peer, pull);
    // Nor does he wait for others' reading.
    if (!small || pull->request.priority >= 2) {
      run_steps(peer.id, {std::move(step)});
      continue;
    }
    together.push_back(std::move(step));
    if (together.size() == kTogether) run_steps(peer.id, std::exchange(together, {}));
  }
  if (!together.empty()) run_steps(peer.id, std::move(together));
}

std::shared_ptr<PullStep> Service::Impl::next_step(Peer& peer, const std::shared_ptr<Pull>& pull) {
  auto step = std::make_shared<PullStep>();
  // Whole packets, or each step would end with a small one.
  const std::size_t packet = peer.connection.data_max();
  step->pull = pull;
  step->most = std::max<std::size_t>(1, kReadStep / packet) * packet;
  step->file = pull->file;
  step->first = !pull->file;
  step->reading = {pull->range, pull->read_at};
  step->seen = pull->seen;
  if (step->first) {
    step->holes_wanted = pull->request.holes;
    step->ranges = pull->ranges;
    step->spots = pull->mapped ? std::vector<Spot>{pull->mapped->spot}
                               : tree->spots(NodeId{pull->request.entry.value});
  } else {
    step->wanted = next_parts(pull->ranges, step->reading, step->most);
  }
  pull->busy = true;
  return step;
}

void Service::Impl::run_steps(PeerId who, std::vector<std::shared_ptr<PullStep>> together) {
  work(
      [depot = &seams.depot, together] {
        for (const auto& step : together) read(*depot, *step);
      },
      [this, who, together] {
        for (const auto& step : together) step_done(who, *step);
      });
}

void Service::Impl::step_done(PeerId who, PullStep& step) {
  const auto pull = step.pull;
  pull->busy = false;
  if (pull->cancelled) return;
  if (!step.outcome) return pull_failed(who, pull->session, step.outcome.error());
  if (step.first) {
    pull->file = std::move(step.opened);
    pull->seen = std::move(step.seen);
    pull->ranges = std::move(step.ranges);
    pull->holes = std::move(step.holes);
    pull->hash = std::make_unique<proto::SessionHash>(pull->seen.size, pull->ranges);
  }
  pull->range = step.reading.range;
  pull->read_at = step.reading.at;
  for (auto& data : step.data) {
    pull->ahead_bytes += data.bytes.size();
    pull->ahead.push_back(std::move(data));
  }
  touch(who);
}

// ---- sending

void Service::Impl::pump_pulls(Peer& peer) {
  while (peer.connection.can_send() && !peer.closing) {
    // The highest priority that has something; among equals the one served longest ago.
    std::shared_ptr<Pull> best;
    for (auto& [session, pull] : peer.pulls) {
      const bool has = pull->file && (!pull->announced || !pull->ahead.empty() ||
                                      (!pull->busy && pull->range >= pull->ranges.size()));
      if (!has) continue;
      const bool better =
          !best || pull->request.priority > best->request.priority ||
          (pull->request.priority == best->request.priority && pull->turn < best->turn);
      if (better) best = pull;
    }
    if (!best) break;
    best->turn = ++turns;
    if (send_step(peer, *best)) peer.pulls.erase(best->session);
  }
  read_pulls(peer);
}

/// Init, or one packet of data, or the hash.  True: the session is over.  A small file goes in one
/// breath.
bool Service::Impl::send_step(Peer& peer, Pull& pull) {
  if (pull.mapped && !pull.path_told) {
    (void)peer.connection.send(pull.session, proto::FsmapPath{pull.mapped->path});
    pull.path_told = true;
    if (!peer.connection.can_send()) return false;
  }
  if (!pull.announced) {
    proto::FileSyncInit init;
    init.entry = pull.request.entry;
    init.content_version = pull.request.content_version;
    if (pull.mapped) {
      init.attributes = pull.seen.attributes;
    } else if (auto entry = tree->entry(NodeId{pull.request.entry.value})) {
      init.attributes_version = entry->attributes_version;
      init.attributes = std::move(entry->attributes);
    }
    init.size = pull.seen.size;
    init.attribute_bits = proto::kMode | proto::kMtime | proto::kOwner | proto::kXattrs;
    init.ranges = pull.ranges;
    init.holes = pull.holes;
    (void)send(peer, pull.session, std::move(init));
    pull.announced = true;
  }
  // Each message may have filled what waits to be sent, and one more would be refused.
  if (!peer.connection.can_send()) return false;
  if (!pull.ahead.empty()) {
    auto& front = pull.ahead.front();
    const ByteView rest = ByteView(front.bytes).subspan(pull.ahead_sent);
    const ByteView part =
        rest.first(std::min<std::size_t>(rest.size(), peer.connection.data_max()));
    const std::uint64_t offset = front.offset + pull.ahead_sent;
    pull.hash->update(offset, part);
    (void)peer.connection.send_data(pull.session, offset, part);
    pull.ahead_sent += part.size();
    if (part.size() == rest.size()) {
      pull.ahead_bytes -= front.bytes.size();
      pull.ahead.pop_front();
      pull.ahead_sent = 0;
    }
  }
  const bool all = pull.ahead.empty() && !pull.busy && pull.range >= pull.ranges.size();
  if (!all || !peer.connection.can_send()) return false;
  (void)peer.connection.send(pull.session, proto::FileSyncCheckHash{pull.hash->digest()});
  return true;
}

}  // namespace ebb::server
