#include "fusefs/core/chunk_match.h"

#include <algorithm>
#include <cerrno>

namespace ebb::fusefs {

bool ChunkMatch::add(const proto::ChunkList& page) {
  if (complete_) return false;
  for (const auto& chunk : page.chunks) {
    places_[chunk.hash].push_back(size_);
    size_ += chunk.size;
  }
  complete_ = page.end;
  hash_ = page.hash;
  return size_ <= 2 * kDeltaMost;
}

Result<bool> ChunkMatch::turn(const File& file, std::uint64_t size, const Found& found) {
  static const std::vector<std::uint64_t> kNowhere;
  if (!chunker_) chunker_.emplace(size);
  const std::uint64_t end = chunker_->taken() + kMatchTurn;
  while (!chunker_->done() && chunker_->taken() < end) {
    const auto room = chunker_->room();
    auto n = file.read_at(chunker_->read_at(), room);
    if (!n) return pass(n.error());
    if (*n != room.size()) return fail_errno(EIO, "a content file is too short");
    chunker_->filled(*n);
    while (const auto part = chunker_->next()) {
      here_.update(part->bytes);
      const auto place = places_.find(sha256(part->bytes));
      const auto& places = place == places_.end() ? kNowhere : place->second;
      if (auto ok = found(part->offset, part->bytes, places); !ok) return pass(ok.error());
      if (told_ == Places::once && place != places_.end()) places_.erase(place);
    }
  }
  return chunker_->done();
}

void Patch::copy(std::uint64_t at, std::uint64_t from, std::uint64_t size) {
  if (!copies.empty()) {
    auto& last = copies.back();
    if (last.at + last.size == at && last.from + last.size == from) {
      last.size += size;
      return;
    }
  }
  // There may be a range before, between and behind them.
  if (copies.size() >= std::min(proto::kCopiesMax, proto::kRangesMax) - 1) return send(at, size);
  copies.push_back({at, from, size});
}

void Patch::send(std::uint64_t at, std::uint64_t size) {
  const bool goes_on = !ranges.empty() && ranges.back().end == at;
  if (goes_on) {
    ranges.back().end += size;
  } else {
    ranges.push_back({at, at + size});
  }
}

}  // namespace ebb::fusefs
