// Content files that the kernel reads and writes by itself (FUSE passthrough): handing them out, and what can be
// seen of them from beside.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/clock.h"

namespace ebb::fusefs {

/// A file as it is on the disk, whoever wrote it last.
struct FileStamp {
  std::uint64_t size = 0;
  WallNs mtime = 0;
  bool sparse = false;  // it may have holes

  friend bool operator==(const FileStamp& a, const FileStamp& b) {
    return a.size == b.size && a.mtime == b.mtime;
  }
};

/// A seam.  Any thread.
class KernelFiles {
 public:
  virtual ~KernelFiles() = default;
  /// A number for the answers to opens, until remove(); 0 where the kernel does not do it.
  virtual int add(const std::string& path) = 0;
  virtual void remove(int number) = 0;
  virtual std::optional<FileStamp> stamp(const std::string& path) const = 0;
  /// Whether anybody has it open for writing, by a descriptor or a mapping; a descriptor of ours
  /// counts, too.
  virtual bool open_for_writing(const std::string& path) const = 0;
};

}  // namespace ebb::fusefs
