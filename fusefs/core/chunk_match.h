// What of a content of the server is in a content that is here, by the chunks of both.  SHA-256
// decides: a server can show a client what it likes, but no third one can make two contents count
// as equal.
#pragma once

#include <cstdint>
#include <functional>
#include <unordered_map>
#include <vector>

#include "base/bytes.h"
#include "base/file_io.h"
#include "base/hash.h"
#include "base/ranges.h"
#include "base/result.h"
#include "proto/chunker.h"
#include "proto/messages.h"

namespace ebb::fusefs {

/// The list of a larger one would be too long to keep: 36 bytes for 64 KiB or more.
inline constexpr std::uint64_t kDeltaMost = std::uint64_t{16} << 30;
/// Bytes of one turn; the link has its own between two.
inline constexpr std::uint64_t kMatchTurn = 8u << 20;

/// Not thread-safe.
class ChunkMatch {
 public:
  /// Whether the places of a chunk are told each time that it occurs here, or the first time alone.
  enum class Places : std::uint8_t { always, once };
  explicit ChunkMatch(Places places = Places::always) : told_(places) {}

  /// Collects the server's list.  False: it makes no sense, or does not end.
  bool add(const proto::ChunkList& page);
  bool complete() const { return complete_; }
  /// XXH3-64 and size of the whole, as the server has it.
  std::uint64_t hash() const { return hash_; }
  std::uint64_t size() const { return size_; }

  /// Reads on in the content that is here; calls `found` with the bytes of a chunk, where they are
  /// here, and where in the server's, or with no such places.  True when all is read.
  using Found = std::function<Result<>(std::uint64_t offset, ByteView bytes,
                                       const std::vector<std::uint64_t>& places)>;
  Result<bool> turn(const File& file, std::uint64_t size, const Found& found);
  /// Of what was read.
  std::uint64_t hash_here() const { return here_.digest(); }

 private:
  struct Hasher {
    std::size_t operator()(const Sha256& hash) const {
      std::size_t out;
      std::memcpy(&out, hash.data(), sizeof out);
      return out;
    }
  };

  Places told_;
  std::unordered_map<Sha256, std::vector<std::uint64_t>, Hasher> places_;
  std::uint64_t size_ = 0;
  std::uint64_t hash_ = 0;
  bool complete_ = false;
  std::optional<proto::Chunker> chunker_;
  Xxh3Stream here_;
};

/// A push made up of what is sent and what is copied.
struct Patch {
  std::vector<Range> ranges;
  std::vector<proto::Copy> copies;

  /// The next bytes of the content: they are at `from` in the server's.
  void copy(std::uint64_t at, std::uint64_t from, std::uint64_t size);
  /// Or nowhere.
  void send(std::uint64_t at, std::uint64_t size);
};

}  // namespace ebb::fusefs
