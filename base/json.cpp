#include "base/json.h"

template class nlohmann::basic_json<>;

namespace ebb {

Json parse_json(std::string_view text) {
  return Json::parse(text, nullptr, false);
}

}  // namespace ebb
