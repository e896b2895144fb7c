// Reading and writing mapped memory when the disk beneath may fail: a SIGBUS inside becomes a
// value.
#pragma once

#include <cstddef>
#include <span>

namespace ebb::store {

/// Runs fn(context) while accesses to `memory` are guarded.  When one of them raised SIGBUS, its
/// address: fn was left in the middle, so it must hold nothing that needs a destructor.  Else null.
/// Calls do not nest.  Any thread.  SIGBUS elsewhere goes to whoever handled it before.
const std::byte* guarded_call(std::span<const std::byte> memory, void (*fn)(void*), void* context);

template <class Fn>
const std::byte* guarded(std::span<const std::byte> memory, Fn& fn) {
  return guarded_call(
      memory, [](void* context) { (*static_cast<Fn*>(context))(); }, &fn);
}

}  // namespace ebb::store
