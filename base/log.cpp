#include "base/log.h"

#include <memory>

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

namespace ebb {
namespace {

spdlog::level::level_enum spd(LogLevel level) {
  switch (level) {
    case LogLevel::debug: return spdlog::level::debug;
    case LogLevel::info: return spdlog::level::info;
    case LogLevel::warn: return spdlog::level::warn;
    case LogLevel::error: return spdlog::level::err;
    case LogLevel::off: break;
  }
  return spdlog::level::off;
}

std::shared_ptr<spdlog::logger>& logger() {
  static auto made = std::make_shared<spdlog::logger>(
      "ebb", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  return made;
}

}  // namespace

void log_open(LogLevel level, const std::string& path) {
  if (!path.empty()) {
    logger() = std::make_shared<spdlog::logger>(
        "ebb", std::make_shared<spdlog::sinks::basic_file_sink_mt>(path));
  }
  logger()->set_pattern("%Y-%m-%d %H:%M:%S.%e %l %v");
  logger()->set_level(spd(level));
  logger()->flush_on(spdlog::level::debug);
}

bool log_enabled(LogLevel level) { return logger()->should_log(spd(level)); }
void log_line(LogLevel level, const std::string& line) { logger()->log(spd(level), line); }

}  // namespace ebb
