// The map of a directory as it lies on a disk: walked, hashed and remembered.
//
// What is listed: regular files.  Symlinks are not followed and not listed; they and FIFOs, sockets
// and devices are counted.  What is mounted beneath is not entered.  `.ebbd` at the top is never
// part of the tree. A file that cannot be read or changes again and again, and a name with a
// newline, fail the whole map: a map with a hole would have somebody delete what it does not list.
#pragma once

#include <atomic>
#include <functional>
#include <string>

#include "base/digest.h"
#include "base/result.h"
#include "store/fsmap_tree.h"

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
  /// The walk ends with ECANCELED soon after it is true.
  const std::atomic<bool>* stop = nullptr;
  /// Called now and then on the caller's thread.
  std::function<void(const FsmapProgress&)> progress{};
};

/// The error's detail is the path from the top.  `top` is an open directory.
Result<FsmapTree> walk_fsmap(int top, const FsmapOptions& options);

}  // namespace ebb::store
