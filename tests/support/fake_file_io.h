// A disk in memory for tests and simulation: it fails the n-th call, fills up, and at a power loss
// keeps a random, torn part of what was not synced.  Deterministic: chance comes from the seed
// given to crash().
//
// What survives a power loss
//   a file's bytes   as of its last sync, and of what was written later any subset of 512-byte
//   sectors a file's size    as of its last sync, or the later one a name           as of the last
//   sync of its folder (or sync_all), and each later change on its own or not
// A file's sync() does not make its name durable.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "base/file_io.h"

namespace ebb::test {

/// Any thread.  Calls on File objects that were opened before a crash or kill give EIO and change
/// nothing.
class FakeFileIo final : public FileIo {
 public:
  FakeFileIo();
  ~FakeFileIo() override;

  // ---- FileIo
  Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode) override;
  Result<> make_folder(const std::string& path) override;
  Result<std::vector<std::string>> list(const std::string& folder) override;
  Result<> rename(const std::string& from, const std::string& to) override;
  Result<> remove(const std::string& path) override;
  Result<bool> exists(const std::string& path) override;
  Result<> sync_folder(const std::string& folder) override;
  Result<> sync_all(const std::string& folder) override;
  Result<std::shared_ptr<void>> lock(const std::string& path, const std::string& holder) override;
  std::string boot_id() override;
  Result<std::uint64_t> free_space(const std::string& folder) override;

  // ---- faults
  /// The n-th mutating call from now (0 = the next) fails with that errno; those after it work,
  /// unless `for_good`.  A write that fails may have written its first half; a sync that fails has
  /// synced nothing, and what it should have synced is not synced by a later one either.
  void fail_nth(std::uint64_t n, int error = 5 /* EIO */, bool for_good = false);
  void clear_faults();
  bool fault_fired() const;
  /// Bytes that files may take in all; beyond is ENOSPC.  Default: no limit.
  void set_capacity(std::uint64_t bytes);
  std::uint64_t used() const;

  // ---- the end of a process, and of a machine
  /// Everything written stays; open files and locks are gone.
  void kill_process();
  enum class Crash {
    lose_unsynced,  // exactly what was synced survives
    torn,           // any subset of the sectors and names that were not synced survives, too
    keep_all,       // everything survives, as after a kill, but the boot id is another
    keep_mapped,    // all of the files that were mapped survives, of the others what was synced
    lose_mapped,    // the reverse: of files that were mapped only what was synced survives
    tear_last,      // everything but an end of the last write
  };
  void crash(std::uint64_t seed, Crash mode = Crash::torn);
  /// A copy of the disk as it is, synced state included, with nothing open.
  std::unique_ptr<FakeFileIo> clone() const;

  // ---- watching
  /// Called after every mutating call, with its number since the start and a line that says what it
  /// was; the disk's lock is not held.
  using Watch = std::function<void(std::uint64_t number, const std::string& what)>;
  void watch(Watch watch);
  std::uint64_t mutations() const;

  // ---- a test's own hands
  Bytes content(const std::string& path) const;               // empty when missing
  void set_content(const std::string& path, ByteView bytes);  // and synced, name included
  std::vector<std::string> files() const;

 private:
  struct Inode;
  class Handle;
  class Region;
  struct Disk;

  std::unique_ptr<Disk> disk_;
};

}  // namespace ebb::test
