#include "base/digest.h"

#include <openssl/evp.h>
#include <xxhash.h>

#include "base/check.h"

namespace ebb {
namespace {

int digit_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

}  // namespace

std::string_view word(DigestKind kind) {
  return kind == DigestKind::md5 ? "md5" : "xxh3";
}

std::optional<DigestKind> parse_digest_kind(std::string_view text) {
  if (text == "md5") return DigestKind::md5;
  if (text == "xxh3") return DigestKind::xxh3;
  return std::nullopt;
}

/// One of the two; making either costs more than hashing a small file, so a stream is used again.
struct DigestStream::State {
  EVP_MD_CTX* md5 = nullptr;
  XXH3_state_t* xxh3 = nullptr;

  explicit State(DigestKind kind) {
    if (kind == DigestKind::md5) {
      md5 = EVP_MD_CTX_new();
      CHECK(md5 != nullptr && EVP_DigestInit_ex(md5, EVP_md5(), nullptr) == 1);
    } else {
      xxh3 = XXH3_createState();
      CHECK(xxh3 != nullptr);
      XXH3_128bits_reset(xxh3);
    }
  }
  ~State() {
    EVP_MD_CTX_free(md5);
    XXH3_freeState(xxh3);
  }
};

DigestStream::DigestStream(DigestKind kind) : state_(std::make_unique<State>(kind)) {}
DigestStream::~DigestStream() = default;

void DigestStream::update(ByteView bytes) {
  if (state_->md5 != nullptr) {
    CHECK(EVP_DigestUpdate(state_->md5, bytes.data(), bytes.size()) == 1);
  } else {
    XXH3_128bits_update(state_->xxh3, bytes.data(), bytes.size());
  }
}

Digest DigestStream::finish() {
  Digest out;
  if (state_->md5 != nullptr) {
    CHECK(EVP_DigestFinal_ex(state_->md5, out.data(), nullptr) == 1);
    CHECK(EVP_DigestInit_ex(state_->md5, nullptr, nullptr) == 1);
    return out;
  }
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(state_->xxh3));
  static_assert(sizeof canonical.digest == sizeof out);
  std::memcpy(out.data(), canonical.digest, out.size());
  XXH3_128bits_reset(state_->xxh3);
  return out;
}

void append_hex(std::string& text, const Digest& digest) {
  constexpr char kDigits[] = "0123456789abcdef";
  char out[2 * sizeof(Digest)];
  for (std::size_t i = 0; i < digest.size(); ++i) {
    out[2 * i] = kDigits[digest[i] >> 4];
    out[2 * i + 1] = kDigits[digest[i] & 15];
  }
  text.append(out, sizeof out);
}

std::string to_hex(const Digest& digest) {
  std::string text;
  append_hex(text, digest);
  return text;
}

std::optional<Digest> parse_hex(std::string_view text) {
  Digest out;
  if (text.size() != 2 * out.size()) return std::nullopt;
  for (std::size_t i = 0; i < out.size(); ++i) {
    const int high = digit_value(text[2 * i]);
    const int low = digit_value(text[2 * i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    out[i] = static_cast<std::uint8_t>(high * 16 + low);
  }
  return out;
}

}  // namespace ebb
