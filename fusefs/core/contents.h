// All open contents: opening their files, reading, writing, cutting, landing what was pulled,
// settling.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "fusefs/core/lock.h"
#include "fusefs/core/open_content.h"
#include "store/node.h"

namespace ebb::fusefs {

struct Core;

/// Under the client's lock; functions that take it release it during IO.
class Contents {
 public:
  explicit Contents(Core& core) : core_(core) {}

  /// The node's content, from the record when it is not open yet.  ESTALE, EISDIR …
  Result<ContentPtr> get(NodeId node);
  ContentPtr find(NodeId node) const;
  /// Drops it from memory when only the table has it and nothing waits.
  void tidy(NodeId node);
  /// The tree may have given the node another content: then this one is detached, and so are its
  /// pulls.
  void revalidate(NodeId node);
  /// A content file is given up: its content is detached.
  void dropped(std::uint64_t number);
  /// The node lost its name to a newer version: what is not here will never come.
  void replaced(NodeId node);

  /// Opens or makes the file.  Where it turns out to be lost, what was here is here no more: who relies
  /// on that looks again.
  /// `writes`: one that is made gets its writer's mark with its number, which needs no sync.
  Result<> open_file(Lock& lock, const ContentPtr& content, bool writes = false);
  Result<std::size_t> write(Lock& lock, const ContentPtr& content, std::uint64_t offset,
                            ByteView bytes, bool append);
  Result<> set_size(Lock& lock, const ContentPtr& content, std::uint64_t size);
  /// Cuts to nothing by exchanging the file, where nobody has it open: a power cut finds the old or
  /// the new. The content is detached then.
  Result<> empty_anew(const ContentPtr& content);
  /// Before the first change of a clean content: a crash must not leave changed bytes that count as
  /// clean.
  Result<> prepare_write(Lock& lock, const ContentPtr& content);
  Result<> allocate(Lock& lock, const ContentPtr& content, int mode, Range range);
  /// The last writer is gone.
  void writers_gone(const ContentPtr& content);

  // ---- passthrough
  /// At each open, when its file has been opened where it is to be written: the first one decides.
  void decide_io(Lock& lock, const ContentPtr& content);
  /// A writer gets the file itself; from now on it may change without us, and the store knows that.
  Result<> hand_out(Lock& lock, const ContentPtr& content);
  /// A handle is closed.
  void closed(const ContentPtr& content, bool handed_out);
  /// What was written without us counts from here on.
  void look_at_file(const ContentPtr& content);
  void look_at_all();
  void look_at_entry(EntryId entry);
  /// Looks at what may be written without us, and gives up what nobody writes any more.
  void watch(bool now_all = false);
  void end_watch_if_free(const ContentPtr& content);

  /// What a pull brought.  Answers the range set that was taken, so that it can be taken back;
  /// ESTALE when the content is detached.
  Result<RangeSet> land(Lock& lock, const ContentPtr& content, std::uint64_t offset,
                        ByteView bytes);
  /// The server has it: from now on its bytes are believed after a power cut only when they were
  /// synced.  `in_doubt`: perhaps not as it was at any one moment.
  void pushed(const ContentPtr& content, bool in_doubt);
  /// Ranges of which it is known that they are zeros: here from now on, and holes in the file.
  Result<> land_holes(Lock& lock, const ContentPtr& content, const std::vector<Range>& holes);
  /// Bytes on the disk of a content that is wholly here.
  Result<std::uint64_t> allocated(NodeId node, std::uint64_t number) const;
  /// The session's hash was right: the store is told.  Or wrong: the bytes are no more here.
  Result<> checked(const ContentPtr& content, const RangeSet& landed);
  void taken_back(const ContentPtr& content, const RangeSet& landed);

  /// Content and its folder entries are on disk when it returns, and the store (not synced) knows.
  Result<> sync(Lock& lock, const ContentPtr& content);
  /// Reads a content that is wholly here and whose hash is not known, unless it is very large.
  Result<> learn_hash(Lock& lock, NodeId node);
  Time next_deadline() const { return std::min(settle_at_, watch_at_); }
  /// A writer had the file in hand at the crash: what it wrote last may not be recorded.
  void suspect(NodeId node);
  /// What was unsettled for a while is synced and believed from then on.
  void settle(Lock& lock, bool now_all = false);
  /// Wakes readers whose bytes have come.
  void answer_readers(const ContentPtr& content);
  void fail_readers(const ContentPtr& content, const Result<>& result);

 private:
  void close_some();
  Result<> room_for(std::uint64_t bytes);
  Result<> load(OpenContent& content, const store::Node& node) const;
  Result<> record_here(const ContentPtr& content);
  /// A change of the file of which the record failed, in part or as a whole.
  Result<> record_again(const ContentPtr& content);
  void note_changed(const ContentPtr& content, Range range);
  store::Extents recordable(const OpenContent& content) const;
  void close_gaps(const ContentPtr& content);
  Result<> wait_for_fewer_parts(Lock& lock, const ContentPtr& content);
  void mark_unsettled(const ContentPtr& content);
  Result<> write_again(Lock& lock, const ContentPtr& content);
  void note_sync(const ContentPtr& content, bool failed);
  void detach(const ContentPtr& content);
  void restamp(const ContentPtr& content);
  Result<> lost(const ContentPtr& content);
  void note_sparse(const ContentPtr& content);
  Result<> bring(Lock& lock, const ContentPtr& content, const std::vector<Range>& parts,
                 const std::function<Result<>(File&, Range)>& write);
  Result<> reserve(Lock& lock, const ContentPtr& content, Range range);
  std::string path_of(const ContentPtr& content) const;
  bool may_hand_out(const ContentPtr& content) const;
  void begin_watch(const ContentPtr& content);
  void look_again_in(const ContentPtr& content, Duration time);
  bool still_written(const ContentPtr& content);
  std::optional<FileStamp> stamp_after_crash(const store::Node& node) const;
  Result<> zero_out(Lock& lock, const ContentPtr& content, Range range);
  void wait_for_claims(Lock& lock, const ContentPtr& content, Range range);
  Result<> written(const ContentPtr& content, Range range, std::uint64_t new_size);
  Result<> record_written(const ContentPtr& content, Range range, std::uint64_t new_size);

  Core& core_;
  std::map<NodeId, ContentPtr> table_;
  std::uint64_t uses_ = 0;
  std::size_t opened_ = 0;  // since files were last counted and closed, with those that were open then
  std::vector<NodeId> unsettled_;
  Time settle_at_ = kNever;
  std::vector<ContentPtr> watched_;
  Time watch_at_ = kNever;
  std::uint64_t room_checked_ =
      0;  // bytes that may be written before free space is looked at again
};

}  // namespace ebb::fusefs
