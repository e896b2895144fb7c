// JSON of the control sockets and of the small files that people may read.
#pragma once

#include <string_view>

#include <nlohmann/json.hpp>

// Compiled once, in json.cpp.
extern template class nlohmann::basic_json<>;

namespace ebb {

using Json = nlohmann::json;

/// Never throws: what is no JSON is `is_discarded()`, and neither an object nor an array.
Json parse_json(std::string_view text);

}  // namespace ebb
