// Rebuilds a store from whatever of it can still be read.  The damaged one is kept beside it; no
// content file is touched.
#pragma once

#include <string>
#include <vector>

#include "base/file_io.h"
#include "base/result.h"

namespace ebb::store {

struct RepairReport {
  std::vector<std::string> done;  // what was mended or lost, one line each
  std::string kept_as;  // the damaged store's folder; empty when nothing had to be rebuilt
};

/// `folder` is the data folder, `client` says that it is a client's.  A store that is sound is left
/// alone. Errors: in use, no store here, a newer format, or a disk that fails; the store is then as
/// it was.
Result<RepairReport> repair(FileIo& io, const std::string& folder, bool client);

}  // namespace ebb::store
