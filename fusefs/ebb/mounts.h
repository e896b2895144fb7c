// The machine's mount table, and which of its mounts are ours.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fusefs/ebb/refusal.h"

namespace ebb::fusefs {

inline constexpr std::string_view kMountType = "fuse.ebb";

struct Mount {
  std::string device;  // MAJOR:MINOR
  std::string root;    // which part of the filesystem is shown there; "/" but for bind mounts
  std::string point;
  std::string type;
  std::string source;
  std::uint32_t user = 0;  // user_id= of a FUSE mount

  bool ours() const { return type == kMountType; }
};

/// One line of /proc/PID/mountinfo; none for a line that is not one.
std::optional<Mount> parse_mount_line(std::string_view line);
/// All mounts of this process's namespace, in the order in which they lie over each other.
std::vector<Mount> read_mounts();

/// True when `path` is `folder` or lies beneath it; both absolute and normal.
bool is_within(std::string_view path, std::string_view folder);
/// The mount that an absolute, resolved path is on.
const Mount* mount_of(const std::vector<Mount>& mounts, std::string_view path);

/// `path` made absolute, with every symlink resolved but for its last part, so that a symlink can
/// be spoken of. Nothing of it needs to exist on this side of a mount that does not answer.
Outcome<std::string> resolve_path(const std::string& path);

/// A path of the user's as a place in a mount of ours.
struct Place {
  Mount mount;
  std::string path;  // beneath the tree's root, no slash at the start; empty: the root
};
Outcome<Place> place_of(const std::string& path);
/// The same of a path that may name nothing any more, whose folders may be gone, too, or that only
/// the server knows.
Outcome<Place> former_place_of(const std::string& path);

}  // namespace ebb::fusefs
