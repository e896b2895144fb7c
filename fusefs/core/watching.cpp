#include "fusefs/core/watching.h"

#include <algorithm>
#include <cerrno>

#include "base/log.h"
#include "fusefs/core/core.h"

namespace ebb::fusefs {
namespace {

/// Changes kept for folders that are being listed.  When there are more, the oldest are forgotten,
/// and the folder is listed once more by the first change that does not fit what is known.
constexpr std::size_t kRecentMax = 65536;

}  // namespace

void Watching::begin(bool continues) {
  const Epoch known = core_.settings.epoch();
  // Another past of this tree, or the first time: nothing that we know of the server's side is
  // sure.
  if (known && !continues) begin_anew();
  // Listed, and a crash came before it was recorded up to where: what happened since is told by
  // nobody.
  if (!known && core_.tree->listed(kRootNode).value_or(false)) forget_listings();
  // No listing has the root itself.
  if (!continues) core_.stats.want(kRootNode);
  caught_up_ = false;
  continues_ = continues;
  epoch_ = known;
  sequence_ = core_.settings.sequence();
  session_ = core_.link.open_session([this](Lock&, const proto::Body& body) { heard(body); });
  core_.link.send(session_,
                  proto::Watch{continues ? known : Epoch{}, continues ? sequence_ : Seq{}});
}

void Watching::lost() {
  caught_up_ = false;
  session_ = 0;
  // Told again by the next watch: what is not remembered as seen.
  held_.clear();
  recent_.clear();
  failed_.reset();
}

void Watching::heard(const proto::Body& body) {
  if (const auto* change = std::get_if<proto::Change>(&body)) return changed(*change);
  if (const auto* error = std::get_if<proto::ErrorMessage>(&body)) {
    log_warn("the server does not tell of changes: {}", error->sentence);
    caught_up_ = true;
    return core_.pushes.queue_changed();
  }
  const auto* begun = std::get_if<proto::WatchResponse>(&body);
  if (begun == nullptr) return;
  const bool first_time = !core_.settings.epoch();
  if (begun->complete || first_time) {
    core_.comparing.pump();
  } else if (continues_) {
    core_.comparing.begin();
  } else if (!forget_listings()) {
    // What is not recorded as in doubt must not count as seen.
    return;
  }
  epoch_ = begun->epoch;
  if (!begun->complete || sequence_ < begun->sequence) sequence_ = begun->sequence;
  check_caught_up();
  if (!caught_up_) ask_barrier();
}

/// Versions of another past are numbers like those of this one: a push onto one of them could
/// overwrite what we have never seen.
void Watching::begin_anew() {
  log_warn(
      "the server has another past of this tree: everything is compared, what differs is kept "
      "twice");
  core_.comparing.drop();
  core_.pushes.begin_anew();
  if (auto done = core_.tree->begin_anew(); !done) {
    log_error("what was known of the server is not forgotten: {}", done.error().message());
    return core_.link.broken(done.error());
  }
}

bool Watching::forget_listings() {
  const auto done = core_.tree->forget_listings();
  if (done) return true;
  log_error("the server's listing is not forgotten: {}", done.error().message());
  core_.link.broken(done.error());
  return false;
}

/// Not every number is a change: when nothing came before the answer to a question, nothing is to
/// come.
void Watching::ask_barrier() {
  heard_since_barrier_ = false;
  const std::uint32_t watch = session_;
  auto id = std::make_shared<std::uint32_t>(0);
  *id = core_.link.open_session([this, id, watch](Lock&, const proto::Body&) {
    core_.link.close_session(*id);
    if (caught_up_ || session_ != watch) return;
    if (heard_since_barrier_) return ask_barrier();
    caught_up_ = true;
    core_.pushes.queue_changed();
  });
  core_.link.send(*id, proto::StatFs{});
}

void Watching::changed(const proto::Change& change) {
  heard_since_barrier_ = true;
  const bool ours = change.by == core_.settings.client() && change.operation;
  if (ours && core_.pushes.awaits(change.operation)) {
    held_[change.operation].push_back(change);
  } else {
    apply(change);
  }
  sequence_ = std::max(sequence_, change.sequence);
  check_caught_up();
}

void Watching::check_caught_up() {
  if (caught_up_ || sequence_ < core_.link.seen_at_handshake()) return;
  caught_up_ = true;
  core_.pushes.queue_changed();
}

/// A change that our disk did not take must not be passed over: the connection ends, and the next
/// watch begins before it.  One that makes no sense is.
void Watching::work_in(const proto::Change& change) {
  log_debug("change {}: kind {} {}/{} entry {} version {}", change.sequence.value,
            static_cast<int>(change.kind), change.place.folder.value, change.place.name,
            change.entry.id.value, change.entry.content_version.value);
  // What was written without us is a change of ours before the server's is taken.
  core_.contents.look_at_entry(change.entry.id);
  const auto done = core_.tree->changed_by_server(change);
  if (done) return;
  log_warn("a change of the server cannot be worked in: {}", done.error().message());
  const bool senseless = is_errno(done.error(), EINVAL) || is_errno(done.error(), ENOTDIR) ||
                         is_errno(done.error(), ENOENT) || is_errno(done.error(), ESTALE) ||
                         is_errno(done.error(), ELOOP);
  if (senseless) return look_again(change);
  told_again(change, done.error());
}

void Watching::told_again(const proto::Change& change, const Error& why) {
  if (!failed_ || change.sequence < *failed_) failed_ = change.sequence;
  core_.link.broken(why);
}

/// What it told of is asked for.
void Watching::look_again(const proto::Change& change) {
  Result<> asked;
  if (const auto folder = core_.tree->of_entry(change.place.folder)) {
    asked = core_.tree->doubt(*folder);
  }
  const auto node = core_.tree->of_entry(change.entry.id);
  if (asked && node) asked = core_.tree->doubt_entry(*node);
  if (!asked) told_again(change, asked.error());
}

void Watching::apply(const proto::Change& change) {
  work_in(change);
  if (!core_.listings.under_way()) {
    recent_.clear();
    return;
  }
  recent_.push_back(change);
  if (recent_.size() > kRecentMax) recent_.pop_front();
}

void Watching::operation_ended(OpId operation) {
  const auto it = held_.find(operation);
  if (it == held_.end()) return;
  const auto changes = std::move(it->second);
  held_.erase(it);
  for (const auto& change : changes) apply(change);
}

void Watching::operation_dead(OpId operation) {
  const auto it = held_.find(operation);
  if (it == held_.end()) return;
  const auto changes = std::move(it->second);
  held_.erase(it);
  for (const auto& change : changes) look_again(change);
}

void Watching::again_after(EntryId folder, Seq sequence) {
  const std::vector<proto::Change> changes(recent_.begin(), recent_.end());
  for (const auto& change : changes) {
    const bool concerns =
        change.kind == proto::ChangeKind::entry_changed || change.place.folder == folder;
    if (change.sequence > sequence && concerns) work_in(change);
  }
}

void Watching::remember() {
  if (!epoch_ || session_ == 0 || core_.comparing.under_way()) return;
  // Not past a change that is held back: it is told again after a crash.
  Seq seen = sequence_;
  for (const auto& [operation, changes] : held_) {
    seen = std::min(seen, Seq(changes.front().sequence.value - 1));
  }
  if (failed_) seen = std::min(seen, Seq(failed_->value - 1));
  if (core_.settings.epoch() == epoch_ && seen < core_.settings.sequence()) return;
  if (auto done = core_.settings.set_seen(epoch_, seen); !done) {
    log_warn("what was seen of the server is not recorded: {}", done.error().message());
  }
}

}  // namespace ebb::fusefs
