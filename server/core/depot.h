// The served tree as the service sees it: folders, contents and names on a disk that other programs
// change, too.  A seam: DirectoryDepot serves a directory, the fake of the tests keeps a tree in
// memory and forgets at a crash what was not synced.
//
// Every call blocks and may come from any thread (the service's executor).  Calls that touch the
// same entry are ordered by the caller.  Nothing is durable before one of the sync calls has
// returned.
//
// Errors: errno values, and proto::Errc::moved_on where an entry is not what the caller has seen.
// ENOENT also stands for "no longer this folder": a path that now leads to another folder. What is
// never served: `.ebbd` at the root, devices, FIFOs, sockets, other filesystems mounted beneath,
// anything behind a symlink.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/ranges.h"
#include "base/result.h"
#include "proto/messages.h"
#include "store/fsmap_walk.h"

namespace ebb::server {

/// How an entry is recognised again, whatever it is called: opaque bytes, at most kIdentityMax.
/// Begins with 'H' where it is never given again to another entry (file handle), with 'I' where it
/// may be (inode number): then it serves for comparing within moments only, and a move is not
/// recognised.
using Identity = std::string;
inline constexpr std::size_t kIdentityMax = 160;
inline bool lasting(const Identity& identity) {
  return !identity.empty() && identity[0] == 'H';
}

/// What is known of an entry by looking at it.
struct Facts {
  proto::EntryKind kind = proto::EntryKind::none;
  Identity identity;
  std::uint64_t size = 0;
  std::uint32_t links = 1;
  WallNs ctime = 0;
  proto::Attributes attributes;
  std::string target;           // symlink
  std::uint64_t allocated = 0;  // bytes on the disk, as of a look at it
};
/// True when nobody can have touched the entry between the two looks.
bool untouched(const Facts& a, const Facts& b);
/// True when nobody can have changed the content between the two looks, though names or attributes
/// may have changed (which moves ctime, too): what is compared after a rename of our own.
bool same_content(const Facts& a, const Facts& b);
/// True when a name of the entry may go: it is as it was seen, but for other names of it that came
/// or went, which moves ctime, too.
bool removable(const Facts& now, const Facts& seen);

struct Found {
  std::string name;
  Facts facts;
};

/// A folder by its path from the root ("" is the root, else "a/b") and, unless empty, its identity:
/// a path that leads to another folder is ENOENT.
struct FolderRef {
  std::string path;
  Identity identity;
};
/// A name in a folder; an empty name is the folder itself.
struct Spot {
  FolderRef folder;
  std::string name;
};

struct FolderRead {
  Facts self;
  std::vector<Found> entries;  // in no order
};

struct Space {
  std::uint64_t bytes_total = 0;
  std::uint64_t bytes_free = 0;
  std::uint64_t files_total = 0;
  std::uint64_t files_free = 0;
  std::uint64_t bytes_available = 0;  // of bytes_free, what others than root may use
};

/// A served file opened for reading.  It stays readable when its name goes.
class DepotFile {
 public:
  virtual ~DepotFile() = default;
  /// Fewer bytes than asked for only at the end of the file.
  virtual Result<std::size_t> read_at(std::uint64_t offset, std::span<std::byte> out) = 0;
  /// The parts of the range that may hold data, in order, at most `most`; the rest reads as zero.
  virtual std::vector<Range> data_in(Range range, std::size_t most) const {
    (void)most;
    return {range};
  }
  /// As of now.  A reader compares it with what it saw at first, after each read.  Without xattrs.
  virtual Result<Facts> facts() = 0;
};

/// A new content on its way, under its number in `.ebbd/tmp` of the target's filesystem.  Stays
/// there until it is landed or unstaged, whatever happens to this object.
/// Attributes are set as far as this server may: an owner that it may not set stays as it is.
class StagedFile {
 public:
  virtual ~StagedFile() = default;
  virtual Result<> write_at(std::uint64_t offset, ByteView in) = 0;
  virtual Result<std::size_t> read_at(std::uint64_t offset, std::span<std::byte> out) = 0;
  /// As a DepotFile's.
  virtual std::vector<Range> data_in(Range range, std::size_t most) const {
    (void)most;
    return {range};
  }
  /// Takes a range of a served file's content to `at`, sharing its blocks where the filesystem can.
  virtual Result<> copy_from(DepotFile& file, Range range, std::uint64_t at) = 0;
  /// Cuts, or extends with a hole.
  virtual Result<> resize(std::uint64_t size) = 0;
  /// Owner, mode and attributes that are not served, as the file has them that it will replace.
  /// What cannot be taken over is left as it is.
  virtual Result<> inherit(DepotFile& file) = 0;
  virtual Result<> set_attributes(std::uint8_t bits, const proto::Attributes& attributes) = 0;
  virtual Result<> sync() = 0;
  virtual Result<Facts> facts() = 0;
};

/// What a change of the tree found and left.
struct Landed {
  Facts before;  // of the entry as it stood there (kind none: nothing did)
  Facts after;   // of the entry now
  Facts other;   // exchange: of the other entry now
  /// Another program changed the entry at the last moment; what it wrote stands under this name
  /// beside it.
  std::string conflict_name;
  bool kept = false;    // what came out is in history under the number given
  std::string kept_as;  // its name there
  std::uint64_t kept_bytes = 0;
};

/// A name in a watched folder with which something was done.
struct Noticed {
  std::uint64_t folder = 0;  // its tag
  std::string name;
  bool being_written = false;  // more of the same is to be expected
};
struct Notices {
  std::vector<Noticed> changed;
  std::vector<std::uint64_t> unwatched;  // tags of folders that are watched no more
  bool all = false;                      // and more than could be noted
};

class Depot {
 public:
  virtual ~Depot() = default;

