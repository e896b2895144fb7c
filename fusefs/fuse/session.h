// A mount: a libfuse session over a Client.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>

#include <pthread.h>

#include "base/result.h"
#include "fusefs/core/client.h"
#include "fusefs/fuse/kernel_notifier.h"

struct fuse_session;

namespace ebb::fusefs {

struct MountOptions {
  std::string source;  // shown by mount(8) and df(1)
  bool read_only = false;
  bool allow_other = false;
  bool no_exec = false;
};

/// Made, mounted, served by one thread in serve() and ended from any other.  default_permissions is
/// always on: the kernel checks, and nothing here does.
class Session {
 public:
  /// `notifier` is attached with mount() and detached with stop() or the destructor.  Both outlive
  /// the session.
  static Result<std::unique_ptr<Session>> create(Client& client, KernelNotifier& notifier,
                                                 const MountOptions& options);
  /// Unmounts when it is mounted still.  Requests that wait must have been answered: the client
  /// goes first.
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  Result<> mount(const std::string& mountpoint);
  /// Answers the kernel, with threads of its own, until the mount is gone or stop().
  Result<> serve();
  /// Ends serve(); returns when it has returned.  The mount stays until the destructor, unanswered.
  void stop();
  /// stop(), and the mount is gone.  Late answers are harmless.
  void unmount();

  /// For a test that plays the kernel over a socket of its own.
  fuse_session* raw() { return session_; }

 private:
  explicit Session(KernelNotifier& notifier) : notifier_(notifier) {}

  KernelNotifier& notifier_;
  fuse_session* session_ = nullptr;
  bool mounted_ = false;

  std::mutex mutex_;
  std::condition_variable served_;
  bool serving_ = false;            // guarded by mutex_
  pthread_t server_ = pthread_t{};  // guarded by mutex_; valid while serving_
};

}  // namespace ebb::fusefs
