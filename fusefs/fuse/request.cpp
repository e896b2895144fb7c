#include "fusefs/fuse/request.h"

#include "fusefs/fuse/reply.h"

namespace ebb::fusefs {
namespace {

/// libfuse keeps `req` for the length of this call.  The ticket alone is needed, and an old one is
/// harmless, so nothing here can be freed under our feet.
void interrupted(fuse_req_t req, void* ticket) {
  client_of(req).interrupt(reinterpret_cast<std::uintptr_t>(ticket));
}

}  // namespace

std::shared_ptr<Request> Request::begin(fuse_req_t req) {
  return std::make_shared<Request>(req);
}

void Request::started(Ticket ticket) {
  {
    std::lock_guard lock(mutex_);
    if (stage_ == Stage::answered) return;
    stage_ = Stage::registering;  // every answer is held from here on
    if (held_) ticket = 0;
  }
  if (ticket != 0) fuse_req_interrupt_func(req_, interrupted, reinterpret_cast<void*>(ticket));
  std::function<void(fuse_req_t)> send;
  {
    std::lock_guard lock(mutex_);
    stage_ = held_ ? Stage::answered : Stage::waiting;
    send = std::move(held_);
    held_ = nullptr;
  }
  if (send) send(req_);
}

}  // namespace ebb::fusefs
