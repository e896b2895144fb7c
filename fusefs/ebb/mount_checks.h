// What must hold before anything is begun.
#pragma once

#include <string>

#include "fusefs/ebb/refusal.h"
#include "fusefs/ebb/source.h"

namespace ebb::fusefs {

/// A folder that exists, is empty and has nothing mounted on it.  Gives it back absolute and
/// resolved.
Outcome<std::string> check_mountpoint(const std::string& path);
/// A source that is a directory: there, readable, in no mount of ours; and the mountpoint not
/// inside it.
Outcome<> check_source(const Source& source, const std::string& mountpoint);

}  // namespace ebb::fusefs
