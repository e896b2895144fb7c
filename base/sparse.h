// Where an open file has data: the rest of it is holes, which read as zero and take no room.
#pragma once

#include <cstddef>
#include <vector>

#include "base/ranges.h"

namespace ebb {

/// Holes that are smaller are not worth a range of their own.
inline constexpr std::uint64_t kHoleLeast = 64 * 1024;

/// The parts of the range that may hold data, in order, at most `most`; all of it where the
/// filesystem cannot say.
std::vector<Range> data_of(int fd, Range range, std::size_t most);
/// Whether there may be a hole in it.
bool may_have_holes(int fd);
/// What of the range is in none of the parts, which lie in it, in order.
std::vector<Range> between(Range range, const std::vector<Range>& parts);

}  // namespace ebb
