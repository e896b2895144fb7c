// Where the commands find the daemon of a mount: a folder of this machine's run, one a user, that
// holds a symlink for each mount, named by the mount's device number (MAJOR:MINOR, as in
// /proc/self/mountinfo), pointing to the control socket in the state folder.  Nothing in it
// outlives a boot or is needed by anybody else.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "fusefs/ebb/mounts.h"
#include "fusefs/ebb/refusal.h"

namespace ebb::fusefs {

/// The entry of one mount; gone with the object.
class Registration {
 public:
  static Outcome<Registration> make(const std::string& device, const std::string& socket);
  ~Registration();
  Registration(Registration&& other) noexcept
      : link_(std::exchange(other.link_, {})), socket_(std::move(other.socket_)) {}
  Registration& operator=(Registration&&) = delete;

 private:
  Registration(std::string link, std::string socket)
      : link_(std::move(link)), socket_(std::move(socket)) {}
  std::string link_;
  std::string socket_;
};

/// The link to a mount's control socket; short enough to connect to.
Outcome<std::string> control_of(const Mount& mount);
/// Whether a mount of ours has its control socket at this place.
bool is_mounted_state(const std::string& socket);

/// MAJOR:MINOR of the mount of ours there.  The mount itself is not asked: who would have to answer
/// may be the one that asks.
Outcome<std::string> device_of(const std::string& mountpoint);

}  // namespace ebb::fusefs
