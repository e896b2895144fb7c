// The program `ebb`: its command line.
#pragma once

#include <ostream>
#include <string>
#include <vector>

namespace ebb::fusefs {

/// `arguments[0]` is the name the program was called by; as `mount.ebbfs` it is mount(8)'s helper.
/// Returns the exit code: 0 done, 1 failed, 2 usage.
int run(const std::vector<std::string>& arguments, std::ostream& out, std::ostream& err);

}  // namespace ebb::fusefs
