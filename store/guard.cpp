#include "store/guard.h"

#include <csetjmp>
#include <csignal>
#include <cstdint>
#include <mutex>

#include "base/check.h"

namespace ebb::store {
namespace {

struct Guard {
  sigjmp_buf jump;
  std::uintptr_t begin;
  std::uintptr_t end;
  std::uintptr_t fault;
};

thread_local Guard* current = nullptr;
struct sigaction former;

void on_sigbus(int signal, siginfo_t* info, void* context) {
  const auto address = reinterpret_cast<std::uintptr_t>(info->si_addr);
  if (current != nullptr && address >= current->begin && address < current->end) {
    current->fault = address;
    siglongjmp(current->jump, 1);
  }
  if ((former.sa_flags & SA_SIGINFO) != 0) return former.sa_sigaction(signal, info, context);
  if (former.sa_handler != SIG_DFL && former.sa_handler != SIG_IGN) {
    return former.sa_handler(signal);
  }
  // Not ours and nobody's: the access is made again and ends the process as if we were not here.
  std::signal(signal, SIG_DFL);
}

void install() {
  struct sigaction action {};
  action.sa_sigaction = on_sigbus;
  // The handler leaves by a jump that restores no signal mask, so the signal must not be masked in
  // it.
  action.sa_flags = SA_SIGINFO | SA_NODEFER;
  sigemptyset(&action.sa_mask);
  CHECK(sigaction(SIGBUS, &action, &former) == 0);
}

}  // namespace

const std::byte* guarded_call(std::span<const std::byte> memory, void (*fn)(void*), void* context) {
  static std::once_flag installed;
  std::call_once(installed, install);
  Guard guard;
  guard.begin = reinterpret_cast<std::uintptr_t>(memory.data());
  guard.end = guard.begin + memory.size();
  if (sigsetjmp(guard.jump, 0) != 0) {
    const auto at = current->fault;
    current = nullptr;
    return reinterpret_cast<const std::byte*>(at);
  }
  current = &guard;
  fn(context);
  current = nullptr;
  return nullptr;
}

}  // namespace ebb::store
