#include "fusefs/core/pulls.h"

#include <algorithm>
#include <cerrno>

#include "base/log.h"
#include "fusefs/core/core.h"

namespace ebb::fusefs {
namespace {

constexpr std::uint8_t kBackground = 0;
constexpr std::uint8_t kAhead = 1;
constexpr std::uint8_t kReader = 2;
/// Sessions at once, by priority: what waits longest leaves room for what waits for it.
constexpr std::size_t kSessionsMax[] = {8, 16, 32};
/// And more, up to this many, while they bring no more bytes than this: of small files many are on
/// their way, or most of the time is waiting.
constexpr std::size_t kSmallSessionsMax = 128;
constexpr std::uint64_t kSmallSessionsBytes = 1u << 20;
/// Of one content: enough to keep the link busy between two.
constexpr std::size_t kSessionsOfOne = 4;
/// One session at most; its hash comes at its end, and only then it counts as here after a crash.
constexpr std::uint64_t kSessionBytes = 8u << 20;
constexpr std::size_t kSessionRanges = 64;
/// Contents that are wanted for their status, in memory; the others are in the store's list.
constexpr std::size_t kBackgroundMax = 256;
constexpr int kWrongHashMax = 3;
constexpr Duration kRetryFirst = std::chrono::milliseconds(500);
constexpr Duration kRetryMost = std::chrono::seconds(30);

}  // namespace

void Pulls::want_now(const ContentPtr& content, Range range) {
  if (content->size <= kSmallFile) range = content->all();
  for (const auto& part : content->here.missing_in(range).list()) content->want_now.add(part);
  became_wanted(content);
}

void Pulls::want_ahead(const ContentPtr& content, Range range) {
  range.end = std::min(range.end, content->size);
  if (range.empty() || content->is_here(range)) return;
  for (const auto& part : content->here.missing_in(range).list()) content->want_ahead.add(part);
  became_wanted(content);
}

void Pulls::want_all(const ContentPtr& content) {
  if (content->whole) return;
  content->want_all = true;
  became_wanted(content);
}

void Pulls::became_wanted(const ContentPtr& content) {
  if (content->whole || content->detached) return;
  // A former content of the node may stand there, whose pulls have ended.
  wanted_.insert_or_assign(content->node, content);
  core_.effects.wake = true;
}

void Pulls::unwant(const ContentPtr& content) {
  content->want_now.clear();
  content->want_ahead.clear();
  const auto node = core_.tree->node(content->node);
  if (!node || !node->has(store::kPulling)) content->want_all = false;
  if (!content->wanted() && content->in_flight.empty()) forget(content);
}

void Pulls::forget(const ContentPtr& content) {
  const auto it = wanted_.find(content->node);
  if (it == wanted_.end() || it->second != content) return;
  const ContentPtr kept = it->second;
  wanted_.erase(it);
  background_done_ = false;
}

void Pulls::ready() {
  background_done_ = false;
}

void Pulls::lost() {
  // Readers wait on: what they want is asked for again on the next connection.
  const auto all = std::exchange(sessions_, {});
  coming_ = 0;
  for (const auto& [id, session] : all) {
    session->ended = true;
    session->content->in_flight.clear();
    core_.contents.taken_back(session->content, session->landed);
    core_.tree->set_active(session->content->node, State::pulling, false);
  }
}

void Pulls::take_back() {
  const auto all = sessions_;
  for (const auto& [id, session] : all) end(session, true);
}

void Pulls::away() {
  const auto all = std::exchange(wanted_, {});
  for (const auto& [node, content] : all) {
    content->want_now.clear();
    content->want_ahead.clear();
    content->want_all = false;
    core_.contents.fail_readers(content, fail_errno(EHOSTDOWN, "the server is out of reach"));
  }
  background_done_ = false;
}

Time Pulls::next_deadline() const {
  Time next = kNever;
  if (!core_.link.ready()) return next;
  for (const auto& [node, content] : wanted_) {
    if (content->retry_at > core_.now()) next = std::min(next, content->retry_at);
  }
  return next;
}

void Pulls::pump(Lock&) {
  if (!core_.link.ready()) return pump_priority(kReader);
  for (const auto priority : {kReader, kAhead, kBackground}) pump_priority(priority);
}

void Pulls::pump_priority(std::uint8_t priority) {
  if (std::erase_if(wanted_, [](const auto& one) { return one.second->detached; }) != 0) {
    background_done_ = false;
  }
  if (priority == kBackground) load_background();
  std::vector<ContentPtr> contents;
  contents.reserve(wanted_.size());
  for (const auto& [node, content] : wanted_) contents.push_back(content);
  for (const auto& content : contents) {
    if (priority == kBackground && content->want_all && core_.formers.delays(content)) continue;
    while (room_for_session(priority) && core_.link.can_pull()) {
      if (!start(content, priority)) break;
    }
  }
}

bool Pulls::room_for_session(std::uint8_t priority) const {
  return sessions_.size() < kSessionsMax[priority] ||
         (sessions_.size() < kSmallSessionsMax && coming_ < kSmallSessionsBytes);
}

void Pulls::load_background() {
  // Not for each one that has come: the list is read from its beginning.
  if (background_done_ || wanted_.size() > kBackgroundMax / 2) return;
  std::vector<NodeId> nodes;
  background_done_ = true;
  core_.tree->pulls([&](NodeId node) {
    if (wanted_.count(node) != 0) return true;
    if (wanted_.size() + nodes.size() >= kBackgroundMax) {
      background_done_ = false;
      return false;
    }
    nodes.push_back(node);
    return true;
  });
  for (const NodeId node : nodes) {
    auto content = core_.contents.get(node);
    if (!content) continue;
    want_all(*content);
  }
}

std::vector<Range> Pulls::next_ranges(const OpenContent& content, std::uint8_t priority) const {
  RangeSet wanted;
  if (priority == kReader) wanted = content.want_now;
  if (priority == kAhead) wanted = content.want_ahead;
  if (priority == kBackground && content.want_all) wanted = content.here.missing_in(content.all());
  // What comes already is not asked for again.
  for (const auto& coming : content.in_flight.list()) wanted.remove(coming);
  for (const auto& here : content.here.list()) wanted.remove(here);
  wanted.remove({content.size, UINT64_MAX});
  std::vector<Range> ranges;
  std::uint64_t bytes = 0;
  for (auto range : wanted.list()) {
    if (bytes >= kSessionBytes || ranges.size() >= kSessionRanges) break;
    range.end = std::min(range.end, range.begin + (kSessionBytes - bytes));
    bytes += range.size();
    ranges.push_back(range);
  }
  return ranges;
}

bool Pulls::start(const ContentPtr& content, std::uint8_t priority) {
  if (content->retry_at > core_.now() || content->stale) return false;
  const auto same = [&](const auto& one) { return one.second->content == content; };
  if (std::count_if(sessions_.begin(), sessions_.end(), same) >=
      static_cast<std::ptrdiff_t>(kSessionsOfOne)) {
    return false;
  }
  auto ranges = next_ranges(*content, priority);
  if (ranges.empty()) return false;
  const auto node = core_.tree->node(content->node);
  if (!node || !node->entry) {
    give_up(content, fail_errno(ESTALE, "the server has this version no more"));
    return false;
  }
  const Version version = node->content_base ? node->content_base : node->content_server;
  for (const auto& range : ranges) {
    content->in_flight.add(range);
    coming_ += range.size();
  }
  auto session = std::make_shared<Session>(Session{0,
                                                   content,
                                                   content->generation,
                                                   node->entry,
                                                   version,
                                                   ranges,
                                                   priority,
                                                   false,
                                                   false,
                                                   proto::SessionHash(content->size, ranges),
                                                   {}});
  session->id = core_.link.open_session(
      [this, session](Lock& lock, const proto::Body& body) { heard(lock, session, body); });
  sessions_.emplace(session->id, session);
  log_debug("pull {}: node {} entry {} version {}", session->id, content->node.value,
            node->entry.value, version.value);
  core_.tree->set_active(content->node, State::pulling, true);
  core_.link.send(session->id,
                  proto::Pull{node->entry, version, std::move(ranges), priority, true});
  return true;
}

void Pulls::heard(Lock& lock, const SessionPtr& session, const proto::Body& body) {
  if (session->ended) return;
  if (const auto* part = std::get_if<proto::FileSyncData>(&body)) {
    data(lock, session, *part);
  } else if (const auto* init = std::get_if<proto::FileSyncInit>(&body)) {
    began(lock, session, *init);
  } else if (const auto* sum = std::get_if<proto::FileSyncCheckHash>(&body)) {
    check(session, *sum);
  } else if (const auto* error = std::get_if<proto::ErrorMessage>(&body)) {
    failed(session, error->code, error->sentence);
  }
}

void Pulls::began(Lock& lock, const SessionPtr& session, const proto::FileSyncInit& init) {
  const ContentPtr content = session->content;
  const auto node = core_.tree->node(content->node);
  const bool dirty = node && node->has(store::kContentDirty);
  const bool other = init.content_version != session->version;
  if (other || (init.size != content->size && !dirty)) {
    log_debug("pull {}: version {}, {} bytes here, {} there", session->id,
              init.content_version.value, content->size, init.size);
    return failed(session, proto::Errc::moved_on, {});
  }
  RangeSet expected;
  for (auto range : session->ranges) expected.add({range.begin, std::min(range.end, init.size)});
  for (const auto& hole : init.holes) expected.remove(hole);
  if (init.ranges != expected.list()) {
    return failed(session, proto::Errc::bad_request, "other ranges");
  }
  session->hash = proto::SessionHash(init.size, init.ranges);
  session->began = true;
  if (node && node->attributes_server < init.attributes_version) {
    core_.stats.want(session->content->node);
  }
  auto holes = init.holes;
  // What is behind the end of the version that it derives from is a hole of ours.
  if (init.size < content->size) holes.push_back({init.size, content->size});
  auto done = core_.contents.land_holes(lock, content, holes);
  if (!done) return not_kept(session, done.error());
  for (const auto& hole : holes) {
    content->want_now.remove(hole);
    content->want_ahead.remove(hole);
  }
}

void Pulls::not_kept(const SessionPtr& session, const Error& why) {
  log_warn("what was pulled cannot be kept: {}", why.message());
  if (session->ended) return;
  end(session, true);
  core_.contents.taken_back(session->content, session->landed);
  give_up(session->content, pass(why));
}

void Pulls::data(Lock& lock, const SessionPtr& session, const proto::FileSyncData& data) {
  const ContentPtr content = session->content;
  if (content->detached || content->generation != session->generation) return end(session, true);
  if (!session->began || !session->hash.update(data.offset, data.bytes)) {
    return failed(session, proto::Errc::bad_request, "data that was not asked for");
  }
  auto landed = core_.contents.land(lock, content, data.offset, data.bytes);
  if (!landed) return not_kept(session, landed.error());
  for (const auto& range : landed->list()) session->landed.add(range);
  // The connection may have gone while the lock was free: then nobody compares the hash of these
  // bytes.
  if (session->ended) core_.contents.taken_back(content, *landed);
  const Range arrived{data.offset, data.offset + data.bytes.size()};
  content->want_now.remove(arrived);
  content->want_ahead.remove(arrived);
}

void Pulls::check(const SessionPtr& session, const proto::FileSyncCheckHash& check) {
  const ContentPtr content = session->content;
  const bool right = session->hash.complete() && session->hash.digest() == check.sent;
  proto::FileSyncCheckHashResponse response;
  response.code = right ? proto::Errc::ok : proto::Errc::wrong_hash;
  response.entry = session->entry;
  response.content_version = session->version;
  response.hash = session->hash.digest();
  core_.link.send(session->id, response);
  if (!right) return failed(session, proto::Errc::wrong_hash, {});
  content->failures = 0;
  end(session, false);
  if (auto done = core_.contents.checked(content, session->landed); !done) {
    log_warn("what was pulled is not recorded: {}", done.error().message());
  }
  if (session->hash.whole() && content->writes == 0 && !content->detached) {
    if (auto done = core_.tree->set_hash(content->node, check.sent); !done) {
      log_warn("a hash is not recorded: {}", done.error().message());
    }
  }
  came(content);
}

void Pulls::came(const ContentPtr& content) {
  core_.transitions.poke();
  if (content->whole) core_.pushes.content_came(content->node);
  if (content->whole || !content->wanted()) forget(content);
  core_.contents.tidy(content->node);
}

void Pulls::failed(const SessionPtr& session, proto::Errc code, const std::string& sentence) {
  const ContentPtr content = session->content;
  end(session, code != proto::Errc::wrong_hash);
  core_.contents.taken_back(content, session->landed);
  // Readers may have had some of it.
  if (!session->landed.empty()) core_.inodes.pages_outdated(content->node);
  if (content->detached) return;
  if (code == proto::Errc::moved_on || code == proto::Errc::not_found)
    return version_is_gone(session);
  ++content->failures;
  const bool hopeless =
      code == proto::Errc::wrong_hash ? content->failures >= kWrongHashMax : !proto::retry(code);
  log_warn("a pull failed: {}", sentence.empty() ? std::string(proto::sentence(code)) : sentence);
  if (hopeless) {
    const int number =
        code == proto::Errc::wrong_hash ? EIO : errno_of(proto::make_error_code(code));
    content->failures = 0;
    content->retry_at = core_.now() + kRetryMost;
    return give_up(content, fail_errno(number, sentence));
  }
  // What readers waited for and was taken back is wanted again.
  for (const auto& reader : content->readers) {
    if (core_.waits.waiting(reader.ticket)) want_now(content, reader.range);
  }
  if (code == proto::Errc::wrong_hash) return;
  content->retry_at =
      core_.now() + std::min(kRetryMost, kRetryFirst * (1 << std::min(content->failures, 6)));
}

/// A push of changed ranges lands while the rest is pulled: with its receipt the rest is of that
/// version.
bool Pulls::moved_by_us(const SessionPtr& session) {
  const ContentPtr content = session->content;
  const auto node = core_.tree->node(content->node);
  if (!node || !node->entry || content->stale) return false;
  const bool known = node->content_base && node->content_base != session->version;
  if (!known && !core_.pushes.pushing(content->node)) return false;
  for (const auto& reader : content->readers) {
    if (core_.waits.waiting(reader.ticket)) want_now(content, reader.range);
  }
  if (!known) content->retry_at = core_.now() + kRetryFirst;
  core_.effects.wake = true;
  return true;
}

void Pulls::version_is_gone(const SessionPtr& session) {
  const ContentPtr content = session->content;
  if (moved_by_us(session)) return;
  // A fresh word, and the tree gives the entry its newer version; who has the old one open cannot
  // go on.
  core_.stats.want(content->node);
  content->retry_at = core_.now() + kRetryFirst;
  const auto node = core_.tree->node(content->node);
  // Nothing of it was ever here: who has it open may as well get the newer one, when the word has
  // come.  What has lost its name as well gets no newer one.
  const bool untouched = content->number == 0 && !content->file && !content->opening;
  if (untouched && node && node->links != 0) {
    for (const auto& reader : content->readers) want_now(content, reader.range);
    return;
  }
  const bool keeps = core_.inodes.open(content->node) || (node && node->has(store::kContentDirty));
  if (keeps) {
    give_up(content, fail_errno(ESTALE, "the server has this version no more"));
  } else {
    core_.contents.fail_readers(content, fail_errno(ESTALE));
  }
}

void Pulls::give_up(const ContentPtr& content, const Result<>& why) {
  content->want_now.clear();
  content->want_ahead.clear();
  content->want_all = false;
  core_.contents.fail_readers(content, why);
  const auto it = wanted_.find(content->node);
  if (it != wanted_.end() && it->second == content) wanted_.erase(it);
}

void Pulls::end(const SessionPtr& session, bool cancel) {
  if (session->ended) return;
  session->ended = true;
  if (cancel) core_.link.send(session->id, proto::Cancel{});
  core_.link.close_session(session->id);
  sessions_.erase(session->id);
  for (const auto& range : session->ranges) coming_ -= range.size();
  RangeSet coming;
  for (const auto& [id, other] : sessions_) {
    if (other->content != session->content) continue;
    for (const auto& range : other->ranges) coming.add(range);
  }
  session->content->in_flight = coming;
  core_.tree->set_active(session->content->node, State::pulling, false);
}

}  // namespace ebb::fusefs
