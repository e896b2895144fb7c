// The options of a mount, as in `-o` and in fstab.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "fusefs/core/client.h"
#include "fusefs/ebb/refusal.h"

namespace ebb::fusefs {

struct MountSettings {
  Duration delay = std::chrono::seconds(5);
  Duration timeout = std::chrono::seconds(30);
  Status root = Status::syncmore;
  Hydrate hydrate = Hydrate::progressive;
  bool fsync_server = false;
  bool read_only = false;
  bool insecure = false;
  bool allow_other = false;
  bool list_xattrs = false;
  bool no_exec = false;
  bool passthrough = true;
  std::uint64_t passthrough_from = ClientOptions{}.passthrough_from;
  std::string state;  // empty: the default folder
};

/// One argument of -o: OPTION[=VALUE],...  An unknown option or a value out of range is a misuse.
Outcome<> parse_mount_options(std::string_view list, MountSettings& settings);

/// The names of all options that have a meaning here, in the order of the man page, `=` behind
/// those that take a value.  For --help, and for the test that compares it with the page.
std::vector<std::string_view> mount_option_names();

}  // namespace ebb::fusefs
