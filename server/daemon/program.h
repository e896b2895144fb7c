// The program `ebbd` as a function: arguments in, exit code out.
#pragma once

#include <ostream>
#include <string>
#include <vector>

namespace ebb::server {

inline constexpr int kExitDone = 0;
inline constexpr int kExitFailed = 1;
inline constexpr int kExitUsage = 2;

/// `arguments` without the program's name.  Errors are one line on `err`.
int run_ebbd(const std::vector<std::string>& arguments, std::ostream& out, std::ostream& err);

}  // namespace ebb::server
