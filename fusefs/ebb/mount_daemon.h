// The mount daemon: one tree, one state folder, one mount, from its start to its orderly end.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>

#include "fusefs/core/client.h"
#include "fusefs/ebb/background.h"
#include "fusefs/ebb/control_server.h"
#include "fusefs/ebb/dialer.h"
#include "fusefs/ebb/driver.h"
#include "fusefs/ebb/enrolment.h"
#include "fusefs/ebb/options.h"
#include "fusefs/ebb/registry.h"
#include "fusefs/ebb/slow_work.h"
#include "fusefs/ebb/source.h"
#include "fusefs/ebb/watchdog.h"
#include "fusefs/fuse/passthrough_files.h"
#include "fusefs/fuse/session.h"

namespace ebb::fusefs {

struct MountPlan {
  Source source;
  std::string mountpoint;  // absolute, checked
  MountSettings settings;
  bool foreground = false;
};

/// Threads: libfuse's workers call the client; one thread runs the io_context (link, control
/// socket); the notifier and SlowWork have their own; the one that made this object starts, waits for the end and
/// ends.  SIGTERM and SIGINT must be blocked in it before, so that all others inherit it.
class MountDaemon {
 public:
  /// How long a source may take to answer before the mount is given up.
  static constexpr Duration kAnswerTimeout = std::chrono::seconds(10);
  /// The same for a tree that is known from before, which can be mounted without its server.
  static constexpr Duration kKnownAnswerTimeout = std::chrono::seconds(2);
  /// How long the end may take to push what is waiting.  The rest is kept, and pushed at the next
  /// mount.
  static constexpr Duration kEndTimeout = std::chrono::seconds(5);
  static constexpr Duration kEndTimeoutAway =
      std::chrono::milliseconds(500);  // without a connection

  explicit MountDaemon(MountPlan plan);
  ~MountDaemon();

  /// Returns when the mount answers.
  Outcome<> start();
  /// Returns when it was unmounted, or told to end by a signal, and everything is put away.
  void run();

 private:
  Outcome<> open_source();
  Outcome<> find_state();
  Outcome<TreeId> ask_tree(bool known);
  Outcome<> open_client();
  Outcome<> wait_for_server();
  Outcome<> mount();
  void end();

  const MountPlan plan_;
  Watchdog watchdog_;  // before all threads
  asio::io_context io_;
  asio::executor_work_guard<asio::io_context::executor_type> work_;
  Waker waker_;
  std::optional<Enrolment> enrolment_;  // where the connection is encrypted
  bool kept_out_ = false;               // the server lets this key in no more, or is not the one it was
  std::unique_ptr<Dialer> dialer_;
  KernelNotifier notifier_;
  PassthroughFiles files_;
  std::string state_folder_;
  std::optional<SlowWork> slow_work_;
  std::unique_ptr<Client> client_;
  std::unique_ptr<Driver> driver_;
  std::unique_ptr<ControlServer> control_;
  std::unique_ptr<Registration> registration_;
  std::unique_ptr<Session> session_;
  std::thread link_thread_;
  std::thread serving_;
  std::atomic<bool> ending_ = false;
};

/// Signals that end a mount, blocked in this thread and those that it starts.  Before any thread.
void block_end_signals();

}  // namespace ebb::fusefs
