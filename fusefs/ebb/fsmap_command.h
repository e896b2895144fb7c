// `ebb fsmap`: maps of directories.  Exit codes of its own: 0 done or equal, 1 different, 2
// trouble.
#pragma once

#include <optional>
#include <string>

#include "base/digest.h"
#include "fusefs/ebb/console.h"

namespace ebb::fusefs {

struct FsmapArguments {
  std::string directory;
  std::string input = "-";  // a map or a directory
  std::string output = "-";
  std::string target;  // diff
  std::string hash = "md5";
  bool json = false;
  bool no_cache = false;
};

int fsmap_dump(Console& console, const FsmapArguments& arguments);
int fsmap_minify(Console& console, const FsmapArguments& arguments);
int fsmap_summary(Console& console, const FsmapArguments& arguments);
int fsmap_diff(Console& console, const FsmapArguments& arguments);
int fsmap_publish(Console& console, const FsmapArguments& arguments);

/// A name as a JSON string; a byte that is no UTF-8 is the lone surrogate U+DC00 and its number, as
/// Python has it.
std::string json_name(std::string_view bytes);

}  // namespace ebb::fusefs
