#include "base/sparse.h"

#include <algorithm>
#include <cerrno>

#include <sys/stat.h>
#include <unistd.h>

namespace ebb {

bool may_have_holes(int fd) {
  struct stat st {};
  if (::fstat(fd, &st) != 0) return false;
  return st.st_blocks * 512 < st.st_size;
}

std::vector<Range> data_of(int fd, Range range, std::size_t most) {
  if (range.empty()) return {};
  if (!may_have_holes(fd)) return {range};
  std::vector<Range> parts;
  for (std::uint64_t at = range.begin; at < range.end;) {
    const off_t data = ::lseek(fd, static_cast<off_t>(at), SEEK_DATA);
    if (data < 0 && errno == ENXIO) break;  // a hole to the end
    if (data < 0) return {range};
    const off_t hole = ::lseek(fd, data, SEEK_HOLE);
    if (hole < 0) return {range};
    const Range part{std::max(at, static_cast<std::uint64_t>(data)),
                     std::min(range.end, static_cast<std::uint64_t>(hole))};
    if (part.empty()) break;
    at = part.end;
    if (!parts.empty() && part.begin - parts.back().end < kHoleLeast) {
      parts.back().end = part.end;
    } else if (parts.size() == most) {
      parts.back().end = range.end;
      break;
    } else {
      parts.push_back(part);
    }
  }
  return parts;
}

std::vector<Range> between(Range range, const std::vector<Range>& parts) {
  std::vector<Range> rest;
  for (const auto& part : parts) {
    if (part.begin > range.begin) rest.push_back({range.begin, part.begin});
    range.begin = part.end;
  }
  if (!range.empty()) rest.push_back(range);
  return rest;
}

}  // namespace ebb
