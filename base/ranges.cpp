#include "base/ranges.h"

#include <algorithm>
#include <iterator>

namespace ebb {

void RangeSet::add(Range range) {
  if (range.empty()) return;
  auto it = ranges_.lower_bound(range.begin);
  if (it != ranges_.begin() && std::prev(it)->second >= range.begin) --it;
  while (it != ranges_.end() && it->first <= range.end) {
    range.begin = std::min(range.begin, it->first);
    range.end = std::max(range.end, it->second);
    it = ranges_.erase(it);
  }
  ranges_.emplace(range.begin, range.end);
}

void RangeSet::remove(Range range) {
  if (range.empty()) return;
  auto it = ranges_.lower_bound(range.begin);
  if (it != ranges_.begin() && std::prev(it)->second > range.begin) --it;
  while (it != ranges_.end() && it->first < range.end) {
    const Range old{it->first, it->second};
    it = ranges_.erase(it);
    if (old.begin < range.begin) ranges_.emplace(old.begin, range.begin);
    if (old.end > range.end) it = ranges_.emplace(range.end, old.end).first;
  }
}

bool RangeSet::contains(Range range) const {
  if (range.empty()) return true;
  auto it = ranges_.upper_bound(range.begin);
  return it != ranges_.begin() && std::prev(it)->second >= range.end;
}

bool RangeSet::intersects(Range range) const { return !within(range).empty(); }

RangeSet RangeSet::missing_in(Range range) const {
  RangeSet missing;
  missing.add(range);
  const auto here = within(range);
  for (const auto& [begin, end] : here.ranges_) missing.remove({begin, end});
  return missing;
}

RangeSet RangeSet::within(Range range) const {
  RangeSet inside;
  if (range.empty()) return inside;
  auto it = ranges_.upper_bound(range.begin);
  if (it != ranges_.begin()) --it;
  for (; it != ranges_.end() && it->first < range.end; ++it) {
    inside.add({std::max(it->first, range.begin), std::min(it->second, range.end)});
  }
  return inside;
}

std::uint64_t RangeSet::total() const {
  std::uint64_t sum = 0;
  for (const auto& [begin, end] : ranges_) sum += end - begin;
  return sum;
}

std::optional<Range> RangeSet::first() const {
  if (ranges_.empty()) return std::nullopt;
  return Range{ranges_.begin()->first, ranges_.begin()->second};
}

std::vector<Range> RangeSet::list() const {
  std::vector<Range> out;
  out.reserve(ranges_.size());
  for (const auto& [begin, end] : ranges_) out.push_back({begin, end});
  return out;
}

}  // namespace ebb
