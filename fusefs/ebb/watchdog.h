// A small process that outlives a killed daemon for a moment, to let go who still waits for it.
#pragma once

#include <string>

#include <sys/types.h>

#include "base/result.h"

namespace ebb::fusefs {

/// The kernel ends a mount's connection when the last thread of its daemon is gone.  A thread that
/// tells it of a changed name may wait for a folder that a request holds; when the daemon is killed
/// just then, that request is never answered, that thread never ends, and neither does anything.
/// The watchdog ends the connection from outside.
///
/// To be made before the process has threads, in the one that lives longest: its death is what is
/// watched for, because the process itself does not end.  It holds nothing of the daemon's (no
/// file, no lock, no folder), hears no signal of the terminal, and ends with the daemon in any
/// case.
class Watchdog {
 public:
  Watchdog();
  /// Waits until it has ended, which it does at once.
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  /// The mount to let go, as device_of() names it.  An error: who kills the daemon may have to
  /// unmount by force.
  Result<> guard(const std::string& device);

 private:
  pid_t child_ = -1;
  int socket_ = -1;
};

}  // namespace ebb::fusefs
