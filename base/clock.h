// Time as the program sees it.  A seam: simulation brings its own clock.
#pragma once

#include <chrono>
#include <cstdint>

namespace ebb {

using Duration = std::chrono::nanoseconds;
/// Monotonic, since an arbitrary start; deadlines are made of it.
struct MonotonicEpoch {
  using rep = Duration::rep;
  using period = Duration::period;
  using duration = Duration;
  using time_point = std::chrono::time_point<MonotonicEpoch>;
  static constexpr bool is_steady = true;
};
using Time = MonotonicEpoch::time_point;
inline constexpr Time kNever = Time::max();

/// Nanoseconds since 1970 UTC, as in a file's times.
using WallNs = std::int64_t;

class Clock {
 public:
  virtual ~Clock() = default;
  virtual Time now() const = 0;     // any thread
  virtual WallNs wall() const = 0;  // any thread; may jump
};

/// CLOCK_MONOTONIC and CLOCK_REALTIME.
Clock& system_clock();

}  // namespace ebb
