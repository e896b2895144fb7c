// The map of a directory for a command: with its cache, with progress.
#pragma once

#include <string>

#include "base/digest.h"
#include "fusefs/ebb/console.h"
#include "store/fsmap_walk.h"

namespace ebb::fusefs {

/// A refusal's exit code is 2, as of `ebb fsmap`.  `with_note`: what is there and not listed is
/// counted on standard error.
Outcome<store::FsmapTree> walk_directory(Console& console, const std::string& directory,
                                         DigestKind kind, bool no_cache, bool with_note = true);

}  // namespace ebb::fusefs
