#include "fusefs/ebb/mounts.h"

#include <cerrno>
#include <charconv>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>

#include <sys/stat.h>

namespace ebb::fusefs {
namespace {

/// mountinfo writes blanks and backslashes as \ooo.
std::string unescape(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    unsigned value = 0;
    const bool octal = text[i] == '\\' && i + 3 < text.size() &&
                       std::from_chars(text.data() + i + 1, text.data() + i + 4, value, 8).ptr ==
                           text.data() + i + 4;
    if (octal) {
      out.push_back(static_cast<char>(value));
      i += 3;
    } else {
      out.push_back(text[i]);
    }
  }
  return out;
}

std::vector<std::string_view> split(std::string_view text, char at) {
  std::vector<std::string_view> parts;
  while (true) {
    const auto end = text.find(at);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

std::uint32_t user_of(std::string_view super_options) {
  for (std::string_view option : split(super_options, ',')) {
    constexpr std::string_view kUser = "user_id=";
    if (!option.starts_with(kUser)) continue;
    std::uint32_t user = 0;
    std::from_chars(option.data() + kUser.size(), option.data() + option.size(), user);
    return user;
  }
  return 0;
}

Outcome<std::string> real_path(const std::string& path) {
  const std::unique_ptr<char, decltype(&std::free)> real(::realpath(path.c_str(), nullptr),
                                                         &std::free);
  if (!real) return refuse("{}: {}", path, std::strerror(errno));
  return std::string(real.get());
}

}  // namespace

std::optional<Mount> parse_mount_line(std::string_view line) {
  // id parent major:minor root point options [optional...] - type source super-options
  const auto parts = split(line, ' ');
  std::size_t dash = 6;
  while (dash < parts.size() && parts[dash] != "-") ++dash;
  if (dash + 3 >= parts.size()) return std::nullopt;
  Mount mount;
  mount.device = parts[2];
  mount.root = unescape(parts[3]);
  mount.point = unescape(parts[4]);
  mount.type = parts[dash + 1];
  mount.source = unescape(parts[dash + 2]);
  mount.user = user_of(parts[dash + 3]);
  return mount;
}

std::vector<Mount> read_mounts() {
  std::vector<Mount> mounts;
  std::ifstream table("/proc/self/mountinfo");
  for (std::string line; std::getline(table, line);) {
    if (auto mount = parse_mount_line(line)) mounts.push_back(std::move(*mount));
  }
  return mounts;
}

bool is_within(std::string_view path, std::string_view folder) {
  if (folder == "/") return path.starts_with('/');
  return path.starts_with(folder) && (path.size() == folder.size() || path[folder.size()] == '/');
}

const Mount* mount_of(const std::vector<Mount>& mounts, std::string_view path) {
  const Mount* best = nullptr;
  for (const Mount& mount : mounts) {  // of two on one point the later one lies above
    if (!is_within(path, mount.point)) continue;
    if (!best || mount.point.size() >= best->point.size()) best = &mount;
  }
  return best;
}

Outcome<std::string> resolve_path(const std::string& path) {
  if (path.empty()) return misused("an empty path");
  if (path.size() >= PATH_MAX)
    return refuse("{}...: {}", path.substr(0, 64), std::strerror(ENAMETOOLONG));
  std::string text = path;
  while (text.size() > 1 && text.back() == '/') text.pop_back();
  const auto slash = text.rfind('/');
  const std::string last = slash == std::string::npos ? text : text.substr(slash + 1);
  if (last.empty() || last == "." || last == "..") return real_path(text);
  const std::string folder = slash == std::string::npos ? "."
                             : slash == 0               ? "/"
                                                        : text.substr(0, slash);
  auto real = real_path(folder);
  if (!real) return refuse("{}: {}", path, std::strerror(errno));
  return *real == "/" ? "/" + last : *real + "/" + last;
}

Outcome<Place> place_of(const std::string& path) {
  auto real = resolve_path(path);
  if (!real) return tl::unexpected(real.error());
  const auto mounts = read_mounts();
  const Mount* mount = mount_of(mounts, *real);
  if (!mount || !mount->ours()) {
    return refuse("{}: not in an EbbFS mount; `ebb status` alone lists the mounts", path);
  }
  // The daemon answers from what it knows, and an entry becomes known as it is looked up.  Root may
  // not be let in by the kernel, and is answered all the same.
  struct stat st {};
  if (::lstat(real->c_str(), &st) != 0 && errno != EACCES)
    return refuse("{}: {}", path, std::strerror(errno));
  std::string whole = mount->root == "/" ? "" : mount->root;
  if (real->size() > mount->point.size())
    whole += mount->point == "/" ? *real : real->substr(mount->point.size());
  if (whole.starts_with('/')) whole.erase(0, 1);
  return Place{*mount, whole};
}

Outcome<Place> former_place_of(const std::string& path) {
  std::string there = path;
  std::string gone;
  struct stat st {};
  while (!there.empty() && ::lstat(there.c_str(), &st) != 0 &&
         (errno == ENOENT || errno == ENOTDIR || errno == EHOSTDOWN || errno == ETIMEDOUT)) {
    while (there.size() > 1 && there.back() == '/') there.pop_back();
    const auto slash = there.rfind('/');
    gone =
        there.substr(slash == std::string::npos ? 0 : slash + 1) + (gone.empty() ? "" : "/" + gone);
    there = slash == std::string::npos ? "." : slash == 0 ? "/" : there.substr(0, slash);
  }
  auto place = place_of(there);
  if (!place || gone.empty()) return place;
  place->path += (place->path.empty() ? "" : "/") + gone;
  return place;
}

}  // namespace ebb::fusefs
