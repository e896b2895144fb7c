// A file as it was at one moment, while others may go on writing it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/file_io.h"

namespace ebb {

struct Snapshot {
  std::shared_ptr<File> file;  // a copy without a name, ends with the object
  std::uint64_t size = 0;
  bool consistent = false;  // nothing was written while it was taken
};

/// Brings the file to the disk and copies it, by sharing its blocks where the filesystem can.
/// `copy` is a path beside it that is used meanwhile.  EFBIG where the file is too large for a real
/// copy, EOPNOTSUPP where the files have no descriptors.  Blocking; any thread.
Result<Snapshot> take_snapshot(FileIo& io, const std::string& path, const std::string& copy);

}  // namespace ebb
