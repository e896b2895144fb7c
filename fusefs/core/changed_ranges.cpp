#include "fusefs/core/changed_ranges.h"

#include <algorithm>
#include <utility>

namespace ebb::fusefs {
namespace {

constexpr std::uint64_t kFirstBlock = 64u << 10;

void merge_nearest(RangeSet& ranges) {
  constexpr std::size_t kEnough = ChangedRanges::kRangesMax / 2;
  for (std::uint64_t gap = kFirstBlock; ranges.count() > kEnough; gap *= 2) {
    RangeSet merged;
    Range last;
    for (const auto& range : ranges.list()) {
      if (!last.empty() && range.begin - last.end < gap) merged.add({last.end, range.begin});
      merged.add(range);
      last = range;
    }
    ranges = std::move(merged);
  }
}

void add_to(RangeSet& ranges, Range range) {
  ranges.add(range);
  if (ranges.count() > ChangedRanges::kRangesMax) merge_nearest(ranges);
}

}  // namespace

void ChangedRanges::begin(std::uint64_t number, EntryId entry, Version base) {
  const auto it = contents_.find(number);
  // A change that could not be recorded leaves it clean, and has changed it all the same.
  if (it != contents_.end() && it->second.entry == entry && it->second.base == base) return;
  if (it == contents_.end() && contents_.size() >= kContentsMax) return;
  contents_[number] = Changes{entry, base, {}, {}};
}

void ChangedRanges::add(std::uint64_t number, Range range) {
  const auto it = contents_.find(number);
  if (it == contents_.end()) return;
  add_to(it->second.all, range);
  add_to(it->second.later, range);
}

void ChangedRanges::push_begins(std::uint64_t number) {
  const auto it = contents_.find(number);
  if (it != contents_.end()) it->second.later.clear();
}

void ChangedRanges::pushed(std::uint64_t number, EntryId entry, Version version) {
  const auto it = contents_.find(number);
  if (it == contents_.end()) return;
  Changes& changes = it->second;
  changes.entry = entry;
  changes.base = version;
  changes.all = changes.later;
}

std::optional<RangeSet> ChangedRanges::since(std::uint64_t number, EntryId entry,
                                             Version base) const {
  const auto it = contents_.find(number);
  if (it == contents_.end()) return std::nullopt;
  const Changes& changes = it->second;
  if (changes.entry != entry || changes.base != base) return std::nullopt;
  return changes.all;
}

}  // namespace ebb::fusefs
