// The one door of store and content to the disk.  A seam: the real one calls the OS; the one of the tests
// keeps its files in memory, fails the n-th call, fills up, and at a crash keeps a random, torn part of what
// was not synced.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/ranges.h"
#include "base/result.h"

namespace ebb {

/// An open regular file.  Any thread; concurrent calls on overlapping bytes are the caller's to order.
/// Errors name the file.  Everything is durable only after sync().
class File {
 public:
  virtual ~File() = default;

  /// Up to out.size() bytes; fewer only at the end of the file.
  virtual Result<std::size_t> read_at(std::uint64_t offset, std::span<std::byte> out) const = 0;
  /// All of it or an error; after an error any part may have been written.
  virtual Result<> write_at(std::uint64_t offset, ByteView in) = 0;
  virtual Result<std::uint64_t> size() const = 0;
  /// Cuts, or extends with a hole.
  virtual Result<> truncate(std::uint64_t size) = 0;
  /// Makes sure that [0, size) has disk blocks and reads as zero where nothing was written; ENOSPC here and
  /// not as SIGBUS in a mapping later.
  virtual Result<> allocate(std::uint64_t size) = 0;
  /// Gives the blocks of the range back; it reads as zero.
  virtual Result<> punch(Range range) = 0;
  /// Disk blocks for the range, so that writing there needs none; the size stays.  No error where that
  /// cannot be had.
  virtual Result<> reserve(Range range) {
    (void)range;
    return {};
  }
  /// The parts of the range that may hold data, in order, at most `most`; the rest reads as zero.
  virtual std::vector<Range> data_in(Range range, std::size_t most) const {
    (void)most;
    return range.empty() ? std::vector<Range>{} : std::vector<Range>{range};
  }
  /// Bytes on the disk.
  virtual Result<std::uint64_t> allocated() const { return size(); }
  /// fdatasync: data and the size are on disk when it returns.
  virtual Result<> sync() = 0;

  /// Maps [0, size) shared.  The mapping ends with the file object; a new call replaces the former one,
  /// unless it fails.
  /// Stores into it reach the disk at any time, for sure after sync().
  virtual Result<std::span<std::byte>> map(std::uint64_t size) = 0;

  /// The descriptor, for splice and passthrough; -1 where there is none (fakes).
  virtual int fd() const = 0;
};

enum class OpenMode {
  read,        // must exist
  write,       // must exist; read and write
  create,      // made when missing; read and write
  create_new,  // must not exist; read and write
};

class FileIo {
 public:
  virtual ~FileIo() = default;

  virtual Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode) = 0;
  /// Makes the folder and those above it; no error when it is there.  Mode 0700.
  virtual Result<> make_folder(const std::string& path) = 0;
  virtual Result<std::vector<std::string>> list(const std::string& folder) = 0;
  virtual Result<> rename(const std::string& from, const std::string& to) = 0;
  virtual Result<> remove(const std::string& path) = 0;  // a missing file is ENOENT
  virtual Result<bool> exists(const std::string& path) = 0;
  /// The folder's entries are on disk when it returns.
  virtual Result<> sync_folder(const std::string& folder) = 0;
  /// Everything written on this folder's filesystem is on disk when it returns (syncfs).
  virtual Result<> sync_all(const std::string& folder) = 0;
  /// Takes the lock file for this process until the returned object goes; EBUSY when another has it, with the
  /// holder's text (a process id and what it does) as detail.
  virtual Result<std::shared_ptr<void>> lock(const std::string& path, const std::string& holder) = 0;
  /// Differs after every boot of the machine, so that what was only in its memory can be told.
  virtual std::string boot_id() = 0;
  /// Free bytes on the folder's filesystem.
  virtual Result<std::uint64_t> free_space(const std::string& folder) = 0;
};

/// The machine's own files.
FileIo& system_file_io();

/// Writes a whole file so that after a crash it is the old or the new one: PATH.tmp, sync, rename, folder sync.
Result<> replace_file(FileIo& io, const std::string& path, ByteView content);

}  // namespace ebb
