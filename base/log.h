// One line per event, on stderr or in a file; levels as in spdlog.  Any thread.
#pragma once

#include <string>
#include <utility>

#include <fmt/format.h>

namespace ebb {

enum class LogLevel { debug, info, warn, error, off };

/// Where lines go: an empty path is stderr.  Called once at start.
void log_open(LogLevel level, const std::string& path);
bool log_enabled(LogLevel level);
void log_line(LogLevel level, const std::string& line);

template <class... Args>
void log_at(LogLevel level, fmt::format_string<Args...> format, Args&&... args) {
  if (log_enabled(level)) log_line(level, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void log_debug(fmt::format_string<Args...> format, Args&&... args) {
  log_at(LogLevel::debug, format, std::forward<Args>(args)...);
}
template <class... Args>
void log_info(fmt::format_string<Args...> format, Args&&... args) {
  log_at(LogLevel::info, format, std::forward<Args>(args)...);
}
template <class... Args>
void log_warn(fmt::format_string<Args...> format, Args&&... args) {
  log_at(LogLevel::warn, format, std::forward<Args>(args)...);
}
template <class... Args>
void log_error(fmt::format_string<Args...> format, Args&&... args) {
  log_at(LogLevel::error, format, std::forward<Args>(args)...);
}

}  // namespace ebb
