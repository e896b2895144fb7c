// The files that come, on their way to the disk: written as they come, held to their digests by
// threads beside.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "fusefs/ebb/map_source.h"
#include "store/patch_folder.h"

namespace ebb::fusefs {

/// The calls of FileSink and all others on one thread.
class PatchStaging final : public FileSink {
 public:
  PatchStaging(store::PatchFolder& folder, const store::Minified& target,
               std::function<void()> progress);
  ~PatchStaging() override;

  /// Everything that is to come; what earlier runs have staged of it counts.
  std::vector<WantedFile> want(const std::vector<std::uint64_t>& indices);

  Result<> begin(std::uint64_t index, const ComingFile& file) override;
  Result<> data(std::uint64_t index, std::uint64_t offset, ByteView bytes) override;
  Result<> end(std::uint64_t index) override;

  /// When everything that came is checked: what was not what its digest says, and is staged no
  /// more.
  Result<std::vector<WantedFile>> wrong();
  const std::string& name_of(std::uint64_t index) const { return files_.at(index).name; }
  const std::string& path_of(std::uint64_t index) const { return files_.at(index).file.path; }
  std::uint64_t bytes() const { return bytes_; }
  std::uint64_t ended() const { return ended_; }

 private:
  struct Staged {
    std::string name;
    ComingFile file{};
    std::optional<store::StagedPart> part{};
    bool begun = false;
  };
  void work();

  store::PatchFolder& folder_;
  const store::Minified& target_;
  const std::function<void()> progress_;
  std::map<std::uint64_t, Staged> files_;  // by index
  std::uint64_t bytes_ = 0;
  std::uint64_t ended_ = 0;

  std::mutex mutex_;
  std::condition_variable some_;
  std::condition_variable none_;
  struct Check {
    std::uint64_t index;
    std::string name;
    std::string path;
  };
  std::deque<Check> checks_;          // mutex_
  std::size_t checking_ = 0;          // mutex_
  bool over_ = false;                 // mutex_
  std::vector<std::uint64_t> wrong_;  // mutex_
  std::optional<Error> failure_;      // mutex_
  std::vector<std::thread> threads_;
};

}  // namespace ebb::fusefs
