// CHECK catches our own bugs, in every build, and ends the process: state that is known to be wrong must not
// reach a disk.  Never for bytes that came from a disk, a peer or a user: those are error values.
#pragma once

namespace ebb {

[[noreturn]] void check_failed(const char* condition, const char* file, int line);

}  // namespace ebb

#define CHECK(condition) \
  ((condition) ? static_cast<void>(0) : ::ebb::check_failed(#condition, __FILE__, __LINE__))
