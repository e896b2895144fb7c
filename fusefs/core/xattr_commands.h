// The attributes user.ebb.*: the words of ebb-status(7) for whoever has getfattr and setfattr.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "fusefs/core/client.h"
#include "store/node.h"

namespace ebb::fusefs {

struct Core;

// All under the client's lock.
Result<std::string> get_attribute(Core& core, NodeId node, std::string_view name);
Ticket set_attribute(Core& core, NodeId node, std::string_view name, std::string_view value,
                     int flags, Reply<> reply);
Result<> remove_attribute(Core& core, NodeId node, std::string_view name);
/// With their prefix; shown by listxattr only when the mount was asked to.
std::vector<std::string> attribute_names();

std::string reason_of(Core& core, NodeId node);
std::uint64_t bytes_here(Core& core, NodeId id, const store::Node& node);

}  // namespace ebb::fusefs
