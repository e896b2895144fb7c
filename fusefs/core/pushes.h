// Bringing changes to the server: the nodes of the tree's queue, in order, when they have rested.
//
// An operation id is recorded and on disk before it is sent; a step that was sent is repeated,
// after a broken connection or a restart, under the same id, so that the server does it once.  A
// receipt is worked into the tree, and only when that is on disk the server is told that it may
// forget it.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <unordered_map>
#include <vector>

#include "base/hash.h"
#include "base/snapshot.h"
#include "fusefs/core/chunk_match.h"
#include "fusefs/core/lock.h"
#include "fusefs/core/open_content.h"
#include "fusefs/core/step.h"
#include "fusefs/core/tree.h"
#include "proto/messages.h"
#include "proto/session_hash.h"

namespace ebb::fusefs {

struct Core;

/// Operations under way at once; more would only lengthen what has to be repeated.
inline constexpr std::size_t kOperationsMax = 256;
/// More content than this waits for the server's word before it follows.
inline constexpr std::uint64_t kSendUnasked = 1u << 20;

/// Under the client's lock; functions that take it release it while they read or sync, and are
/// called by the driver's thread alone.
class Pushes {
 public:
  explicit Pushes(Core& core) : core_(core) {}

  /// After the store was opened: operations of the last run whose answers are not known.
  void load();
  void ready();
  void lost();
  /// No answer is expected any more: the server is not the one that was asked.
  void begin_anew();
  /// Everything is due from now on.
  void hurry();
  /// This node, and what is beneath it, is due now.
  void hurry(NodeId node);
  /// Nobody waits for it any more.
  void unhurry(NodeId node) { forced_.erase(node); }
  /// A descriptor was closed: with delay 0 the node is due.
  void flushed(NodeId node);
  void queue_changed();
  /// All of its content is here: a push that waited for that need not wait any longer.
  void content_came(NodeId node);
  /// Somebody reads it: a file that is made meanwhile may be a copy of it.
  void read_from(NodeId node, std::uint64_t size);

  void pump(Lock& lock);
  Time next_deadline() const;
  bool idle() const { return operations_.empty() && finishes_.empty(); }
  bool pushing(NodeId node) const { return by_node_.count(node) != 0; }
  /// It cannot be pushed before something else that is in conflict or error.
  bool blocked(NodeId node) const { return blocked_.count(node) != 0; }
  /// Why it still waits, as far as that is known; empty when only its delay runs.
  std::string why_waiting(NodeId node) const;
  /// Whether the answer of this operation is still to come.
  bool awaits(OpId operation) const { return unanswered_.count(operation) != 0; }

 private:
  /// Of a content: what is sent, and what of the rest is holes.
  struct Parts {
    std::vector<Range> ranges;
    std::vector<Range> holes;
  };
  struct Operation {
    OpId id;
    Step step;
    enum class Phase { begun, recorded, sent } phase = Phase::begun;
    std::uint32_t session = 0;
    std::optional<proto::Mutate> mutate;  // every kind of step but a push

    // A push.
    ContentPtr content;
    std::optional<Snapshot> frozen;  // of a file that others may write meanwhile
    bool freezing = false;           // somebody is at it, without the lock
    bool froze = false;              // it was tried since this was last to be sent
    bool moved = false;              // it was written just then
    std::uint64_t size = 0;          // as announced
    std::shared_ptr<File> file() const { return frozen ? frozen->file : content->file; }
    std::uint64_t content_size() const { return frozen ? frozen->size : content->size; }
    std::uint64_t writes = 0;  // as they were when sending began
    std::uint64_t flushes = 0;
    std::uint64_t resume_at = 0;  // the server has the bytes before it
    std::optional<proto::SessionHash> hash;
    std::uint64_t passed = 0;  // bytes of the session that are read
    /// Of the whole content, holes as well, where the session's own is not.
    Xxh3Stream whole;
    std::uint64_t whole_at = 0;
    bool may_send =
        false;  // the server has accepted, or the file is small enough not to wait for that
    bool hash_sent = false;
    bool probe = false;  // the content is gone: only asks whether the server has done it
    /// A delta: what the server has is being compared; then what comes of that.
    std::shared_ptr<ChunkMatch> match;
    EntryId source;  // with what it is compared
    Version source_version;
    Patch patch;
    bool delta_done = false;                   // it is known how it is sent
    std::optional<Parts> parts;                // what travels, where it is not the whole
    bool repeated = false;                     // it was sent on an earlier connection
    std::optional<std::uint64_t> whole_known;  // the hash of all, from comparing
    /// The hash of all is known without what is read for it, or not needed.
    bool knows_whole() const { return parts || whole_known || hash->whole(); }
    bool all_read() const { return hash->complete() && (knows_whole() || whole_at == size); }
    bool is_ours(const StepReceipt& known) const { return parts || known.hash == whole_hash(); }
    std::uint64_t whole_hash() const {
      if (whole_known) return *whole_known;
      return hash->whole() ? hash->digest() : whole.digest();
    }
    bool as_read = false;  // changes all the time: sent as it is read
    std::optional<StepReceipt>
        early;  // the answer to a repetition, before all was sent: hashed, not sent
  };
  using OperationPtr = std::shared_ptr<Operation>;
  struct Retry {
    Time at{};
    int failures = 0;
    int refusals = 0;
    bool whole = false;  // a delta was refused
    std::string why;
  };

