// How a process that moves contents holds on to its memory.
#pragma once

#include <malloc.h>

namespace ebb {

/// Contents come and go in buffers of a quarter of a MiB: giving each back to the kernel and taking
/// it anew costs as much as filling it.  A few MiB are kept instead.
inline void keep_freed_memory() {
  ::mallopt(M_MMAP_THRESHOLD, 4 << 20);
  ::mallopt(M_TRIM_THRESHOLD, 16 << 20);
  ::mallopt(M_TOP_PAD, 1 << 20);
}

}  // namespace ebb
