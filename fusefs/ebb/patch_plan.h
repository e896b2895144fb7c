// What a directory lacks of a map and what it has that the map has not.  Pure.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <unordered_set>
#include <vector>

#include "base/result.h"
#include "store/fsmap.h"
#include "store/fsmap_tree.h"

namespace ebb::fusefs {

/// A file that is to come, once its path is known.
struct Landing {
  std::string path;
  const store::FsmapFile* listed = nullptr;  // the invalid local file that stands there
};

class PatchPlan {
 public:
  PatchPlan(const store::Minified& target, store::FsmapTree local);

  const std::vector<std::uint64_t>& missing() const { return missing_; }
  std::uint64_t invalid_count() const { return invalid_.size(); }
  void each_invalid(
      const std::function<void(const std::string&, const store::FsmapFile&)>& take) const;
  bool empty() const { return missing_.empty() && invalid_.empty(); }

  /// Where the missing files go, in their order.  An error where these paths cannot be those of one
  /// map together with what is here already.
  Result<std::vector<Landing>> landings(std::vector<std::string> paths) const;
  /// Splits the invalid files: what stands in the way of a landing, and what is left over when all
  /// have landed.
  struct Removals {
    std::vector<std::uint64_t> before;
    std::vector<std::uint64_t> after;
  };
  Removals removals(const std::vector<Landing>& landings) const;
  const store::FsmapIndex& local() const { return local_; }

 private:
  store::FsmapIndex local_;
  std::vector<std::uint64_t> missing_;  // indices of the target
  std::vector<std::uint64_t> invalid_;  // of the local map
};

}  // namespace ebb::fusefs
