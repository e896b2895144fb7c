#include "fusefs/ebb/watchdog.h"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>

#include <fcntl.h>
#include <poll.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

namespace ebb::fusefs {
namespace {

constexpr char kName[] = "ebb-watchdog";

/// Of the thread that made us; nobody else sends it.
int death_signal() {
  return SIGRTMAX;
}

/// Where the control files of connections are not mounted, root looks at them all the same.
int control_files() {
  const int context = ::fsopen("fusectl", FSOPEN_CLOEXEC);
  if (context < 0) return -1;
  int mounted = -1;
  if (::fsconfig(context, FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) == 0) {
    mounted = ::fsmount(context, FSMOUNT_CLOEXEC, 0);
  }
  ::close(context);
  return mounted;
}

/// Opened while the mount lives: its number may be another's later.
int open_abort(std::uint32_t connection) {
  const std::string file = std::to_string(connection) + "/abort";
  const int fd = ::open(("/sys/fs/fuse/connections/" + file).c_str(), O_WRONLY | O_CLOEXEC);
  if (fd >= 0) return fd;
  const int number = errno;
  const int files = control_files();
  const int there = files < 0 ? -1 : ::openat(files, file.c_str(), O_WRONLY | O_CLOEXEC);
  if (files >= 0) ::close(files);
  if (there < 0) errno = number;
  return there;
}

/// Who looks for the daemon by its command line does not find us.
void take_name() {
  ::prctl(PR_SET_NAME, kName);
  std::array<char, 8192> line;
  const int fd = ::open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
  const ssize_t size = fd < 0 ? -1 : ::read(fd, line.data(), line.size());
  if (fd >= 0) ::close(fd);
  if (size <= static_cast<ssize_t>(sizeof kName)) return;
  std::memset(program_invocation_name, 0, static_cast<std::size_t>(size));
  std::memcpy(program_invocation_name, kName, sizeof kName);
}

/// Nothing is kept of what the daemon had open, or has under its feet.
bool let_go(int socket) {
  if (::dup2(socket, STDIN_FILENO) < 0) return false;
  const int null = ::open("/dev/null", O_RDWR);
  if (null < 0 || ::dup2(null, STDOUT_FILENO) < 0 || ::dup2(null, STDERR_FILENO) < 0) return false;
  if (::close_range(STDERR_FILENO + 1, ~0U, 0) != 0) {
    const long most = ::sysconf(_SC_OPEN_MAX);
    for (int fd = STDERR_FILENO + 1; fd < most; ++fd) ::close(fd);
  }
  return ::chdir("/") == 0;
}

int watch_for_death() {
  sigset_t all;
  sigfillset(&all);
  if (::sigprocmask(SIG_SETMASK, &all, nullptr) != 0) return -1;
  if (::prctl(PR_SET_PDEATHSIG, death_signal()) != 0) return -1;
  sigset_t death;
  sigemptyset(&death);
  sigaddset(&death, death_signal());
  return ::signalfd(-1, &death, SFD_CLOEXEC);
}

[[noreturn]] void be_watchdog(int socket) {
  ::setsid();
  take_name();
  if (!let_go(socket)) ::_exit(1);
  const int death = watch_for_death();
  if (death < 0) ::_exit(1);
  int abort = -1;
  while (true) {
    std::array<pollfd, 2> ready{{{death, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}}};
    if (::poll(ready.data(), ready.size(), -1) < 0 && errno != EINTR) ::_exit(1);
    if (ready[0].revents != 0) {
      const bool done = abort < 0 || ::write(abort, "1", 1) == 1;
      ::_exit(done ? 0 : 1);
    }
    if (ready[1].revents == 0) continue;
    std::uint32_t connection = 0;
    if (::recv(STDIN_FILENO, &connection, sizeof connection, 0) != sizeof connection) ::_exit(0);
    abort = open_abort(connection);
    const int number = abort < 0 ? errno : 0;
    if (::send(STDIN_FILENO, &number, sizeof number, MSG_NOSIGNAL) != sizeof number) ::_exit(0);
  }
}

}  // namespace

Watchdog::Watchdog() {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) return;
  child_ = ::fork();
  if (child_ == 0) be_watchdog(ends[1]);
  ::close(ends[1]);
  socket_ = ends[0];
}

Watchdog::~Watchdog() {
  if (socket_ >= 0) ::close(socket_);
  if (child_ <= 0) return;
  while (::waitpid(child_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

Result<> Watchdog::guard(const std::string& device) {
  // A connection has the minor number of its mount.
  const auto connection =
      static_cast<std::uint32_t>(std::strtoul(device.c_str() + device.find(':') + 1, nullptr, 10));
  int number = 0;
  if (child_ <= 0) return fail_errno(ESRCH, "no process for it");
  const bool asked =
      ::send(socket_, &connection, sizeof connection, MSG_NOSIGNAL) == sizeof connection;
  if (!asked || ::recv(socket_, &number, sizeof number, 0) != sizeof number) {
    return fail_errno(ESRCH, "it has ended");
  }
  if (number != 0) return fail_errno(number, "/sys/fs/fuse/connections");
  return {};
}

}  // namespace ebb::fusefs
