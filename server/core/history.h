// What pushes overwrote and deleted: which content under which name, by whom and when.  The contents
// themselves lie in ROOT/.ebbd/history (depot.h); here is the record of them.
//
// On disk: Table::history.
//   argument 0                  number -> record: a node without a name whose Text::extra is packed
//   argument 1                  the same, of contents that are to be removed from the disk
//   argument 2                  number -> a run of deletions (below)
//   argument kByEntry | index   number -> record, for each entry
//   argument kByPath | hash     number -> record, for each path
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "server/core/depot.h"
#include "store/store.h"

namespace ebb::server {

inline constexpr WallNs kSecondNs = 1'000'000'000;
inline constexpr WallNs kHistoryAge = 30 * 24 * 3600 * kSecondNs;   // kept so long, while there is room
inline constexpr WallNs kHistoryLeast = 24 * 3600 * kSecondNs;      // never dropped before
inline constexpr std::uint64_t kMassDeletion = 20;                  // entries in one run
inline constexpr WallNs kRunGap = 60 * kSecondNs;                   // a longer pause ends a run
inline constexpr std::size_t kRunsMax = 100;                        // shown; older ones are forgotten

/// One version that is kept.
struct Kept {
  std::uint64_t number = 0;  // of the change that put it here
  std::string path;          // where it stood, from the root
  proto::EntryKind kind = proto::EntryKind::none;  // of a folder nothing is kept but that it was
  bool deleted = false;                            // else replaced
  EntryId entry;
  Version version;  // of the content
  Version after;    // what took its place; none where nothing did
  std::uint64_t size = 0;
  std::uint64_t bytes = 0;  // on the disk
  std::uint32_t mode = 0;
  WallNs mtime = 0;
  WallNs when = 0;
  ClientId client;
  std::string client_name;
  std::string file;  // its name in the depot's history; empty: the content lives on under another name
};

/// Many deletions by one client without a longer pause.
struct DeletionRun {
  ClientId client;
  std::uint64_t count = 0;
  WallNs begin = 0;
  WallNs end = 0;
};

/// Guarded by the owner's lock of the store.
class History {
 public:
  static Result<History> open(store::Store& store);

  Result<> note(store::Transaction& tx, const Kept& kept);
  /// Newest first.
  Result<std::vector<Kept>> of_path(const std::string& path, std::size_t most) const;
  Result<std::vector<Kept>> of_entry(EntryId entry, std::size_t most) const;
  /// Oldest first, from `number` on, until `visit` returns false.
  Result<> read(std::uint64_t number, const std::function<bool(const Kept&)>& visit) const;
  std::uint64_t bytes() const;

  /// Takes out of the record what may go, oldest first, at most `most`: what is too old, and what is
  /// more than `bytes_max` but not young.  True when something was taken out.
  Result<bool> expire(store::Transaction& tx, WallNs now, std::uint64_t bytes_max, std::size_t most);
  /// The files of what was taken out.
  struct Doomed {
    std::uint64_t number = 0;
    std::string file;
  };
  Result<std::vector<Doomed>> doomed() const;
  Result<> removed(store::Transaction& tx, std::uint64_t number);

  /// An entry was deleted.  The length of the client's run now.
  Result<std::uint64_t> note_deletion(store::Transaction& tx, std::uint64_t number, ClientId client,
                                      WallNs now);
  /// Runs of kMassDeletion and more, oldest first.
  Result<std::vector<DeletionRun>> runs() const;

 private:
  explicit History(store::Store& store) : store_(&store) {}
  Result<Kept> kept(const store::Cell& cell) const;
  Result<std::vector<Kept>> indexed(std::uint64_t argument, std::size_t most,
                                    const std::function<bool(const Kept&)>& wanted) const;
  Result<> set_bytes(store::Transaction& tx, std::uint64_t bytes);
  Result<> forget_runs(store::Transaction& tx);

  store::Store* store_;
  std::map<ClientId, std::uint64_t> last_run_;  // its number
};

}  // namespace ebb::server
