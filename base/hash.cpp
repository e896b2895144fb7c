#include "base/hash.h"

#include <algorithm>
#include <cstring>

#include <openssl/sha.h>
// The state's fields: zeros() steps over whole blocks of zeros in it.
#define XXH_STATIC_LINKING_ONLY
#include <fmt/format.h>
#include <xxhash.h>

#include "base/check.h"

namespace ebb {

std::uint64_t xxh3(ByteView bytes) {
  return XXH3_64bits(bytes.data(), bytes.size());
}

std::uint64_t xxh3(ByteView bytes, std::uint64_t seed) {
  return XXH3_64bits_withSeed(bytes.data(), bytes.size(), seed);
}

struct Xxh3Stream::State {
  XXH3_state_t* xxh = XXH3_createState();
  State() {
    CHECK(xxh != nullptr);
    XXH3_64bits_reset(xxh);
  }
  ~State() { XXH3_freeState(xxh); }
};

Xxh3Stream::Xxh3Stream() : state_(std::make_unique<State>()) {}
Xxh3Stream::~Xxh3Stream() = default;
Xxh3Stream::Xxh3Stream(Xxh3Stream&&) noexcept = default;
Xxh3Stream& Xxh3Stream::operator=(Xxh3Stream&&) noexcept = default;

void Xxh3Stream::update(ByteView bytes) {
  XXH3_64bits_update(state_->xxh, bytes.data(), bytes.size());
}
std::uint64_t Xxh3Stream::digest() const {
  return XXH3_64bits_digest(state_->xxh);
}

namespace {

constexpr std::size_t kLanes = 8;
constexpr std::size_t kStripeSize = 64;
constexpr std::uint64_t kScramblePrime = 0x9E3779B1;

std::uint64_t word(const unsigned char* secret, std::size_t lane) {
  std::uint64_t value;
  std::memcpy(&value, secret + lane * sizeof value, sizeof value);
  return value;
}

/// What stripes [from, to) of a block add to a lane when all their bytes are zero.
std::uint64_t added(const unsigned char* secret, std::size_t from, std::size_t to,
                    std::size_t lane) {
  std::uint64_t sum = 0;
  for (std::size_t stripe = from; stripe < to; ++stripe) {
    const auto key = word(secret + stripe * sizeof(std::uint64_t), lane);
    sum += (key & 0xffffffff) * (key >> 32);
  }
  return sum;
}

/// Goes on by whole blocks of zeros: each lane depends on itself alone then, and the place in the
/// block and the buffered bytes, zeros as well, stay the same.
void skip_zero_blocks(XXH3_state_t& state, std::uint64_t blocks) {
  const unsigned char* secret = state.extSecret != nullptr ? state.extSecret : state.customSecret;
  std::uint64_t acc[kLanes], before[kLanes], after[kLanes], scramble[kLanes];
  for (std::size_t lane = 0; lane < kLanes; ++lane) {
    acc[lane] = state.acc[lane];
    before[lane] = added(secret, state.nbStripesSoFar, state.nbStripesPerBlock, lane);
    after[lane] = added(secret, 0, state.nbStripesSoFar, lane);
    scramble[lane] = word(secret + state.secretLimit, lane);
  }
  for (std::uint64_t block = 0; block < blocks; ++block) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      const std::uint64_t sum = acc[lane] + before[lane];
      acc[lane] = (sum ^ (sum >> 47) ^ scramble[lane]) * kScramblePrime + after[lane];
    }
  }
  for (std::size_t lane = 0; lane < kLanes; ++lane) state.acc[lane] = acc[lane];
  state.totalLen += blocks * state.nbStripesPerBlock * kStripeSize;
}

}  // namespace

void Xxh3Stream::zeros(std::uint64_t count) {
  static constexpr std::byte kZeros[4096]{};
  const auto feed = [&](std::uint64_t bytes) {
    for (count -= bytes; bytes != 0;) {
      const auto step = std::min<std::uint64_t>(bytes, sizeof kZeros);
      update(ByteView(kZeros).first(static_cast<std::size_t>(step)));
      bytes -= step;
    }
  };
  auto& state = *state_->xxh;
  if (count > 2 * sizeof kZeros) {
    feed(sizeof kZeros);  // the buffer holds zeros alone
    const std::uint64_t block = state.nbStripesPerBlock * kStripeSize;
    const std::uint64_t blocks = count / block;
    skip_zero_blocks(state, blocks);
    count -= blocks * block;
  }
  feed(count);
}

Sha256 sha256(ByteView bytes) {
  Sha256 out;
  SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), out.data());
  return out;
}

std::string hex16(std::uint64_t value) {
  return fmt::format("{:016x}", value);
}

}  // namespace ebb
