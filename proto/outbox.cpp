#include "proto/outbox.h"

#include <algorithm>

#include "base/check.h"

namespace ebb::proto {

void Outbox::push(std::uint32_t session, Type type, Bytes body, bool unasked) {
  const std::size_t size = body.size();
  const std::uint64_t content = content_in(type, body);
  add({session, type, std::move(body), 0, size, content, unasked, 0});
}

void Outbox::push_roomed(std::uint32_t session, Type type, Bytes bytes) {
  const std::size_t begin = sizeof(PacketHeader);
  const std::size_t size = bytes.size() - begin;
  const std::uint64_t content = content_in(type, ByteView(bytes).subspan(begin));
  add({session, type, std::move(bytes), begin, size, content, false, 0});
}

void Outbox::add(Outgoing message) {
  const std::uint32_t session = message.session;
  const Type type = message.type;
  ++messages_;
  if (message.unasked) ++unasked_;
  size_ += message.size + kOverhead;
  if (session == 0) {
    connection_.push_back(std::move(message));
    return;
  }
  const bool is_content = type == Type::file_sync_data || type == Type::file_sync_packed;
  auto lane = lane_of_.find(session);
  if (lane == lane_of_.end() && is_content) {
    const auto opened = lanes_.insert(lanes_.end(), Lane{session, ordered_pushed_, {}});
    lane = lane_of_.emplace(session, opened).first;
  }
  if (lane != lane_of_.end()) {
    lane->second->queue.push_back(std::move(message));
    return;
  }
  ++ordered_pushed_;
  ordered_.push_back(std::move(message));
}

void Outbox::pop_packet(std::uint32_t packet_max, Bytes& out) {
  CHECK(!empty());
  Queue& queue = choose(packet_max);
  burst_ = &queue == &ordered_ ? burst_ + 1 : &queue == &connection_ ? burst_ : 0;
  Outgoing& message = queue.front();
  write_packet(message, packet_max, out);
  if (message.sent < message.size) {
    under_way_ = &queue;
  } else {
    finished(queue);
  }
}

void Outbox::clear() {
  *this = Outbox();
}

/// A queue whose first message fits a packet, or has begun, or may begin.
bool Outbox::may_go(const Queue& queue, std::uint32_t packet_max) const {
  if (queue.empty()) return false;
  if (under_way_ == nullptr || under_way_ == &queue) return true;
  return queue.front().size + sizeof(PacketHeader) <= packet_max;
}

Outbox::Queue& Outbox::choose(std::uint32_t packet_max) {
  if (may_go(connection_, packet_max)) return connection_;
  const bool ordered = may_go(ordered_, packet_max);
  if (ordered && burst_ < kOrderedBurst) return ordered_;
  if (Queue* lane = next_lane(packet_max)) return *lane;
  CHECK(ordered);  // a lane waits for ordered messages only, and one under way may always go on
  return ordered_;
}

/// The lane whose turn it is, moved to the end of the row.
Outbox::Queue* Outbox::next_lane(std::uint32_t packet_max) {
  auto lane = std::find_if(lanes_.begin(), lanes_.end(), [&](const Lane& l) {
    return l.after <= ordered_left_ && may_go(l.queue, packet_max);
  });
  if (lane == lanes_.end()) return nullptr;
  lanes_.splice(lanes_.end(), lanes_, lane);
  return &lane->queue;
}

void Outbox::write_packet(Outgoing& message, std::uint32_t packet_max, Bytes& out) {
  const std::size_t left = message.size - message.sent;
  const std::size_t now = std::min(left, packet_max - sizeof(PacketHeader));
  PacketHeader header;
  header.size = static_cast<std::uint32_t>(sizeof header + now);
  header.type = static_cast<std::uint8_t>(message.type);
  header.flags = now < left ? kMore : std::uint8_t{0};
  header.version = kLayoutVersion;
  header.oldest_reader = kLayoutVersion;
  header.session = message.session;
  const ByteView head = bytes_of(header);
  const ByteView body = ByteView(message.bytes).subspan(message.begin + message.sent, now);
  message.sent += now;
  if (out.empty() && now == message.size && message.begin == head.size()) {
    std::copy(head.begin(), head.end(), message.bytes.begin());
    out = std::move(message.bytes);
    return;
  }
  out.insert(out.end(), head.begin(), head.end());
  out.insert(out.end(), body.begin(), body.end());
}

void Outbox::finished(Queue& queue) {
  const Outgoing& message = queue.front();
  const std::uint32_t session = message.session;
  (message.type == Type::file_sync_packed ? left_.packed : left_.plain) += message.content;
  size_ -= message.size + kOverhead;
  --messages_;
  if (message.unasked) --unasked_;
  if (under_way_ == &queue) under_way_ = nullptr;
  if (&queue == &ordered_) ++ordered_left_;
  queue.pop_front();
  if (!queue.empty() || &queue == &ordered_ || &queue == &connection_) return;
  const auto lane = lane_of_.find(session);
  lanes_.erase(lane->second);
  lane_of_.erase(lane);
}

}  // namespace ebb::proto
