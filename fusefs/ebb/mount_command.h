// `ebb mount` and `mount.ebbfs`.
#pragma once

#include <string>
#include <vector>

#include "fusefs/ebb/console.h"

namespace ebb::fusefs {

struct MountArguments {
  std::string source;
  std::string mountpoint;
  std::vector<std::string> options;  // each an argument of -o
  bool foreground = false;
  bool pretend = false;  // check the arguments alone: mount(8)'s -f
};

/// Returns when the mount answers; in the foreground when it has ended.  Forks: no threads before
/// it.
int mount_command(Console& console, const MountArguments& arguments);

}  // namespace ebb::fusefs
