// A request whose answer may come later, from another thread, or never by itself but for an
// interrupt.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

#include "fusefs/core/client.h"
#include "fusefs/fuse/libfuse.h"

namespace ebb::fusefs {

/// One call of the core for one FUSE request:
///
///     auto request = Request::begin(req);
///     request->started(client_of(req).unlink(folder, name, request->reply<void>(reply_done)));
///
/// Invariant: `req` is answered exactly once, and is not touched afterwards.  libfuse frees a
/// request as it is answered, so registering for its interruption must not run beside the answer;
/// and it may report an interruption from within the registration, where an answer would free what
/// the registration still holds. So: an answer that comes inside the call, on the op's own thread,
/// is sent at once (the usual case); one that comes on another thread before started() is done is
/// held, and sent by started(); later ones are sent by whoever brings them.
class Request : public std::enable_shared_from_this<Request> {
 public:
  static std::shared_ptr<Request> begin(fuse_req_t req);

  /// What to hand to the core; `send(req, Result<T>)` is one of reply.h.
  template <class T, class Send>
  Reply<T> reply(Send send) {
    return [self = shared_from_this(), send](Result<T> result) {
      self->answer([send, result = std::move(result)](fuse_req_t req) mutable {
        send(req, std::move(result));
      });
    };
  }

  /// The op's last act.  A ticket other than 0 can be interrupted from now on.
  void started(Ticket ticket);

  explicit Request(fuse_req_t req) : req_(req), op_thread_(std::this_thread::get_id()) {}

 private:
  enum class Stage { calling, registering, waiting, answered };

  template <class Send>
  void answer(Send send) {
    {
      std::lock_guard lock(mutex_);
      const bool inside = stage_ == Stage::calling && std::this_thread::get_id() == op_thread_;
      if (!inside && stage_ != Stage::waiting) {
        if (stage_ != Stage::answered) held_ = std::move(send);
        return;
      }
      stage_ = Stage::answered;
    }
    send(req_);
  }

  const fuse_req_t req_;
  const std::thread::id op_thread_;
  std::mutex mutex_;
  Stage stage_ = Stage::calling;          // guarded by mutex_
  std::function<void(fuse_req_t)> held_;  // guarded by mutex_
};

}  // namespace ebb::fusefs
