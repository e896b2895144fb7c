#include "fusefs/ebb/background.h"

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace ebb::fusefs {
namespace {

/// On the pipe: the exit code as one byte, then the line.
void send_verdict(int pipe, const Outcome<>& outcome) {
  std::string text(1, static_cast<char>(outcome ? kDone : outcome.error().exit_code));
  if (!outcome) text += outcome.error().line;
  if (::write(pipe, text.data(), text.size()) < 0) return;  // nobody waits any more
}

Outcome<> receive_verdict(int pipe) {
  std::string text;
  std::array<char, 4096> part;
  while (true) {
    const ssize_t n = ::read(pipe, part.data(), part.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    text.append(part.data(), static_cast<std::size_t>(n));
  }
  if (text.empty())
    return refuse(
        "the daemon ended before the mount answered; its log is ebb.log in the state folder");
  if (text[0] == kDone) return {};
  return tl::unexpected(Refusal{text.substr(1), text[0]});
}

void point_at_null(int fd, int flags) {
  const int null = ::open("/dev/null", flags | O_CLOEXEC);
  if (null >= 0) ::dup2(null, fd);
  if (null >= 0) ::close(null);
}

[[noreturn]] void be_child(int pipe, const std::function<int(const Verdict&)>& daemon) {
  ::setsid();
  if (::chdir("/") != 0) std::_Exit(kFailed);
  point_at_null(STDIN_FILENO, O_RDONLY);
  point_at_null(STDOUT_FILENO, O_WRONLY);
  const int code = daemon([pipe](const Outcome<>& outcome) {
    send_verdict(pipe, outcome);
    ::close(pipe);
  });
  std::exit(code);
}

}  // namespace

Outcome<> run_in_background(const std::function<int(const Verdict&)>& daemon) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return refuse("a pipe: {}", std::strerror(errno));
  const pid_t child = ::fork();
  if (child < 0) return refuse("a process of its own for the mount: {}", std::strerror(errno));
  if (child == 0) {
    ::close(ends[0]);
    be_child(ends[1], daemon);
  }
  ::close(ends[1]);
  auto verdict = receive_verdict(ends[0]);
  ::close(ends[0]);
  if (!verdict) ::waitpid(child, nullptr, 0);
  return verdict;
}

}  // namespace ebb::fusefs
