#include "server/core/depot.h"

#include <cerrno>

#include <fmt/format.h>

#include "proto/errors.h"

namespace ebb::server {
namespace {

constexpr std::size_t kNameBytesMax = 255;

bool good_name(const std::string& name) {
  return !name.empty() && name.size() <= kNameBytesMax && name != "." && name != ".." &&
         name.find('/') == std::string::npos && name.find('\0') == std::string::npos;
}

}  // namespace

bool same_content(const Facts& a, const Facts& b) {
  return a.kind == b.kind && a.identity == b.identity && a.size == b.size &&
         a.attributes.mtime == b.attributes.mtime && a.target == b.target;
}

bool untouched(const Facts& a, const Facts& b) {
  return same_content(a, b) && a.ctime == b.ctime;
}

bool removable(const Facts& now, const Facts& seen) {
  return untouched(now, seen) || (same_content(now, seen) && now.links != seen.links);
}

std::string kept_name(std::uint64_t number, int count) {
  return count > 1 ? fmt::format("{:016x}-{}", number, count) : fmt::format("{:016x}", number);
}

Result<std::optional<std::string>> find_kept(Depot& depot, std::uint64_t number,
                                             const Identity& identity) {
  for (int count = 1; count <= kKeptOfOneNumber; ++count) {
    const std::string name = kept_name(number, count);
    auto facts = depot.stat_kept(name);
    if (!facts && !is_errno(facts.error(), ENOENT)) return pass(facts.error());
    if (!facts) break;
    if (facts->identity == identity) return std::optional(name);
  }
  return std::optional<std::string>();
}

std::string path_of(const Spot& spot) {
  return spot.folder.path.empty() ? spot.name : spot.folder.path + "/" + spot.name;
}

Result<> check_spot(const Spot& spot) {
  const bool own_path = spot.folder.path == kOwnFolder ||
                        spot.folder.path.rfind(std::string(kOwnFolder) + "/", 0) == 0;
  if (own_path || (spot.folder.path.empty() && spot.name == kOwnFolder)) {
    return fail(proto::Errc::bad_name, "the name .ebbd at the root is the server's own");
  }
  if (spot.name.empty()) return {};
  if (!good_name(spot.name)) return fail(proto::Errc::bad_name, "not a name: " + spot.name);
  return {};
}

}  // namespace ebb::server
