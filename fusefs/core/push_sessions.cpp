// The talk with the server about operations that are recorded: requests, contents, receipts,
// refusals.

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/log.h"
#include "base/sparse.h"
#include "fusefs/core/core.h"
#include "fusefs/core/pushes.h"

namespace ebb::fusefs {
namespace {

/// Content waits when this much has not left yet, so that a reader's request does not stand behind
/// it.
constexpr std::size_t kOutboxEnough = 2u << 20;
/// Bytes of one content read and sent before the next one's turn.
constexpr std::size_t kTurn = 1u << 20;
/// Bytes of a hole that are hashed in one turn.
constexpr std::uint64_t kHoleTurn = std::uint64_t{4} << 30;
constexpr Duration kRetryFirst = std::chrono::milliseconds(500);
constexpr Duration kAnsweredAfter = std::chrono::milliseconds(500);
/// So often a step is planned anew after the server contradicted, before it counts as a conflict.
constexpr int kRefusalsMax = 4;

/// What the user is told while it is tried again.
std::string reason_of(proto::Errc code, const std::string& why) {
  const auto meaning = std::string(proto::sentence(code));
  return why == meaning ? meaning : meaning + " (" + why + ")";
}

}  // namespace

bool Pushes::record(Lock& lock) {
  std::vector<OperationPtr> begun;
  for (const auto& [id, operation] : operations_) {
    if (operation->phase == Operation::Phase::begun) begun.push_back(operation);
  }
  const bool answers = !answered_not_on_disk_.empty() && core_.now() >= sync_at_;
  if (begun.empty() && !answers) return false;
  const auto answered = std::exchange(answered_not_on_disk_, {});
  const auto finishes = std::exchange(finishes_, {});
  sync_at_ = kNever;
  Result<> synced;
  {
    const Unlocked open(lock);
    synced = core_.store->sync();
  }
  if (!synced) {
    log_warn("the store is not on disk, nothing is pushed: {}", synced.error().message());
    for (const auto& operation : begun) put_off(operation);
    answered_not_on_disk_.insert(answered_not_on_disk_.end(), answered.begin(), answered.end());
    finishes_.insert(finishes_.end(), finishes.begin(), finishes.end());
    if (!answered_not_on_disk_.empty()) sync_at_ = core_.now() + kAnsweredAfter;
    return false;
  }
  for (const auto& operation : begun) {
    if (operation->phase == Operation::Phase::begun) operation->phase = Operation::Phase::recorded;
  }
  for (const OpId id : answered) outstanding_.erase(id);
  for (const auto session : finishes) {
    core_.link.send(session, proto::FileSyncFinish{});
    core_.link.close_session(session);
  }
  return true;
}

OpId Pushes::answered() const {
  if (outstanding_.empty()) return {};
  return OpId(outstanding_.begin()->value - 1);
}

void Pushes::send_recorded(Lock& lock) {
  const auto all = operations_;
  for (const auto& [id, operation] : all) {
    if (operation->phase != Operation::Phase::recorded || operation->freezing) continue;
    if (!core_.link.can_send()) return;
    if (!operation->froze && is_written_beside(operation)) freeze(lock, operation);
    // The lock was free: it may be over, or the connection.
    const auto it = operations_.find(id);
    const bool same = it != operations_.end() && it->second == operation &&
                      operation->phase == Operation::Phase::recorded;
    if (!same || operation->freezing || !core_.link.can_send()) continue;
    if (operation->moved || !send_begin(lock, operation)) put_off(operation);
  }
}

/// Others may write the content without us: it is pushed as it was at one moment.
bool Pushes::is_written_beside(const OperationPtr& operation) {
  operation->frozen.reset();
  if (operation->step.kind != StepKind::push || operation->probe) return false;
  const auto found = core_.contents.get(operation->step.node);
  if (!found || !(*found)->watched || !(*found)->whole) return false;
  core_.contents.look_at_file(*found);
  core_.contents.end_watch_if_free(*found);
  return (*found)->watched;
}

/// Syncing and copying take as long as the disk likes, and the link's thread has others to serve.
void Pushes::freeze(Lock& lock, const OperationPtr& operation) {
  const auto found = core_.contents.get(operation->step.node);
  if (!found) return;
  operation->freezing = true;
  core_.run_slowly(lock, [this, operation, content = *found](Lock& held) {
    operation->moved = !take_frozen(held, operation, content);
    operation->freezing = false;
    operation->froze = true;
    core_.effects.wake = true;
  });
}

/// False: it was written just then, or cannot be synced.
bool Pushes::take_frozen(Lock& lock, const OperationPtr& operation, const ContentPtr& content) {
  const std::uint64_t flushes = content->flushes;
  // What is pushed is here after a power cut, too, or what is left then would be taken for a
  // change.
  if (!core_.contents.sync(lock, content)) return false;
  const std::string path = core_.content_files.path(content->number);
  Result<Snapshot> taken = fail_errno(EIO);
  {
    const Unlocked open(lock);
    taken = take_snapshot(core_.seams.io, path, core_.options.state_folder + "/snapshot");
  }
  // Where no copy can be made it is read in place, and looked at meanwhile.
  if (!taken) return true;
  if (content->detached) return false;
  const bool as_read = operation->as_read && content->flushes == flushes;
  if (!taken->consistent && !as_read) return false;
  operation->frozen = std::move(*taken);
  return true;
}

bool Pushes::send_begin(Lock& lock, const OperationPtr& operation) {
  const Step& step = operation->step;
  if (parts_are_outdated(operation)) operation->probe = true;
  if (!operation->mutate && !operation->probe) return send_content(lock, operation);
  operation->phase = Operation::Phase::sent;
  operation->session = core_.link.open_session(
      [this, operation](Lock&, const proto::Body& body) { heard(operation, body); });
  if (operation->mutate) {
    operation->mutate->operation.answered = answered();
    return core_.link.send(operation->session, *operation->mutate);
  }
  proto::FileSyncInit question;
  question.operation = {operation->id, answered()};
  question.entry = step.entry;
  if (!step.entry) question.place = step.place;
  question.content_version = step.content_version;
  question.size = 1;
  question.ranges = {{0, 1}};
  return core_.link.send(operation->session, question);
}

/// Another content may stand there since it was recorded: it is pushed under the same id, and the
/// receipt's hash tells which of them the server has.
bool Pushes::send_content(Lock& lock, const OperationPtr& operation) {
  const Step& step = operation->step;
  auto content = core_.contents.get(step.node);
  if (!content) return false;
  operation->content = std::move(*content);
  const ContentPtr held = operation->content;
  if (const auto sent = send_parts(lock, operation, held)) return *sent;
  if (!held->whole) return false;
  if (held->size >= kHoleLeast && !operation->frozen) {
    // Only an open file tells where its holes are.
    if (auto done = core_.contents.open_file(lock, held); !done) return false;
    const auto it = operations_.find(operation->id);
    if (it == operations_.end() || it->second != operation) return true;
    if (held->detached || !held->whole || !core_.link.can_send()) return false;
  }
  proto::FileSyncInit init = init_of(operation);
  const Range all{0, init.size};
  const std::shared_ptr<File> file = operation->file();
  if (init.size != 0) init.ranges = {all};
  if (init.size >= kHoleLeast && file) init.ranges = file->data_in(all, proto::kRangesMax / 2);
  init.holes = between(all, init.ranges);
  const bool compares = init.holes.empty() && !operation->frozen && has_delta(operation);
  if (compares && find_source(operation)) return ask_chunks(operation), true;
  operation->writes = held->writes;
  begin_session(operation, init.ranges);
  operation->may_send = init.size <= kSendUnasked;
  return core_.link.send(operation->session, init);
}

proto::FileSyncInit Pushes::init_of(const OperationPtr& operation) const {
  const Step& step = operation->step;
  proto::FileSyncInit init;
  init.operation = {operation->id, answered()};
  init.entry = step.entry;
  if (!step.entry) init.place = step.place;
  init.content_version = step.content_version;
  init.attributes_version = step.attributes_version;
  init.size = operation->content_size();
  init.attribute_bits = attribute_bits();
  init.attributes = attributes_of(step.node);
  return init;
}

void Pushes::begin_session(const OperationPtr& operation, const std::vector<Range>& ranges) {
  operation->phase = Operation::Phase::sent;
  operation->session = core_.link.open_session(
      [this, operation](Lock&, const proto::Body& body) { heard(operation, body); });
  operation->passed = operation->whole_at = 0;
  operation->whole = {};
  operation->size = operation->content_size();
  operation->flushes = operation->content->flushes;
  operation->hash.emplace(operation->size, ranges);
  core_.changed_ranges.push_begins(operation->content->number);
}

void Pushes::stream(Lock& lock) {
  // In turns, beginning behind the one that was last, so that a big file does not hold up the
  // others.
  for (bool more = true; more;) {
    more = false;
    std::vector<OperationPtr> order;
    for (const auto& [id, operation] : operations_) {
      if (operation->content && operation->phase == Operation::Phase::sent)
        order.push_back(operation);
    }
    const auto behind = std::find_if(order.begin(), order.end(),
                                     [&](const auto& one) { return one->id > last_streamed_; });
    std::rotate(order.begin(), behind, order.end());
    for (const auto& operation : order) {
      if (!core_.link.can_send() || core_.link.outbox_bytes() > kOutboxEnough) return;
      if (stream_one(lock, operation)) more = true;
      last_streamed_ = operation->id;
      if (!std::exchange(hashing_, false)) continue;
      scan_at_ = core_.now();
      return;
    }
  }
}

/// Goes on in the whole content's hash over a hole, for one turn; true when it is passed.
bool Pushes::hash_hole(Lock& lock, const OperationPtr& operation, std::uint64_t end) {
  if (operation->knows_whole() || operation->whole_at == end) return true;
  const std::uint64_t step = std::min(end - operation->whole_at, kHoleTurn);
  const std::uint32_t session = operation->session;
  Xxh3Stream whole = std::move(operation->whole);
  {
    const Unlocked open(lock);
    whole.zeros(step);
  }
  if (operation->session != session) return false;  // lost: it begins anew
  operation->whole = std::move(whole);
  operation->whole_at += step;
  if (operation->whole_at == end) return true;
  // The link has its turn, too: who asks whether we live must not wait for a whole content.
  hashing_ = true;
  return false;
}

/// One turn; true when there is more to send.
bool Pushes::stream_one(Lock& lock, const OperationPtr& operation) {
  if (operation->match) return match_one(lock, operation);
  const bool ready = operation->may_send || operation->early;
  if (!ready || operation->hash_sent || !operation->hash) return false;
  const ContentPtr content = operation->content;
  core_.contents.look_at_file(content);
  if (!still_same(operation)) return put_off(operation), false;
  const std::uint32_t session = operation->session;
  const auto current = [&] { return operation->session == session && session != 0; };
  const std::size_t most = core_.link.ready() ? core_.link.data_max() : 0;
  Bytes buffer(std::min<std::uint64_t>(most, operation->hash->left()));
  for (std::size_t sent = 0; sent < kTurn && current() && !operation->hash->complete();) {
    if (!core_.link.can_send()) return false;
    const std::uint64_t offset = operation->hash->offset();
    if (!hash_hole(lock, operation, offset)) return current();
    std::uint64_t left = std::min<std::uint64_t>(buffer.size(), operation->hash->left());
    // Nothing that is sent begins before what the server has.
    if (operation->passed < operation->resume_at) {
      left = std::min(left, operation->resume_at - operation->passed);
    }
    if (!operation->frozen) {
      if (!core_.contents.open_file(lock, content)) return put_off(operation), false;
      if (!current()) return false;
      if (!content->is_here({offset, offset + left})) return put_off(operation), false;
    }
    Result<std::size_t> got = std::size_t{0};
    {
      const std::shared_ptr<File> file = operation->file();
      if (!file) return put_off(operation), false;
      const Unlocked open(lock);
      got = file->read_at(offset, std::span(buffer).first(left));
    }
    if (!current()) return false;
    core_.contents.look_at_file(content);
    if (!got || *got == 0 || !still_same(operation)) return put_off(operation), false;
    const ByteView bytes = std::span(buffer).first(*got);
    operation->hash->update(offset, bytes);
    if (!operation->knows_whole()) operation->whole.update(bytes);
    operation->whole_at = offset + *got;
    operation->passed += *got;
    sent += *got;
    if (operation->early || operation->passed <= operation->resume_at) continue;
    if (!core_.link.send_data(session, offset, bytes)) {
      return put_off(operation), false;
    }
  }
  if (!current()) return false;
  if (!operation->hash->complete() || !hash_hole(lock, operation, operation->size))
    return current();
  if (operation->early) {
    StepReceipt known = *operation->early;
    known.content_is_ours = operation->is_ours(known);
    receipt(operation, known);
    return false;
  }
  if (!core_.link.can_send()) return false;
  operation->hash_sent =
      core_.link.send(session, proto::FileSyncCheckHash{operation->hash->digest()});
  return false;
}

bool Pushes::still_same(const OperationPtr& operation) const {
  const OpenContent& content = *operation->content;
  if (content.detached || (!content.whole && !operation->parts)) return false;
  if (operation->frozen) return true;
  if (!content.writing.empty()) return false;
  if (content.writes == operation->writes) return true;
  // Past its deadline a state that nobody has marked by flush or fsync may be sent as it is read;
  // its size is what was announced.
  return operation->as_read && content.flushes == operation->flushes &&
         content.size == operation->size;
}

void Pushes::heard(const OperationPtr& operation, const proto::Body& body) {
  if (operation->session == 0) return;
  if (const auto* answer = std::get_if<proto::MutateResponse>(&body)) {
    if (answer->code != proto::Errc::ok) return refused(operation, answer->code, answer->sentence);
    return receipt(operation,
                   {answer->entry, answer->content_version, answer->attributes_version, 0, true});
  }
  if (const auto* accepted = std::get_if<proto::FileSyncInitResponse>(&body)) {
    return init_answered(operation, *accepted);
  }
  if (const auto* answer = std::get_if<proto::FileSyncCheckHashResponse>(&body)) {
    if (answer->code != proto::Errc::ok) return refused(operation, answer->code, answer->sentence);
    const StepReceipt known{answer->entry, answer->content_version, answer->attributes_version,
                            answer->hash, true};
    return content_answered(operation, known);
  }
  if (const auto* error = std::get_if<proto::ErrorMessage>(&body)) {
    return refused(operation, error->code, error->sentence);
  }
}

void Pushes::content_answered(const OperationPtr& operation, StepReceipt known) {
  if (operation->probe) {
    known.content_is_ours = false;
    return receipt(operation, known);
  }
  if (!operation->hash) return put_off(operation);
  if (!operation->all_read()) {
    operation->early = known;
    core_.effects.wake = true;
    return;
  }
  known.content_is_ours = operation->is_ours(known);
  receipt(operation, known);
}

void Pushes::init_answered(const OperationPtr& operation,
                           const proto::FileSyncInitResponse& response) {
  if (response.code != proto::Errc::ok) {
    return refused(operation, response.code, response.sentence);
  }
  if (operation->probe) {
    // Not done, and what it was to push is gone: nothing is sent, and the node is planned anew.
    if (response.resume_at == 0) {
      core_.link.send(operation->session, proto::Cancel{});
      return plan_anew(operation);
    }
    core_.link.send(operation->session, proto::FileSyncCheckHash{});
    return;
  }
  if (operation->hash && operation->passed == 0) operation->resume_at = response.resume_at;
  operation->may_send = true;
  core_.effects.wake = true;
}

void Pushes::receipt(const OperationPtr& operation, const StepReceipt& receipt) {
  const std::uint32_t session = operation->session;
  const bool content = operation->step.kind == StepKind::push;
  log_debug("operation {} is done: entry {} version {}", operation->id.value, receipt.entry.value,
            receipt.content_version.value);
  const Result<> done = core_.tree->step_done(operation->step, receipt);
  retries_.erase(operation->step.node);
  const bool certain = operation->frozen && operation->frozen->consistent;
  if (content && done && operation->content) {
    core_.contents.pushed(operation->content, !certain);
    note_pushed(operation, receipt);
  }
  if (content && done) {
    // The session stays open until its receipt is on disk and may be acknowledged.
    finishes_.push_back(session);
    operation->session = 0;
  }
  ended(operation, done);
}

/// What has changed since then is what the next push has to bring.
void Pushes::note_pushed(const OperationPtr& operation, const StepReceipt& receipt) {
  const std::uint64_t number = operation->content->number;
  const auto node = core_.tree->node(operation->step.node);
  const bool goes_on = receipt.content_is_ours && node && node->content == number &&
                       node->has(store::kContentDirty) &&
                       node->content_base == receipt.content_version;
  if (!goes_on) return core_.changed_ranges.forget(number);
  core_.changed_ranges.pushed(number, node->entry, node->content_base);
}

void Pushes::ended(const OperationPtr& operation, const Result<>& recorded) {
  const OpId id = operation->id;
  forget(operation);
  // An answer that is not recorded is asked for again under the same id.
  if (!recorded) {
    log_warn("an answer of the server is not recorded: {}", recorded.error().message());
    return later(operation->step.node, kRetryFirst);
  }
  unanswered_.erase(id);
  answered_not_on_disk_.push_back(id);
  sync_at_ = std::min(sync_at_, core_.now() + kAnsweredAfter);
  core_.watching.operation_ended(id);
  scan_at_ = core_.now();
}

void Pushes::put_off(const OperationPtr& operation) {
  if (operation->session != 0) core_.link.send(operation->session, proto::Cancel{});
  const NodeId node = operation->step.node;
  forget(operation);
  later(node, std::max<Duration>(kRetryFirst, core_.options.delay));
}

void Pushes::refused(const OperationPtr& operation, proto::Errc code, const std::string& sentence) {
  const std::string why = sentence.empty() ? std::string(proto::sentence(code)) : sentence;
  const Step& step = operation->step;
  // What a delta is refused for may be no contradiction: its source moved on, or was not what it
  // was taken for.  And only of a whole content the server says whether it has the same.
  const bool in_parts = operation->parts && operation->content && operation->content->whole;
  if ((operation->whole_known || in_parts) && code != proto::Errc::busy) {
    log_info("a delta is refused, the whole is sent: {}", why);
    retries_[step.node].whole = true;
    forget(operation);
    return later(step.node, {});
  }
  switch (code) {
    case proto::Errc::moved_on:
    case proto::Errc::exists:
    case proto::Errc::not_found:
    case proto::Errc::not_empty:
    case proto::Errc::not_folder:
    case proto::Errc::is_folder:
    case proto::Errc::would_cycle:
      return contradicted(operation, code, why);
    default:
      break;
  }
  const NodeId node = step.node;
  if (proto::retry(code)) {
    log_info("a push is tried again: {}", why);
    forget(operation);
    return later(node, kRetryFirst, reason_of(code, why));
  }
  log_warn("a push is refused: {}", why);
  ended(operation, core_.tree->step_refused(step, false, why));
}

/// The server knows something that we do not.  Where it is clear what, both sides are kept; else
/// its changes tell, and the step is planned anew.
void Pushes::contradicted(const OperationPtr& operation, proto::Errc code, const std::string& why) {
  const Step step = operation->step;
  const bool removes = step.kind == StepKind::remove;
  const bool gone = code == proto::Errc::not_found;
  const int refusals = ++retries_[step.node].refusals;
  log_debug("operation {} is contradicted: {}, {}", operation->id.value, proto::sentence(code),
            why);
  if (gone && (removes || (step.kind == StepKind::push && refusals >= kRefusalsMax))) {
    return ended(operation, core_.tree->step_moot(step));
  }
  // What the names are now is asked for, also when this connection or this process ends first.
  for (const NodeId folder : {step.place_folder, step.from_folder}) {
    if (core_.tree->doubt(folder)) continue;
    forget(operation);
    return later(step.node, kRetryFirst);
  }
  // An edit wins against a deletion: what was changed there meanwhile is not removed with a newer
  // version.
  // What the server has not told us of may be no other content, but its own record that was behind
  // its disk.
  const auto node = core_.tree->node(step.node);
  const bool newer = step.kind == StepKind::push && step.entry && code == proto::Errc::moved_on &&
                     node && node->content_server > node->content_base;
  // It stays under another name: the removal is repeated with the newer version.
  const bool further = removes && node && node->links != 0 && !node->has(store::kContentDirty);
  const bool clear = (removes && !further) || newer || core_.tree->place_taken(step);
  if (clear || refusals >= kRefusalsMax) {
    log_info("a push contradicts the server: {}", why);
    return ended(operation, core_.tree->step_refused(step, true, why));
  }
  plan_anew(operation);
}

/// The refused operation is over; the node is looked at again when the server's word has come.
void Pushes::plan_anew(const OperationPtr& operation) {
  const Step step = operation->step;
  if (!core_.tree->doubt_entry(step.node)) {
    forget(operation);
    return later(step.node, kRetryFirst);
  }
  Step over;
  over.node = step.node;
  ended(operation, core_.tree->step_moot(step.entry ? over : step));
  later(step.node, kRetryFirst);
}

}  // namespace ebb::fusefs
