// The name of a conflict copy, NAME.conflict-HOST-YYYYMMDD-HHMMSS.EXT: the same on both sides.
#pragma once

#include <string>

#include "base/clock.h"

namespace ebb {

/// `name` with the mark before its last suffix (a leading dot begins none), the time in UTC; from
/// `count` 2 on with "-2", "-3" …  At most 255 bytes, cut in the stem and never inside a character
/// of UTF-8.  Of `host` only [A-Za-z0-9-] is taken.
std::string conflict_name(const std::string& name, const std::string& host, WallNs when, int count);

/// The name that this one is a conflict copy of, by the same host; empty for other names.
std::string conflict_origin(const std::string& name, const std::string& host);

}  // namespace ebb
