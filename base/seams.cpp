#include "base/seams.h"

#include <cerrno>

#include <sys/random.h>

#include "base/check.h"

namespace ebb {
namespace {

class SystemRandom final : public Random {
 public:
  std::uint64_t next() override {
    std::uint64_t value = 0;
    ssize_t got = 0;
    do {
      got = getrandom(&value, sizeof value, 0);
    } while (got < 0 && errno == EINTR);
    CHECK(got == static_cast<ssize_t>(sizeof value));
    return value;
  }
};

}  // namespace

Random& system_random() {
  static SystemRandom random;
  return random;
}

}  // namespace ebb
