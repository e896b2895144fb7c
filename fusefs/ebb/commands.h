// The commands that speak to a mount's daemon, and `ebb check`.  Each returns an exit code.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "fusefs/ebb/console.h"
#include "fusefs/ebb/control_client.h"

namespace ebb::fusefs {

struct StatusView {
  bool json = false;
  bool recursive = false;
};
/// Without paths: all mounts of this user (of everybody, for root).
int status_command(Console& console, const std::vector<std::string>& paths, StatusView view);
int set_status_command(Console& console, const std::vector<std::string>& paths,
                       const std::string& to);
int wait_command(Console& console, const std::vector<std::string>& paths,
                 std::optional<double> seconds);
/// Without versions: says so.
int history_command(Console& console, const std::vector<std::string>& paths, bool json);
/// PATH or PATH@VERSION.
int restore_command(Console& console, const std::vector<std::string>& paths);
/// `as`: what a local folder becomes; empty = the person is asked.
int sync_command(Console& console, const std::vector<std::string>& paths, const std::string& as);
int free_command(Console& console, const std::vector<std::string>& paths);
int pin_command(Console& console, const std::vector<std::string>& paths);
int unpin_command(Console& console, const std::vector<std::string>& paths);
int check_command(Console& console, const std::string& state_folder, bool repair);

// ---- shared by them

/// The mounts that this user may speak to.
std::vector<Mount> own_mounts();
Json request(std::string_view what, const std::string& path);
/// Every page of what is in a folder, `visit`ed with name and entry until one fails.
Outcome<> each_entry(ControlClient& control, const std::string& inside, const std::string& shown,
                     const std::function<Outcome<>(const std::string& name, const Json&)>& visit);
/// A name beneath a path, either of which may be empty or end with a slash.
std::string joined(const std::string& path, const std::string& name);
/// An answer that says "error" as a Refusal about `path`, with what to do where that is known.
Outcome<Json> checked(const Outcome<Json>& answer, const std::string& path);

}  // namespace ebb::fusefs
