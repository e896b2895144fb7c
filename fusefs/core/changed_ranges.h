// Which bytes of a content differ from the version that it derives from, so that a push sends those
// alone.
//
// In memory, and only of contents all of whose changes this run has seen: where it is not known, more
// is pushed than has changed.  What is told is never too little, and may be too much.
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>

#include "base/ids.h"
#include "base/ranges.h"

namespace ebb::fusefs {

/// By the number of the content's file; under the client's lock.
class ChangedRanges {
 public:
  /// So many parts of one content; of more the nearest are taken together.
  static constexpr std::size_t kRangesMax = 1024;
  /// So many contents; of more it is not known.
  static constexpr std::size_t kContentsMax = 4096;

  /// A content that is as in this version is about to change.
  void begin(std::uint64_t number, EntryId entry, Version base);
  void add(std::uint64_t number, Range range);
  /// Something changed, and nobody knows where; or nothing differs any more.
  void forget(std::uint64_t number) { contents_.erase(number); }

  /// It is read for a push from here on.
  void push_begins(std::uint64_t number);
  /// What was read then is this version.
  void pushed(std::uint64_t number, EntryId entry, Version version);

  std::optional<RangeSet> since(std::uint64_t number, EntryId entry, Version base) const;

 private:
  struct Changes {
    EntryId entry;
    Version base;
    RangeSet all;
    RangeSet later;  // since the push began
  };

  std::unordered_map<std::uint64_t, Changes> contents_;
};

}  // namespace ebb::fusefs
