// Content files: one numbered file for each content, `content/NN/NUMBER` beside `data/`, sparse while partial.
// A content file that a handle or a registered backing may have is never truncated or punched for the
// engine's sake: new content is a new number, the old file is unlinked.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/file_io.h"
#include "base/ranges.h"
#include "base/result.h"

namespace ebb::store {

/// Any thread.
class ContentFolder {
 public:
  ContentFolder(FileIo& io, std::string folder)
      : io_(io), folder_(std::move(folder)), folders_(std::make_shared<Folders>()) {}

  /// Makes an empty file of that size (a hole).  EEXIST when the number is taken.
  Result<std::unique_ptr<File>> create(std::uint64_t number, std::uint64_t size);
  Result<std::unique_ptr<File>> open(std::uint64_t number);
  /// No error when it is not there.
  Result<> remove(std::uint64_t number);
  std::string path(std::uint64_t number) const;
  /// All content on disk (syncfs), for the settle after many small pulls.
  Result<> sync_all();
  /// The numbers of all files there; `ebb check` alone asks.
  Result<std::vector<std::uint64_t>> list();

 private:
  friend class ContentFile;
  /// Whether the names of the folders are on disk; who makes one or makes them durable holds the lock.
  struct Folders {
    std::mutex mutex;
    bool durable = false;
  };
  Result<> make_folder(const std::string& folder);

  FileIo& io_;
  std::string folder_;
  std::shared_ptr<Folders> folders_;
};

/// Which ranges of a partial content are here, in two sets: `settled` is durable and believed always;
/// `recent` was claimed since the last settle: believed after kill -9, dropped when the store was opened
/// after a reboot.  Packed into Text::extents.
struct Extents {
  RangeSet settled;
  RangeSet recent;

  RangeSet here() const;
};
Bytes pack(const Extents& extents);
Result<Extents> unpack_extents(ByteView bytes);

}  // namespace ebb::store
