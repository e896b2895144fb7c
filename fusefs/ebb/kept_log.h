// The log of a daemon before it knows where its log is.
#pragma once

#include <string>

namespace ebb::fusefs {

/// From its making on, standard error goes to memory; move_to() appends what is there to a file and
/// goes on in the file, with everything that says its last word on standard error.  Done on the
/// descriptor, so that threads may log meanwhile.  Never moved: it is dropped.
class KeptLog {
 public:
  /// Off: does nothing at all.
  explicit KeptLog(bool on);
  ~KeptLog();
  KeptLog(const KeptLog&) = delete;
  KeptLog& operator=(const KeptLog&) = delete;

  void move_to(const std::string& path);

 private:
  int memory_ = -1;
};

}  // namespace ebb::fusefs
