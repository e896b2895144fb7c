// A command's end of the control socket.
#pragma once

#include <functional>
#include <optional>

#include "base/clock.h"
#include "fusefs/ebb/control.h"
#include "fusefs/ebb/mounts.h"
#include "fusefs/ebb/refusal.h"

namespace ebb::fusefs {

class ControlClient {
 public:
  static Outcome<ControlClient> connect(const Mount& mount);
  ControlClient(ControlClient&& other) noexcept;
  ControlClient& operator=(ControlClient&&) = delete;
  ~ControlClient();

  struct Waiting {
    std::optional<Duration> at_most;  // then a Refusal; none = as long as it takes
    std::function<void()> tick;       // about every second
    std::string about;                // the path that a refusal names; empty = the mountpoint
  };
  /// Blocks.  An answer that says "error" is an answer.
  Outcome<Json> ask(const Json& request, const Waiting& waiting = {});

 private:
  ControlClient(int fd, std::string mountpoint) : fd_(fd), mountpoint_(std::move(mountpoint)) {}
  Outcome<> send(const std::string& line);

  int fd_;
  std::string mountpoint_;
  std::string in_;
};

}  // namespace ebb::fusefs
