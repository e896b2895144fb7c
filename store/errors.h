// What can be wrong with a store, as error codes.
#pragma once

#include <string>
#include <system_error>

namespace ebb::store {

enum class Errc {
  corrupt = 1,     // bytes on disk that this program did not write; the detail names file and offset
  newer_format,    // made by a newer version
  older_format,    // made by a version before the first that anybody used
  other_tree,      // the folder belongs to another tree
  stale,           // a NodeId whose node is no more
  in_use,          // a node that still has names
};

const std::error_category& category();
inline std::error_code make_error_code(Errc e) { return {static_cast<int>(e), category()}; }

}  // namespace ebb::store

template <>
struct std::is_error_code_enum<ebb::store::Errc> : std::true_type {};
