// Where a map comes from, and the files that it lists.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "fusefs/ebb/refusal.h"
#include "fusefs/ebb/source.h"
#include "store/fsmap.h"

namespace ebb::fusefs {

struct MapFigures {
  Digest summary{};
  std::uint64_t files = 0;
  std::uint64_t bytes = 0;
};

struct WantedFile {
  std::uint64_t index = 0;
  std::uint64_t have = 0;  // so many of its bytes are here
};

struct ComingFile {
  std::string path;
  std::uint64_t size = 0;
  std::uint32_t mode = 0;
  std::int64_t mtime = 0;
};

/// Who takes the files that come, several at a time.  An error ends the fetching with it.
class FileSink {
 public:
  virtual ~FileSink() = default;
  virtual Result<> begin(std::uint64_t index, const ComingFile& file) = 0;
  virtual Result<> data(std::uint64_t index, std::uint64_t offset, ByteView bytes) = 0;
  /// All of it has come.
  virtual Result<> end(std::uint64_t index) = 0;
};

/// Calls block; all on one thread.  Errors: proto::Errc::moved_on where the source has another map
/// by now, proto::Errc::lost where the connection broke and the same call may be made again,
/// everything else is final.
class MapSource {
 public:
  virtual ~MapSource() = default;
  /// As it is now.
  virtual Result<MapFigures> figures(DigestKind kind) = 0;
  virtual Result<store::Minified> hashes(DigestKind kind, const MapFigures& of) = 0;
  virtual Result<> fetch(DigestKind kind, const MapFigures& of,
                         const std::vector<WantedFile>& wanted, FileSink& sink) = 0;
  virtual std::uint64_t bytes_in() const { return 0; }
  virtual std::uint64_t bytes_out() const { return 0; }
};

Outcome<std::unique_ptr<MapSource>> open_map_source(const Source& source, bool insecure);

/// What `ebb fsmap publish` has written there; null where there is nothing of the kind.
Outcome<std::unique_ptr<MapSource>> open_published(const std::string& folder);
/// The hash that a published map is of.
std::optional<DigestKind> published_kind(const std::string& folder);

}  // namespace ebb::fusefs
