// A store that takes the place of another one whole, whatever happens meanwhile.
//
// The new one lies complete in FOLDER.new, with a file `complete` that says so; from then on its
// files are copied over those in FOLDER, and the copying begins again at the next opening of FOLDER
// until it has come to its end.
#pragma once

#include <string>

#include "base/file_io.h"
#include "base/result.h"

namespace ebb::store {

inline constexpr const char* kNewSuffix = ".new";

/// True when a replacement of the store in `folder` was begun and not ended.
Result<bool> replacement_waits(FileIo& io, const std::string& folder);
/// FOLDER.new, empty, for the store that is to come.
Result<std::string> prepare_replacement(FileIo& io, const std::string& folder);
/// The store in FOLDER.new is complete and closed.  Call replace() next, or open FOLDER.
Result<> declare_replacement(FileIo& io, const std::string& folder);
/// Ends what waits, if anything does.  The caller holds the lock in FOLDER.
Result<> replace(FileIo& io, const std::string& folder);

/// Copies the files of a store, but for its lock.
Result<> copy_store(FileIo& io, const std::string& from, const std::string& to);

}  // namespace ebb::store
