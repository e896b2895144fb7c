// Little-endian integers in byte layouts, and the reader and writer of self-made messages.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace ebb {

using Bytes = std::vector<std::byte>;
using ByteView = std::span<const std::byte>;

static_assert(std::endian::native == std::endian::little, "Le<> stores as the machine does");

/// An integer at any alignment, little-endian, for structs that describe bytes on disk or on the wire.
template <class T>
  requires std::is_integral_v<T>
struct Le {
  std::uint8_t raw[sizeof(T)]{};

  Le() = default;
  Le(T value) { *this = value; }  // NOLINT: reads as the integer it is
  Le& operator=(T value) {
    std::memcpy(raw, &value, sizeof value);
    return *this;
  }
  operator T() const {
    T value;
    std::memcpy(&value, raw, sizeof value);
    return value;
  }
};

inline ByteView as_bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}
inline std::string_view as_text(ByteView bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
/// The bytes of a trivially copyable object.
template <class T>
  requires std::is_trivially_copyable_v<T>
ByteView bytes_of(const T& object) {
  return std::as_bytes(std::span(&object, 1));
}

/// Appends fields to a buffer.
class Writer {
 public:
  explicit Writer(Bytes& out) : out_(out) {}

  template <class T>
    requires std::is_integral_v<T>
  Writer& number(T value) {
    return bytes(std::as_bytes(std::span(&value, 1)));
  }
  Writer& bytes(ByteView in) {
    out_.insert(out_.end(), in.begin(), in.end());
    return *this;
  }
  /// Length as u16 (u32), then the bytes.  The caller keeps to the length's range.
  Writer& short_text(std::string_view text) {
    return number(static_cast<std::uint16_t>(text.size())).bytes(as_bytes(text));
  }
  Writer& long_bytes(ByteView in) {
    return number(static_cast<std::uint32_t>(in.size())).bytes(in);
  }

 private:
  Bytes& out_;
};

/// Takes fields from a buffer that is not trusted.  After the first field that does not fit, ok() is false
/// for good and everything read is zero or empty: check once at the end.
class Reader {
 public:
  explicit Reader(ByteView in) : in_(in) {}

  template <class T>
    requires std::is_integral_v<T>
  T number() {
    T value{};
    if (auto field = take(sizeof value); !field.empty()) {
      std::memcpy(&value, field.data(), sizeof value);
    }
    return value;
  }
  ByteView bytes(std::size_t n) { return take(n); }
  std::string_view short_text() { return as_text(take(number<std::uint16_t>())); }
  ByteView long_bytes() { return take(number<std::uint32_t>()); }
  ByteView rest() { return take(in_.size()); }

  bool ok() const { return ok_; }
  bool at_end() const { return in_.empty(); }
  std::size_t left() const { return in_.size(); }

 private:
  ByteView take(std::size_t n) {
    if (!ok_ || n > in_.size()) {
      ok_ = false;
      in_ = {};
      return {};
    }
    auto field = in_.first(n);
    in_ = in_.subspan(n);
    return field;
  }

  ByteView in_;
  bool ok_ = true;
};

}  // namespace ebb
