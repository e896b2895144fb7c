// What nearly every source includes and no change of ours touches.  Built once per configuration where
// EBB_PRECOMPILE is on; sources include what they use as if this file were not there.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

#include <fmt/format.h>
#include <tl/expected.hpp>
