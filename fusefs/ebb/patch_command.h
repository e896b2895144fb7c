// `ebb patch`: brings a directory up to date with the map of a source.
#pragma once

#include <string>

#include "fusefs/ebb/console.h"

namespace ebb::fusefs {

struct PatchArguments {
  std::string source;
  std::string directory;
  std::string hash;  // empty: as the source has it, else MD5
  bool keep = false;
  bool dry_run = false;
  bool json = false;
  bool insecure = false;
  bool no_cache = false;
};

int patch_command(Console& console, const PatchArguments& arguments);

}  // namespace ebb::fusefs
