// Which folder keeps the client's state of which tree.
#pragma once

#include <optional>
#include <string>

#include "base/ids.h"
#include "fusefs/ebb/refusal.h"

namespace ebb::fusefs {

/// 32 hex digits, as in the name of a default state folder.
std::string to_text(const TreeId& tree);
std::optional<TreeId> parse_tree(std::string_view text);

/// $XDG_STATE_HOME/ebbfs, else ~/.local/state/ebbfs.
Outcome<std::string> default_state_base();

/// The file `sources` in the base: which tree a source was at the last mount, so that a mount finds
/// its state folder while the source is out of reach.  JSON: source -> tree.  Two mounts at once
/// take turns.
std::optional<TreeId> remembered_tree(const std::string& base, const std::string& source);
Outcome<> remember_tree(const std::string& base, const std::string& source, const TreeId& tree);

/// Makes the folder, mode 0700, with all above it.  Refused inside an EbbFS mount: the daemon would
/// wait for itself.
Outcome<std::string> prepare_state_folder(const std::string& folder);
/// Whether this folder has been a state folder before, so that it can be mounted without its
/// server.
bool has_state(const std::string& folder);
/// The file `tree` in a state folder says which one it is for; refused when that is another.
Outcome<> check_state_tree(const std::string& folder, const TreeId& tree);

}  // namespace ebb::fusefs
