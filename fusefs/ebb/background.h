// Going into the background such that the command ends when the daemon works, with the daemon's own
// verdict.
#pragma once

#include <functional>
#include <string>

#include "fusefs/ebb/refusal.h"

namespace ebb::fusefs {

/// What the daemon calls once: it works, or why it never will.
using Verdict = std::function<void(const Outcome<>&)>;

/// Forks; `daemon` runs in the child and returns its exit code.  The parent returns the verdict; of
/// a child that ends without one it says so.  Call it before there are threads.
Outcome<> run_in_background(const std::function<int(const Verdict&)>& daemon);

}  // namespace ebb::fusefs