  // pushes.cpp: which node is next
  void begin_due();
  Time rested(Time now, WallNs changed, Duration rest) const;
  Time due_at(Time now, const Queued& queued, const store::Node& node) const;
  bool forced(NodeId node) const;
  bool begin_node(NodeId node, int depth);
  bool begin_behind(NodeId node, NodeId other, int depth);
  void leave_queue(NodeId node);
  bool begin(const Step& step);
  bool begin_content(const OperationPtr& operation, bool repeats);
  Result<OpId> operation_for(const Step& step);
  proto::Mutate mutation(const Step& step) const;
  std::uint8_t attribute_bits() const;
  proto::Attributes attributes_of(NodeId node) const;
  void later(NodeId node, Duration at_least, std::string why = {});
  bool waits_for_answer(const Step& step) const;
  void forget_dead();
  void forget(const OperationPtr& operation);

  // push_sessions.cpp: the talk with the server
  bool record(Lock& lock);
  void send_recorded(Lock& lock);
  bool is_written_beside(const OperationPtr& operation);
  void freeze(Lock& lock, const OperationPtr& operation);
  bool take_frozen(Lock& lock, const OperationPtr& operation, const ContentPtr& content);
  bool send_begin(Lock& lock, const OperationPtr& operation);
  bool send_content(Lock& lock, const OperationPtr& operation);
  proto::FileSyncInit init_of(const OperationPtr& operation) const;
  void begin_session(const OperationPtr& operation, const std::vector<Range>& ranges);
  void stream(Lock& lock);
  bool stream_one(Lock& lock, const OperationPtr& operation);
  bool hash_hole(Lock& lock, const OperationPtr& operation, std::uint64_t end);
  bool still_same(const OperationPtr& operation) const;
  void heard(const OperationPtr& operation, const proto::Body& body);
  void content_answered(const OperationPtr& operation, StepReceipt known);
  void init_answered(const OperationPtr& operation, const proto::FileSyncInitResponse& response);
  void receipt(const OperationPtr& operation, const StepReceipt& receipt);
  void note_pushed(const OperationPtr& operation, const StepReceipt& receipt);
  void refused(const OperationPtr& operation, proto::Errc code, const std::string& sentence);
  void contradicted(const OperationPtr& operation, proto::Errc code, const std::string& sentence);
  void plan_anew(const OperationPtr& operation);
  void ended(const OperationPtr& operation, const Result<>& recorded);
  void put_off(const OperationPtr& operation);
  OpId answered() const;

  // push_parts.cpp
  std::optional<RangeSet> changed_parts(const Step& step, const OpenContent& content) const;
  bool begin_parts(const OperationPtr& operation, const ContentPtr& content);
  bool parts_are_outdated(const OperationPtr& operation) const;
  std::optional<bool> send_parts(Lock& lock, const OperationPtr& operation,
                                 const ContentPtr& content);
  static Parts split(const RangeSet& changed, const std::shared_ptr<File>& file);

  // push_delta.cpp
  bool has_delta(const OperationPtr& operation) const;
  bool find_source(const OperationPtr& operation) const;
  void ask_chunks(const OperationPtr& operation);
  void heard_chunks(const OperationPtr& operation, const proto::Body& body);
  void begin_whole(const OperationPtr& operation);
  bool match_one(Lock& lock, const OperationPtr& operation);
  static std::uint64_t place_for(const Patch& patch, std::uint64_t at,
                                 const std::vector<std::uint64_t>& places);
  bool is_under_way(const OperationPtr& operation) const;
  bool send_delta(const OperationPtr& operation);

  Core& core_;
  std::map<OpId, OperationPtr> operations_;
  std::unordered_map<NodeId, OpId> by_node_;
  std::map<OpId, Step> unanswered_;  // given, and the answer is not worked in
  std::set<OpId> outstanding_;       // given, and the answer is not worked in and on disk
  std::vector<std::uint32_t>
      finishes_;  // sessions whose receipts are worked in and not on disk yet
  std::vector<OpId> answered_not_on_disk_;
  std::unordered_map<NodeId, Retry> retries_;
  std::set<NodeId> forced_;  // due now, with all beneath
  std::set<NodeId> flushed_;
  std::set<NodeId> blocked_;
  std::deque<NodeId> read_lately_;
  bool hurry_ = false;
  bool window_full_ = false;
  bool hashing_ = false;  // in the middle of a large hole
  OpId last_streamed_;
  Time scan_at_ = kNever;
  Time sync_at_ = kNever;
};

/// True when the node stands at or beneath `root`, by its names on either side.
bool beneath(const Core& core, NodeId node, NodeId root);

}  // namespace ebb::fusefs