  // ---- reading
  virtual Result<FolderRead> read_folder(const FolderRef& folder) = 0;
  virtual Result<Facts> stat(const Spot& spot) = 0;
  virtual Result<std::unique_ptr<DepotFile>> open(const Spot& spot) = 0;
  virtual Result<Space> space() = 0;
  /// The map of a folder as it lies there now.  Errors as of walk_fsmap().
  virtual Result<store::FsmapTree> map(const FolderRef& folder,
                                       const store::FsmapOptions& options) = 0;
  /// False: a replacement has a window in which another program's change can be lost (ebbd(8),
  /// "Landing").
  virtual bool exchanges() const = 0;

  // ---- staging
  virtual Result<std::unique_ptr<StagedFile>> stage_file(std::uint64_t number) = 0;
  virtual Result<Facts> stage_folder(std::uint64_t number, std::uint8_t bits,
                                     const proto::Attributes& attributes) = 0;
  virtual Result<Facts> stage_symlink(std::uint64_t number, const std::string& target,
                                      std::uint8_t bits, const proto::Attributes& attributes) = 0;
  virtual Result<Facts> staged(std::uint64_t number) = 0;
  /// No error when it is not there.
  virtual Result<> unstage(std::uint64_t number) = 0;
  virtual Result<std::vector<std::uint64_t>> list_staged() = 0;
  /// Something in staging that must not be lost goes to history.  Its name there; empty: there was
  /// nothing.
  virtual Result<std::string> keep(std::uint64_t number, std::uint64_t history) = 0;

  // ---- history: files and symlinks under names that kept_name() makes
  virtual Result<Facts> stat_kept(const std::string& name) = 0;
  virtual Result<std::unique_ptr<DepotFile>> open_kept(const std::string& name) = 0;
  /// No error when it is not there.
  virtual Result<> drop_kept(const std::string& name) = 0;

  // ---- landing: each one step that a crash leaves done or not done
  /// A name that nothing holds: else EEXIST.
  virtual Result<Landed> land_new(std::uint64_t number, const Spot& spot) = 0;
  /// Onto the file that the caller has seen; else moved_on and nothing has changed.  What came out
  /// goes to history.
  virtual Result<Landed> land_over(std::uint64_t number, const Spot& spot, const Facts& seen,
                                   std::uint64_t history) = 0;
  /// A further name of the file that was seen at `other`, replaced by a link to the one at
  /// `landed`; `number` is a free staging number.  Done already: no error.
  virtual Result<Landed> land_link(const Spot& landed, const Spot& other, const Facts& seen,
                                   std::uint64_t number, std::uint64_t history) = 0;

  // ---- names.  `identity` is whose name it must be, else ENOENT
  virtual Result<Landed> link(const Spot& from, const Identity& identity, const Spot& to) = 0;
  virtual Result<Landed> rename(const Spot& from, const Identity& identity, const Spot& to) = 0;
  virtual Result<Landed> exchange(const Spot& a, const Identity& identity, const Spot& b,
                                  const Identity& other) = 0;
  /// The entry as seen, else moved_on.  The last name of a file or symlink goes to history; a
  /// folder must be empty.
  virtual Result<Landed> remove(const Spot& spot, const Facts& seen, std::uint64_t history) = 0;
  virtual Result<Landed> set_attributes(const Spot& spot, const Identity& identity,
                                        std::uint8_t bits, const proto::Attributes& attributes) = 0;

  // ---- what other programs do
  /// What happens to names of the folder is noticed from now on, under this tag; again for the same
  /// folder: no error.
  virtual Result<> watch(const FolderRef& folder, std::uint64_t tag) = 0;
  /// Since the last call, everything that was done before this one.  Does not block.
  virtual Notices take_notices() = 0;
  /// Whether nothing is done to a watched folder's names without a notice.  Not so where other
  /// machines write.
  virtual bool notices_all() const = 0;
  /// Readable when there are notices; -1: nobody can wait for them.
  virtual int notices_fd() const = 0;

  // ---- durability
  virtual Result<> sync_staged() = 0;  // the names in staging and in history
  virtual Result<> sync_folder(const FolderRef& folder) = 0;
  virtual Result<> sync_all() = 0;  // everything: contents, names, history
};

/// 16 hex digits, and from the second of the same number on "-2" ...: a number comes again where
/// the database was taken back to an older state, and nothing in history is overwritten.
std::string kept_name(std::uint64_t number, int count = 1);
inline constexpr int kKeptOfOneNumber = 1000;
/// What is in history under the number and is this entry; none: nothing.
Result<std::optional<std::string>> find_kept(Depot& depot, std::uint64_t number,
                                             const Identity& identity);

/// From the root.
std::string path_of(const Spot& spot);

/// 1 to 255 bytes other than '/' and NUL, not "." or "..", not `.ebbd` at the root.
Result<> check_spot(const Spot& spot);
inline constexpr const char* kOwnFolder = ".ebbd";

}  // namespace ebb::server
