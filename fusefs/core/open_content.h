// The content of one node while somebody has to do with it: a handle, a pull, a push, or the wait
// for its data to be on disk.
//
// Invariants:
//   - `here` is what may be read; settled and recent and unchecked make it up, or `whole` all of
//   [0, size)
//   - a byte that is being written to the file stands in `writing` or in `landing`; a pull lands
//   only on bytes
//     in neither set and not here, an application's write waits for what is landing under it: so a
//     pull never overwrites what an application wrote
//   - `unchecked` came in pull sessions whose hash has not been compared yet; the store is not told
//   of it
//   - while the bytes of `unchecked` wait for the hash, TCP (and TLS) vouch for them
//   - `generation` moves when the file is exchanged; what was begun for an earlier one is dropped
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/clock.h"
#include "base/file_io.h"
#include "base/ranges.h"
#include "fusefs/core/client.h"
#include "fusefs/core/kernel_files.h"
#include "store/content.h"

namespace ebb::fusefs {

/// How an inode is read and written: decided by its first open, until the last release.  The kernel
/// allows one at a time.
enum class IoMode : std::uint8_t { undecided, through_us, passthrough };

/// Under the client's lock.
struct OpenContent {
  NodeId node;
  std::uint64_t number = 0;    // 0 = there is no file yet
  std::shared_ptr<File> file;  // opened when first needed
  std::uint64_t used = 0;      // when the file was last asked for, to close the oldest ones
  bool opening = false;        // somebody is at it, without the lock
  bool new_file = false;       // its folder entry is not on disk for sure
  bool detached = false;       // the node has another content now; this one ends with its holders
  std::uint64_t generation = 0;

  std::uint64_t size = 0;
  bool whole = false;
  bool sparse = false;  // the store knows that its blocks may be fewer, or more, than its size says
  store::Extents extents;
  RangeSet unchecked;
  RangeSet here;
  std::vector<Range> writing;
  std::vector<Range> landing;

  std::uint64_t writes = 0;   // by applications, for the settling to see that more came
  std::uint64_t flushes = 0;  // flush and fsync, for the push to see that a state was completed
  bool unsettled = false;     // in the list of those to be settled
  bool is_volatile =
      false;  // the store counts what is here as lost after a power cut, where the server has it
  bool write_marked = false;  // the store knows that a writer has the file in hand
  bool sync_failed = false;  // what is in the file may never reach the disk but by being written again
  bool unrecorded =
      false;  // the file was changed and the store does not know it: the mark stays until it does

  // How the kernel has it: contents_passthrough.cpp.
  IoMode io = IoMode::undecided;
  bool deciding = false;         // somebody is at it, without the lock
  int backing = 0;               // of KernelFiles, while a handle is open
  std::uint32_t handles = 0;     // open ones
  std::uint32_t handed_out = 0;  // writers that write the file without us
  bool watched = false;          // somebody may still write it, after the last close too
  bool pushed_in_doubt = false;  // then, and perhaps not as it was at any one moment
  Time look_at{};                // when it is to be seen whether somebody still does
  FileStamp stamp;

  // What is to be pulled, most urgent first.
  bool stale = false;  // the server has this version no more
  RangeSet want_now;
  RangeSet want_ahead;
  bool want_all = false;
  RangeSet in_flight;
  int failures = 0;
  Time retry_at{};
  struct Reader {
    Ticket ticket = 0;
    Range range;
  };
  std::vector<Reader> readers;

  bool is_here(Range range) const { return whole || here.contains(range); }
  Range all() const { return {0, size}; }
  /// What of the range a pull may land on now.
  RangeSet landable(Range range) const;
  bool wanted() const { return !want_now.empty() || !want_ahead.empty() || want_all; }
  std::uint64_t bytes_here() const { return whole ? size : here.within(all()).total(); }
};
using ContentPtr = std::shared_ptr<OpenContent>;

}  // namespace ebb::fusefs
