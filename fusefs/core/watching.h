// The server's changes, as they are told: applied to the tree in order, remembered by sequence.
//
// Two things hold a change back.  A change that is the echo of an operation of ours whose receipt
// has not come would look like somebody else's: it waits for the receipt.  And a change that
// arrives while a folder is being listed may be newer than the page it stands on: it is applied at
// once, and once more after the list.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <vector>

#include "fusefs/core/lock.h"
#include "proto/messages.h"

namespace ebb::fusefs {

struct Core;

/// Under the client's lock.
class Watching {
 public:
  explicit Watching(Core& core) : core_(core) {}

  /// A connection has been made.  `continues`: its history knows what we have seen.
  void begin(bool continues);
  void lost();
  /// Everything that had happened before this connection was made is known.  Nothing is pushed
  /// before that.
  bool caught_up() const { return caught_up_; }
  /// The receipt of an operation has been worked in, or the operation is given up.
  void operation_ended(OpId operation);
  /// Nobody waits for its receipt any more: what it did is looked at anew, because what came after it is known.
  void operation_dead(OpId operation);

  /// A folder's listing has been worked in: changes of it that are newer than `sequence` once more.
  void again_after(EntryId folder, Seq sequence);
  /// At the end of a batch of messages: how far we have seen, into the store.
  void remember();
  /// The last change known, for what a listing may miss.
  Seq sequence() const { return sequence_; }

 private:
  void heard(const proto::Body& body);
  void changed(const proto::Change& change);
  void apply(const proto::Change& change);
  void work_in(const proto::Change& change);
  void told_again(const proto::Change& change, const Error& why);
  void look_again(const proto::Change& change);
  void check_caught_up();
  bool forget_listings();
  void begin_anew();
  void ask_barrier();

  Core& core_;
  std::uint32_t session_ = 0;
  bool caught_up_ = false;
  bool continues_ = false;  // the server has the past that we know
  bool heard_since_barrier_ = false;
  Epoch epoch_;
  Seq sequence_;
  std::map<OpId, std::vector<proto::Change>> held_;
  std::deque<proto::Change> recent_;
  std::optional<Seq>
      failed_;  // the first change that could not be kept: told again by the next watch
};

}  // namespace ebb::fusefs
