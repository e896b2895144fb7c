// The two hashes.  XXH3 finds accidents; whether two contents are equal where somebody could gain by a
// collision is decided by SHA-256 or by comparing.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "base/bytes.h"

namespace ebb {

/// XXH3-64, seed 0, of one buffer.  Of nothing: 0x2d06800538d394c2.
std::uint64_t xxh3(ByteView bytes);
std::uint64_t xxh3(ByteView bytes, std::uint64_t seed);

/// XXH3-64, seed 0, of a stream.  Not thread-safe.
class Xxh3Stream {
 public:
  Xxh3Stream();
  ~Xxh3Stream();
  Xxh3Stream(Xxh3Stream&&) noexcept;
  Xxh3Stream& operator=(Xxh3Stream&&) noexcept;

  void update(ByteView bytes);
  /// The same as update() with so many zeros, which costs little however many they are.
  void zeros(std::uint64_t count);
  std::uint64_t digest() const;  // of what came so far; the stream may go on

 private:
  struct State;
  std::unique_ptr<State> state_;
};

using Sha256 = std::array<std::uint8_t, 32>;
Sha256 sha256(ByteView bytes);

/// 16 lowercase hex digits.
std::string hex16(std::uint64_t value);

}  // namespace ebb
