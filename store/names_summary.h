// What one side knows of the names in a folder, as a summary: equal on both sides where neither has
// anything to tell the other.  The summary of a map (fsmap.h) of XXH3-128 digests, one for each
// name, in the order of the names' bytes.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/digest.h"
#include "base/ids.h"

namespace ebb::store {

struct KnownName {
  std::string name;
  EntryId entry;
  std::uint8_t kind = 0;  // as on the wire
  Version content;
  Version attributes;
};

class NamesSummary {
 public:
  /// In any order.
  void add(KnownName known) { names_.push_back(std::move(known)); }
  Digest finish();

 private:
  std::vector<KnownName> names_;
};

}  // namespace ebb::store
