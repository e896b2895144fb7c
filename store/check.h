// A whole store read through and held to its invariants.  Nothing is repaired.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/file_io.h"
#include "base/result.h"
#include "store/store.h"

namespace ebb::store {

struct CheckReport {
  std::uint64_t nodes = 0;
  std::uint64_t names = 0;
  std::uint64_t cells = 0;            // in Tables of the layers above
  std::vector<std::string> problems;  // one line each, at most kProblemsMax
  std::vector<std::string> notes;     // worth knowing, and nothing wrong
  bool clean() const { return problems.empty(); }
};
inline constexpr std::size_t kProblemsMax = 1000;

/// Opens the store in the data folder, which redoes its journal as any opening does, and checks it.
/// An error is one that keeps from looking at all: no store, locked, too damaged to open.
Result<CheckReport> check(FileIo& io, const std::string& folder);
/// The same, and what a client promises of its store: `content` is the folder of its content files.
Result<CheckReport> check(FileIo& io, const std::string& folder, const std::string& content);
/// The same of an open store; the owner's lock, no transaction.
CheckReport check(const Store& store);

}  // namespace ebb::store
