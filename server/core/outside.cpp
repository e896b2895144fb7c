// Changes that other programs make in the served directory.
//
// Folders that were ever listed are watched (what is in others nobody knows).  A name that changed
// is looked at a moment later, together with others that changed then, so that a move is seen as
// one: first what is there, then what is gone.  Where the kernel could not tell everything, all
// listed folders are read again, one after the other.
#include <algorithm>
#include <cerrno>
#include <unordered_set>

#include "base/log.h"
#include "server/core/service_impl.h"

namespace ebb::server {

namespace {

constexpr Duration kQuiet = std::chrono::milliseconds(50);
constexpr Duration kWritten = std::chrono::seconds(1);      // still being written: not so often
constexpr Duration kPolledEvery = std::chrono::minutes(1);  // where not all can be watched
constexpr std::size_t kTakenInAtOnce = 1000;
constexpr std::size_t kDueMax = 65536;  // more is a look at everything
constexpr std::size_t kNamesAtOnce = 4096;

bool not_there(const Error& error) {
  return error.code == proto::Errc::not_regular || is_errno(error, ENOENT) ||
         is_errno(error, ENOTDIR) || is_errno(error, EXDEV) || is_errno(error, ESTALE);
}

void look(Depot& depot, LookedAt& one) {
  auto facts = depot.stat(one.spot);
  if (facts) {
    one.found.facts = std::move(*facts);
    one.state = LookedAt::State::there;
  } else if (not_there(facts.error())) {
    // A folder that has moved is not a folder without names.
    const bool folder_there = depot.stat({one.spot.folder, ""}).has_value();
    one.state = folder_there ? LookedAt::State::gone : LookedAt::State::elsewhere;
  }
}

}  // namespace

void Service::Impl::watch_outside() {
  watching_outside = true;
  look_at_all();
}

void Service::Impl::look_outside() {
  const Time now = seams.clock.now();
  const Notices notices = seams.depot.take_notices();
  for (const auto tag : notices.unwatched) not_current(NodeId{tag});
  for (const auto& one : notices.changed) {
    not_current(NodeId{one.folder});
    due_outside(NodeId{one.folder}, one.name, now + (one.being_written ? kWritten : kQuiet));
  }
  if (notices.all) {
    log_info("more has changed than the kernel could tell: every listed folder is read again");
    current.clear();
    for (auto& [folder, reading] : readings) reading.noticed = true;
    look_at_all();
  }
}

/// What the record has of the folder's names may be behind the disk.
void Service::Impl::not_current(NodeId folder) {
  current.erase(folder);
  if (const auto it = readings.find(folder); it != readings.end()) it->second.noticed = true;
}

void Service::Impl::due_outside(NodeId folder, const std::string& name, Time at) {
  if (due.size() >= kDueMax) return look_at_all();
  const auto [it, fresh] = due.try_emplace({folder, name}, at);
  if (!fresh) it->second = std::min(it->second, at);
  due_at = std::min(due_at, it->second);
}

void Service::Impl::look_at_due() {
  const Time now = seams.clock.now();
  if (looking || broken || now < due_at) return;
  // The other end of a move is told a moment later than the first.
  look_outside();
  auto names = std::make_shared<std::vector<LookedAt>>();
  due_at = kNever;
  for (auto it = due.begin(); it != due.end();) {
    const auto& [place, at] = *it;
    if (at > now + kQuiet) {
      due_at = std::min(due_at, at);
      ++it;
      continue;
    }
    auto spot = tree->spot(place.first, place.second);
    if (spot && tree->listed(place.first)) {
      names->push_back({place.first, {place.second, {}}, std::move(*spot)});
    }
    it = due.erase(it);
  }
  if (names->empty()) return;
  looking = true;
  read_meanwhile.clear();
  work(
      [depot = &seams.depot, names] {
        for (auto& one : *names) look(*depot, one);
      },
      [this, names, since = batches_ended] { looked_at(std::move(*names), since); });
}

/// First what is there, then what is gone, so that what has moved is nowhere without a name; a
/// slice at a time.
void Service::Impl::looked_at(std::vector<LookedAt> names, std::uint64_t since) {
  using State = LookedAt::State;
  std::stable_partition(names.begin(), names.end(),
                        [](const LookedAt& one) { return one.state == State::there; });
  std::unordered_set<Identity> here;
  for (const auto& one : names) {
    if (one.state == State::there) here.insert(one.found.facts.identity);
  }
  const std::size_t slice = std::min(names.size(), kTakenInAtOnce);
  const auto before = store->sequence();
  store::Transaction tx(*store);
  Result<> ok;
  for (std::size_t i = 0; i < slice && ok; ++i) {
    const auto& one = names[i];
    // Where the record has followed something newer meanwhile, the look is an old one.
    const auto changed = changed_in.find(one.folder);
    const bool old = (changed != changed_in.end() && changed->second > since) ||
                     readings.count(one.folder) != 0 || read_meanwhile.count(one.folder) != 0;
    if (old || one.state == State::elsewhere) {
      due_outside(one.folder, one.found.name, seams.clock.now() + (old ? kQuiet : kWritten));
    } else if (one.state == State::there) {
      ok = tree->found(tx, one.folder, one.found, here);
    } else if (one.state == State::gone) {
      ok = tree->lost(tx, one.folder, one.found.name);
    }
  }
  if (ok) ok = tree->drop_orphans(tx, kOrphansMax);
  if (ok) ok = tx.commit();
  if (!ok) log_warn("changes of other programs are not taken in: {}", ok.error().message());
  dirty = dirty || store->sequence() != before;
  if (dirty) after_sync([](bool) {});
  names.erase(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(slice));
  if (names.empty() || !ok) return void(looking = false);
  auto rest = std::make_shared<std::vector<LookedAt>>(std::move(names));
  work([] {}, [this, rest, since] { looked_at(std::move(*rest), since); });
}

// ---- everything

void Service::Impl::look_at_all() {
  if (!watching_outside) return;
  if (scanning) {
    scan_again = true;
    return;
  }
  scanning = true;
  scan_again = false;
  to_scan.assign(1, kRootNode);
  scan_next();
}

void Service::Impl::scan_next() {
  if (to_scan.empty()) {
    scanning = false;
    scanned_at = seams.clock.now();
    if (scan_again) look_at_all();
    return;
  }
  const NodeId folder = to_scan.front();
  to_scan.pop_front();
  refresh(folder, [this, folder](Result<>) { scan_beneath(folder, 0); });
}

/// The folders in a folder, a slice of its names at a time.
void Service::Impl::scan_beneath(NodeId folder, std::uint64_t cookie) {
  std::size_t seen = 0;
  auto ok = store->list(folder, cookie, [&](const store::Name& name) {
    if (seen++ == kNamesAtOnce) return false;
    cookie = name.cookie;
    auto node = store->node(name.local);
    if (node && node->is_folder() && node->has(store::kListed)) to_scan.push_back(name.local);
    return true;
  });
  const bool more = ok && seen > kNamesAtOnce;
  work([] {}, [this, folder, cookie, more] { more ? scan_beneath(folder, cookie) : scan_next(); });
}

Time Service::Impl::outside_deadline() const {
  Time next = looking ? kNever : due_at;
  if (unwatched && !scanning) next = std::min(next, scanned_at + kPolledEvery);
  return next;
}

void Service::Impl::stop_watching() {
  watching_outside = false;
  current.clear();
  scan_again = false;
  to_scan.clear();
  due.clear();
  due_at = kNever;
}

void Service::Impl::poll_outside() {
  if (unwatched && !scanning && seams.clock.now() >= scanned_at + kPolledEvery) look_at_all();
}

void Service::Impl::not_watched(const Error& why) {
  if (unwatched) return;
  unwatched = true;
  log_warn(
      "not every folder can be watched ({}): all of them are read once a minute; "
      "fs.inotify.max_user_watches sets how many can",
      why.message());
}

}  // namespace ebb::server
