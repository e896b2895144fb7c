#include "base/clock.h"

#include <ctime>

namespace ebb {
namespace {

std::int64_t read_ns(clockid_t id) {
  timespec ts{};
  ::clock_gettime(id, &ts);
  return std::int64_t{ts.tv_sec} * 1'000'000'000 + ts.tv_nsec;
}

class SystemClock final : public Clock {
 public:
  Time now() const override { return Time(Duration(read_ns(CLOCK_MONOTONIC))); }
  WallNs wall() const override { return read_ns(CLOCK_REALTIME); }
};

}  // namespace

Clock& system_clock() {
  static SystemClock clock;
  return clock;
}

}  // namespace ebb
