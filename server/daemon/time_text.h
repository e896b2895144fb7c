// Moments as people write them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/clock.h"

namespace ebb::server {

/// 2026-11-28T05:12:01Z
std::string utc_text(WallNs when);
/// The same, or without Z in local time; a blank for T; without seconds; a date alone; @SECONDS
/// since 1970; or 90s, 15m, 2h, 3d before `now`.
std::optional<WallNs> parse_time(const std::string& text, WallNs now);
/// 4096, 10K, 2M, 1G, 1T.
std::optional<std::uint64_t> parse_size(const std::string& text);

}  // namespace ebb::server
