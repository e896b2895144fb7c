// What a user is told when a command does not work.
#pragma once

#include <string>
#include <utility>

#include <fmt/format.h>
#include <tl/expected.hpp>

namespace ebb::fusefs {

inline constexpr int kDone = 0;
inline constexpr int kFailed = 1;
inline constexpr int kUsage = 2;

/// One line: what, on which path, why, and what to do; without the program's name and a newline.
struct Refusal {
  std::string line;
  int exit_code = kFailed;
};

template <class T = void>
using Outcome = tl::expected<T, Refusal>;

template <class... Args>
tl::unexpected<Refusal> refuse(fmt::format_string<Args...> format, Args&&... args) {
  return tl::unexpected<Refusal>(
      Refusal{fmt::format(format, std::forward<Args>(args)...), kFailed});
}
template <class... Args>
tl::unexpected<Refusal> misused(fmt::format_string<Args...> format, Args&&... args) {
  return tl::unexpected<Refusal>(Refusal{fmt::format(format, std::forward<Args>(args)...), kUsage});
}

}  // namespace ebb::fusefs
