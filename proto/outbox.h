// What waits to be sent, and in which order it goes.  ebb-protocol(7), "Order".
#pragma once

#include <cstdint>
#include <deque>
#include <list>
#include <unordered_map>
#include <utility>

#include "base/bytes.h"
#include "proto/packet.h"
#include "proto/packing.h"

namespace ebb::proto {

/// Not thread-safe.  The rule:
///
/// - A message of session 0 goes before all others; these keep their order.
/// - FileSyncData, packed or not, opens a lane for its session.  While a session has a lane,
/// everything it sends is appended
///   to that lane, so nothing overtakes data of its own session.  A lane that is empty is gone.
/// - Everything else is in one queue, the ordered one, and keeps its order ACROSS sessions: two
/// mutations leave
///   as they were sent, and a change leaves before the listing that was sent after it.  Nothing of
///   a lane overtakes what was in the ordered queue when the lane was opened.
/// - Order between lanes, or between a lane and the ordered queue afterwards, is not promised.
///
/// Packets are taken from the ordered queue, but after kOrderedBurst of them one from a lane; lanes
/// take turns by packet.  So no amount of data delays a request, and no listing stops data.  At
/// most one message that spans packets is under way at a time, so the other side keeps at most one
/// unfinished message of ours.
class Outbox {
 public:
  static constexpr int kOrderedBurst = 4;
  /// What a queued message costs beside its bytes.
  static constexpr std::size_t kOverhead = 64;

  /// `unasked`: an answer that the other side provoked and the owner of the connection does not
  /// know of.
  void push(std::uint32_t session, Type type, Bytes body, bool unasked = false);
  /// The same of bytes that have room for the packet's header before the body: what fits a packet
  /// leaves without a copy.
  void push_roomed(std::uint32_t session, Type type, Bytes bytes);
  bool empty() const { return messages_ == 0; }
  /// Bytes waiting, with kOverhead for each message.
  std::size_t size() const { return size_; }
  /// Messages that were pushed as unasked and have not left.
  std::size_t unasked() const { return unasked_; }

  /// Content of files in the messages that have left since the last call.
  ContentLeft take_left() { return std::exchange(left_, {}); }

  /// Appends the next packet, of at most packet_max bytes; needs !empty().
  void pop_packet(std::uint32_t packet_max, Bytes& out);
  /// Drops everything, what is half sent too: for a connection that ends.
  void clear();

 private:
  struct Outgoing {
    std::uint32_t session = 0;
    Type type = Type::error;
    Bytes bytes;
    std::size_t begin = 0;      // of the body in the bytes
    std::size_t size = 0;       // of the body
    std::uint64_t content = 0;  // bytes of a file in it
    bool unasked = false;
    std::size_t sent = 0;
  };
  using Queue = std::deque<Outgoing>;
  struct Lane {
    std::uint32_t session = 0;
    std::uint64_t after = 0;  // goes when so many ordered messages have left
    Queue queue;
  };
  using Lanes = std::list<Lane>;  // the next to have its turn is first

  void add(Outgoing message);
  Queue& choose(std::uint32_t packet_max);
  Queue* next_lane(std::uint32_t packet_max);
  bool may_go(const Queue& queue, std::uint32_t packet_max) const;
  static void write_packet(Outgoing& message, std::uint32_t packet_max, Bytes& out);
  void finished(Queue& queue);

  Queue connection_;
  Queue ordered_;
  Lanes lanes_;
  std::unordered_map<std::uint32_t, Lanes::iterator> lane_of_;
  std::uint64_t ordered_pushed_ = 0;
  std::uint64_t ordered_left_ = 0;
  int burst_ = 0;                     // packets of ordered_ since one of a lane
  const Queue* under_way_ = nullptr;  // has begun a message that spans packets
  std::size_t messages_ = 0;
  std::size_t unasked_ = 0;
  std::size_t size_ = 0;
  ContentLeft left_;
};

}  // namespace ebb::proto
