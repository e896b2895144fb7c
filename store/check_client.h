// What a client's store promises beyond the store's own invariants: flags of nodes and the tables
// that list them agree, and what is recorded as here has its content file.
#pragma once

#include <vector>

#include "base/file_io.h"
#include "store/check.h"

namespace ebb::store {

/// Adds what is wrong to the report.  `content` is the folder of the content files.
void check_client(FileIo& io, const Store& store, const std::string& content, CheckReport& report);

/// Makes tables and flags agree; says in `done` what it did.  Commits as it goes.
/// `others`: nodes to look at beside those that names lead to.
Result<> mend_client(Store& store, const std::vector<NodeId>& others,
                     std::vector<std::string>& done);

}  // namespace ebb::store
