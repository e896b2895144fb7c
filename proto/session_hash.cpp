#include "proto/session_hash.h"

namespace ebb::proto {

namespace {

bool sends_whole(std::uint64_t size, const std::vector<Range>& ranges) {
  if (ranges.empty()) return size == 0;
  return ranges.size() == 1 && ranges[0] == Range{0, size};
}

}  // namespace

SessionHash::SessionHash(std::uint64_t size, const std::vector<Range>& ranges)
    : size_(size), ranges_(ranges), whole_(sends_whole(size, ranges)) {
  enter_range();
}

bool SessionHash::update(std::uint64_t offset, ByteView bytes) {
  if (offset != this->offset()) return false;
  if (bytes.empty()) return true;
  if (complete() || bytes.size() > ranges_[current_].end - offset) return false;
  hash_.update(bytes);
  done_ += bytes.size();
  if (done_ == ranges_[current_].size()) {
    ++current_;
    done_ = 0;
    enter_range();
  }
  return true;
}

std::uint64_t SessionHash::offset() const {
  return complete() ? size_ : ranges_[current_].begin + done_;
}

std::uint64_t SessionHash::left() const {
  return complete() ? 0 : ranges_[current_].size() - done_;
}

bool SessionHash::complete() const {
  return current_ == ranges_.size();
}

void SessionHash::enter_range() {
  while (current_ < ranges_.size() && ranges_[current_].empty()) ++current_;
  if (whole_ || complete()) return;
  const Le<std::uint64_t> bounds[] = {ranges_[current_].begin, ranges_[current_].end};
  hash_.update(std::as_bytes(std::span(bounds)));
}

}  // namespace ebb::proto
