// Digests remembered from one walk to the next.  A file of the shape of the tree, mapped: what a
// walk looks for stands beside what it has just found, so that looking costs no memory and no
// search.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "store/fsmap_walk.h"

namespace ebb::store {

/// Of one directory and one kind of digest.  Read-only; any thread.
class FsmapCache {
 public:
  FsmapCache() = default;
  ~FsmapCache();
  FsmapCache(const FsmapCache&) = delete;
  FsmapCache& operator=(const FsmapCache&) = delete;

  /// Without effect when the file is missing, damaged or of another kind.
  void open(const std::string& path, DigestKind kind);

  struct Child {
    std::uint64_t folder = 0;  // where its block begins
    std::uint32_t name = 0;
    std::uint16_t name_size = 0;
    std::uint16_t reserved = 0;
  };
  static_assert(sizeof(Child) == 16);
  struct Folder {
    std::span<const FsmapFile> files{};  // sorted by name
    std::span<const Child> folders{};    // likewise
    std::string_view names{};
  };
  /// Offset 0 is no folder.
  std::uint64_t top() const { return top_; }
  Folder folder(std::uint64_t offset) const;
  std::uint64_t files() const { return files_; }
  /// What was looked at need not stay in memory; it comes again when it is.
  void release() const;

 private:
  const std::byte* bytes_ = nullptr;
  std::uint64_t size_ = 0;
  std::uint64_t top_ = 0;
  std::uint64_t files_ = 0;
};

/// Replaces the cache in one step.
Result<> write_fsmap_cache(const std::string& path, const FsmapTree& tree);

}  // namespace ebb::store
