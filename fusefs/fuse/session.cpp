#include "fusefs/fuse/session.h"

#include <cerrno>
#include <chrono>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include <signal.h>

#include "base/log.h"
#include "fusefs/fuse/libfuse.h"
#include "fusefs/fuse/ops.h"

namespace ebb::fusefs {
namespace {

constexpr unsigned kThreads = 10;
/// Interrupts the wait of libfuse's loop; does nothing else.  Not used by anything else in the
/// program.
constexpr int kWakeSignal = SIGUSR2;

std::mutex last_line_mutex;
std::string last_line;  // the newest of libfuse, guarded by last_line_mutex

__attribute__((format(printf, 2, 0))) void keep_line(fuse_log_level, const char* format,
                                                     va_list args) {
  char line[512];
  std::vsnprintf(line, sizeof line, format, args);
  std::string text(line);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  log_warn("libfuse: {}", text);
  std::lock_guard lock(last_line_mutex);
  last_line = std::move(text);
}

std::string take_last_line() {
  std::lock_guard lock(last_line_mutex);
  return std::exchange(last_line, {});
}

/// The value of one -o, with commas of the source escaped.
std::string option_list(const MountOptions& options) {
  char* list = nullptr;
  fuse_opt_add_opt(&list, "default_permissions,subtype=ebb");
  fuse_opt_add_opt_escaped(&list, ("fsname=" + options.source).c_str());
  fuse_opt_add_opt(&list, options.read_only ? "ro" : "rw");
  if (options.no_exec) fuse_opt_add_opt(&list, "noexec");
  if (options.allow_other) fuse_opt_add_opt(&list, "allow_other");
  std::string text(list);
  std::free(list);
  return text;
}

void ignore_signal(int) {}

void allow_wake_signal() {
  struct sigaction action {};
  action.sa_handler = ignore_signal;  // no SA_RESTART: it has to interrupt
  sigaction(kWakeSignal, &action, nullptr);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, kWakeSignal);
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}

}  // namespace

Result<std::unique_ptr<Session>> Session::create(Client& client, KernelNotifier& notifier,
                                                 const MountOptions& options) {
  fuse_set_log_func(keep_line);
  std::unique_ptr<Session> session(new Session(notifier));
  std::string list = option_list(options);
  std::string name = "ebb";
  std::string dash = "-o";
  char* argv[] = {name.data(), dash.data(), list.data(), nullptr};
  fuse_args args{};
  args.argc = 3;
  args.argv = argv;
  session->session_ = fuse_session_new(&args, &kernel_ops(), sizeof(fuse_lowlevel_ops), &client);
  fuse_opt_free_args(&args);
  if (!session->session_) return fail_errno(EINVAL, "libfuse: " + take_last_line());
  return session;
}

Session::~Session() {
  unmount();
  if (session_) fuse_session_destroy(session_);
}

void Session::unmount() {
  stop();
  if (std::exchange(mounted_, false)) fuse_session_unmount(session_);
}

Result<> Session::mount(const std::string& mountpoint) {
  errno = 0;
  if (fuse_session_mount(session_, mountpoint.c_str()) != 0) {
    const int number = errno != 0 ? errno : EPERM;
    return fail_errno(number, take_last_line());
  }
  mounted_ = true;
  notifier_.attach(session_);
  return {};
}

Result<> Session::serve() {
  allow_wake_signal();
  {
    std::lock_guard lock(mutex_);
    serving_ = true;
    server_ = pthread_self();
  }
  fuse_loop_config* config = fuse_loop_cfg_create();
  fuse_loop_cfg_set_clone_fd(config, 0);
  fuse_loop_cfg_set_max_threads(config, kThreads);
  const int error = fuse_session_loop_mt(session_, config);
  fuse_loop_cfg_destroy(config);
  {
    std::lock_guard lock(mutex_);
    serving_ = false;
    served_.notify_all();
  }
  if (error < 0) return fail_errno(-error, "serving the mount");
  return {};
}

void Session::stop() {
  // First the notifier, while requests are still answered: the kernel may let it wait for one of
  // them.
  notifier_.stop();
  if (session_) fuse_session_exit(session_);
  std::unique_lock lock(mutex_);
  // libfuse looks at its flag before it waits; a signal that falls between the two is lost, so it
  // is repeated.
  while (serving_) {
    pthread_kill(server_, kWakeSignal);
    served_.wait_for(lock, std::chrono::milliseconds(20));
  }
}

}  // namespace ebb::fusefs
