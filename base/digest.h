// 128-bit digests of the maps of Fsmap: MD5, which is the form's own, and XXH3-128.  Both find
// accidents; neither stands against somebody who looks for a collision.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"

namespace ebb {

using Digest = std::array<std::uint8_t, 16>;

/// On the wire and in caches.
enum class DigestKind : std::uint8_t { md5 = 1, xxh3 = 2 };

/// "md5" or "xxh3".
std::string_view word(DigestKind kind);
std::optional<DigestKind> parse_digest_kind(std::string_view text);

/// The digest of one stream after the other.  Not thread-safe.
class DigestStream {
 public:
  explicit DigestStream(DigestKind kind);
  ~DigestStream();
  DigestStream(const DigestStream&) = delete;
  DigestStream& operator=(const DigestStream&) = delete;

  void update(ByteView bytes);
  /// Of what came since the last call, or since the beginning; then a new stream begins.
  Digest finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// 32 lowercase digits.
std::string to_hex(const Digest& digest);
void append_hex(std::string& text, const Digest& digest);
/// Of exactly 32 lowercase digits.
std::optional<Digest> parse_hex(std::string_view text);

}  // namespace ebb
