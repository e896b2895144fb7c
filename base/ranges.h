// A set of byte ranges [begin, end), kept sorted, disjoint and merged.  What is here of a content, what a
// pull still needs, what a write has made stale.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

namespace ebb {

struct Range {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;

  std::uint64_t size() const { return end - begin; }
  bool empty() const { return end <= begin; }
  friend bool operator==(const Range&, const Range&) = default;
};

/// Not thread-safe.  Empty ranges may be passed and change nothing.
class RangeSet {
 public:
  void add(Range range);
  void remove(Range range);
  void clear() { ranges_.clear(); }

  bool contains(Range range) const;    // every byte of it; true for an empty one
  bool intersects(Range range) const;  // any byte of it
  RangeSet missing_in(Range range) const;
  RangeSet within(Range range) const;
  std::uint64_t total() const;
  bool empty() const { return ranges_.empty(); }
  std::size_t count() const { return ranges_.size(); }
  std::optional<Range> first() const;
  std::vector<Range> list() const;

  friend bool operator==(const RangeSet&, const RangeSet&) = default;

 private:
  std::map<std::uint64_t, std::uint64_t> ranges_;  // begin -> end
};

}  // namespace ebb
