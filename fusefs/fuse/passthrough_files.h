// KernelFiles over a FUSE session.
#pragma once

#include <mutex>
#include <string>

#include "fusefs/core/kernel_files.h"
#include "fusefs/fuse/libfuse.h"

namespace ebb::fusefs {

/// Needs Linux 6.9, libfuse 3.17, CAP_SYS_ADMIN, and a filesystem that tells of stores into mapped
/// files.  Where one is missing, before attach() and after detach(), add() says 0.
class PassthroughFiles final : public KernelFiles {
 public:
  /// `folder` is where the files will lie; one is made there and tried.
  void attach(fuse_session* session, const std::string& folder);
  void detach();

  int add(const std::string& path) override;
  void remove(int number) override;
  std::optional<FileStamp> stamp(const std::string& path) const override;
  bool open_for_writing(const std::string& path) const override;

 private:
  std::mutex mutex_;
  int device_ = -1;  // guarded by mutex_
};

}  // namespace ebb::fusefs
