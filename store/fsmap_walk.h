// The map of a directory as it lies on a disk: walked, hashed and remembered.
//
// What is listed: regular files.  Symlinks are not followed and not listed; they and FIFOs, sockets
// and devices are counted.  What is mounted beneath is not entered.  `.ebbd` at the top is never
// part of the tree. A file that cannot be read or changes again and again, and a name with a
// newline, fail the whole map: a map with a hole would have somebody delete what it does not list.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "base/result.h"

namespace ebb::store {

struct FsmapProgress {
  std::uint64_t files = 0;
  std::uint64_t bytes = 0;  // read
};

struct FsmapOptions {
  DigestKind kind = DigestKind::md5;
  /// 0: as many as there are cores, and some for waiting on a disk.
  unsigned threads = 0;
  /// Digests of files that were not changed since; empty: none is kept.  One that is missing,
  /// damaged or of another directory is as none; it is replaced when something is different.
  std::string cache{};
  /// Called now and then on the caller's thread.
  std::function<void(const FsmapProgress&)> progress{};
};

struct FsmapCounts {
  std::uint64_t files = 0;
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

class FsmapTree;
/// The error's detail is the path from the top.  `top` is an open directory.
Result<FsmapTree> walk_fsmap(int top, const FsmapOptions& options);

/// A map in memory: about 64 bytes and a name for each file.  Immutable.
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
  DigestKind kind_ = DigestKind::md5;
  FsmapCounts counts_;
  Digest summary_{};
  std::deque<Folder> folders_;  // 0 is the top
};

}  // namespace ebb::store
