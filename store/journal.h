// The journal: one file from one checkpoint to the next, a record for each transaction.
//
// While a checkpoint runs there are two: the old one, which it makes superfluous, and the active
// one.  A record counts only if every record before it counts, across both. Threads: the owner's
// lock guards append() and start(); sync() and retire() may be called from any thread.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/file_io.h"
#include "base/ids.h"
#include "base/result.h"
#include "store/layout.h"

namespace ebb::store {

class Journal {
 public:
  Journal(FileIo& io, std::string folder, TreeId tree)
      : io_(io), folder_(std::move(folder)), tree_(tree) {}

  /// Makes journal `number` the active one; the next record gets `first_sequence`.
  Result<> start(std::uint64_t number, std::uint64_t first_sequence);
  /// `record` has room for its header, then the body; the header and the padding are filled in.  On
  /// error the record is not there.
  Result<> append(Bytes& record);

  /// Everything appended before the call is on disk when it returns.  One sync serves all who wait.
  Result<> sync();
  /// Removes the journals before `number`, which a checkpoint has made superfluous.
  void retire(std::uint64_t number);

  std::uint64_t number() const { return active_->number; }
  std::uint64_t last_sequence() const { return appended_; }
  std::uint64_t bytes() const { return end_; }
  /// After a failure that leaves unknown what is on disk: the error, for good.  Any thread.
  Result<> usable() const;
  void poison(const Error& error);

  static std::string name(std::uint64_t number);
  static std::optional<std::uint64_t> number_of(const std::string& name);
  /// The journals in a folder, in order.
  static Result<std::vector<std::uint64_t>> list(FileIo& io, const std::string& folder);

 private:
  struct Segment {
    std::uint64_t number = 0;
    std::string path;
    std::unique_ptr<File> file;
    bool name_synced = false;  // touched by the one who syncs
  };

  Result<> sync_segments(const std::vector<std::shared_ptr<Segment>>& segments);
  Result<> take_back(std::uint64_t end);

  FileIo& io_;
  const std::string folder_;
  const TreeId tree_;
  std::shared_ptr<Segment> active_;  // owner's lock
  std::uint64_t end_ = 0;            // owner's lock
  std::atomic<std::uint64_t> appended_{0};
  std::atomic<std::uint64_t> synced_{0};

  mutable std::mutex mutex_;  // what follows
  std::condition_variable changed_;
  std::vector<std::shared_ptr<Segment>> segments_;
  bool syncing_ = false;
  std::optional<Error> poison_;
};

/// What reading the journals found.
struct Replayed {
  std::uint64_t records = 0;
  std::uint64_t last_sequence = 0;
  bool clean = true;  // nothing behind the last record, nothing out of place
};
using ApplyPatch = std::function<Result<>(FileNo file, std::uint64_t offset, ByteView bytes)>;
/// Applies the records of the journals from `first_journal` on, in order, up to the first that is
/// torn or missing.  Errc::corrupt when a later record shows that the missing one had been on disk.
Result<Replayed> replay_journals(FileIo& io, const std::string& folder, TreeId tree,
                                 std::uint64_t first_journal, std::uint64_t first_sequence,
                                 const ApplyPatch& apply);

}  // namespace ebb::store
