// A map in memory: the files of a directory with their digests, as a tree of folders.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/digest.h"

namespace ebb::store {

struct FsmapCounts {
  std::uint64_t files = 0;
  std::uint64_t bytes = 0;     // of their contents
  std::uint64_t hashed = 0;    // read; the others' digests were remembered
  std::uint64_t symlinks = 0;  // not listed
  std::uint64_t others = 0;    // FIFOs, sockets, devices: not listed
  std::uint64_t mounts = 0;    // not entered
};

/// What tells that a file has not been changed.
struct FsmapFile {
  Digest digest{};
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  std::uint64_t size = 0;
  std::int64_t mtime = 0;  // nanoseconds
  std::int64_t ctime = 0;
  // Where its name stands in its folder's names.
  std::uint32_t name = 0;
  std::uint16_t name_size = 0;
  std::uint16_t settled = 0;  // 1: its times were old enough to tell a later change
};
static_assert(sizeof(FsmapFile) == 64 && std::has_unique_object_representations_v<FsmapFile>);

/// About 64 bytes and a name for each file.  Immutable.
class FsmapTree {
 public:
  struct Folder {
    std::uint32_t parent = 0;  // the top's is itself
    std::uint32_t name = 0;    // in the parent's names
    std::uint16_t name_size = 0;
    std::string names;                   // of what is in it, one after the other
    std::vector<FsmapFile> files;        // sorted by name
    std::vector<std::uint32_t> folders;  // likewise
  };

  FsmapTree() = default;
  /// Of files that were listed elsewhere, in any order; no path twice.
  FsmapTree(DigestKind kind, std::vector<std::pair<std::string, FsmapFile>> files);

  DigestKind kind() const { return kind_; }
  const FsmapCounts& counts() const { return counts_; }
  std::uint64_t size() const { return counts_.files; }
  const Digest& summary() const { return summary_; }
  const std::deque<Folder>& folders() const { return folders_; }

  /// In the order of the map.
  void each(const std::function<void(std::string_view path, const FsmapFile&)>& file) const;
  std::string_view name_of(const Folder& folder, const FsmapFile& file) const;
  /// "" for the top.
  std::string path_of(std::uint32_t folder) const;

 private:
  friend class FsmapWalk;
  friend class FsmapIndex;
  /// In the order of the map, with the size of the path that stands before the folder's names.
  void each_place(const std::function<void(std::uint32_t folder, std::uint32_t file)>& take) const;
  std::uint32_t add_folder(std::uint32_t parent, std::string_view name);
  /// Sums up what is in it.
  void finish();

  DigestKind kind_ = DigestKind::md5;
  FsmapCounts counts_;
  Digest summary_{};
  std::deque<Folder> folders_ = std::deque<Folder>(1);  // 0 is the top
};

/// The files of a map by their index; 8 bytes each beside the map itself.
class FsmapIndex {
 public:
  explicit FsmapIndex(FsmapTree tree);
  const FsmapTree& tree() const { return tree_; }
  std::uint64_t size() const { return places_.size(); }
  const FsmapFile& file(std::uint64_t index) const;
  std::string path(std::uint64_t index) const;

 private:
  struct Place {
    std::uint32_t folder;
    std::uint32_t file;
  };
  FsmapTree tree_;
  std::vector<Place> places_;
};

}  // namespace ebb::store
