// Access times: this machine's alone, and kept only where one was set and is not the mtime.
#pragma once

#include <optional>

#include "fusefs/core/tree_edit.h"

namespace ebb::fusefs {

/// The node's, which has kAccessTime.
std::optional<WallNs> access_time(const store::Store& store, NodeId id);
/// What a change of attributes makes of it: `after` gets or loses kAccessTime, and is saved by the
/// caller.
void change_access_time(Edit& edit, NodeId id, const AttributeChange& change,
                        const store::Node& before, store::Node& after);
void forget_access_time(Edit& edit, NodeId id, store::Node& node);

}  // namespace ebb::fusefs
