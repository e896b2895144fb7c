#include "fusefs/ebb/kept_log.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <unistd.h>

namespace ebb::fusefs {

KeptLog::KeptLog(bool on) {
  if (!on) return;
  memory_ = ::memfd_create("ebb.log", MFD_CLOEXEC);
  if (memory_ >= 0) ::dup2(memory_, STDERR_FILENO);
}

KeptLog::~KeptLog() {
  if (memory_ >= 0) ::close(memory_);
}

void KeptLog::move_to(const std::string& path) {
  if (memory_ < 0) return;
  // Without O_APPEND at first: sendfile does not take it.
  const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (file < 0) return;  // as good as a full disk: the mount works without its log
  off_t from = 0;
  ::lseek(file, 0, SEEK_END);
  while (::sendfile(file, memory_, &from, 1u << 20) > 0) {
  }
  ::fcntl(file, F_SETFL, O_APPEND);
  ::dup2(file, STDERR_FILENO);
  ::close(file);
}

}  // namespace ebb::fusefs
