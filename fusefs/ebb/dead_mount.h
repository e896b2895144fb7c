// A mount whose daemon is dead: it answers nothing but errors, and stands in the way of a new one.
#pragma once

#include <string>

#include "fusefs/ebb/console.h"
#include "fusefs/ebb/refusal.h"

namespace ebb::fusefs {

/// Takes a dead mount of ours away from the mountpoint, and says so; leaves everything else alone.
Outcome<> clean_dead_mount(Console& console, const std::string& mountpoint);

}  // namespace ebb::fusefs
