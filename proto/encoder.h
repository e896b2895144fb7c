// Fields of a message to bytes: the visitor that layouts.h drives when a message is sent.  Private
// to proto/.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "proto/messages.h"

namespace ebb::proto {

/// Has the same members as Decoder.  Checks what the decoder checks, so that nothing is sent for
/// which the other side would close the connection; wrong() names the first field out of bounds,
/// empty = none.
class Encoder {
 public:
  static constexpr bool kReads = false;

  explicit Encoder(Bytes& out) : bytes_(out), out_(out) {}

  std::string_view wrong() const { return wrong_; }
  void check(bool good, std::string_view what) {
    if (!good && wrong_.empty()) wrong_ = what;
  }

  template <class T>
  void number(T value) {
    out_.number(value);
  }
  void flag(bool value) { out_.number(static_cast<std::uint8_t>(value)); }
  template <class Tag>
  void id(Strong<Tag> value) {
    out_.number(value.value);
  }
  template <class E>
  void choice(E value, E lowest, E highest, std::string_view what) {
    check(value >= lowest && value <= highest, what);
    out_.number(static_cast<std::underlying_type_t<E>>(value));
  }
  void code(Errc value) { out_.number(static_cast<std::uint16_t>(value)); }
  template <std::size_t N, class T>
  void fixed(const std::array<T, N>& value) {
    out_.bytes(bytes_of(value));
  }
  void text(const std::string& value, std::size_t max, std::string_view what) {
    check(value.size() <= max, what);
    out_.short_text(value);
  }
  void sentence(const std::string& value) { out_.short_text(cut(value)); }
  void bytes(const Bytes& value, std::size_t max, std::string_view what) {
    check(value.size() <= max, what);
    out_.long_bytes(value);
  }
  /// Before fields that a later version has added at the end.
  bool more() const { return true; }
  /// `each` is called with every element.
  template <class T, class Each>
  void list(const std::vector<T>& values, std::size_t /*least*/, std::size_t max,
            std::string_view what, Each each) {
    check(values.size() <= max, what);
    out_.number(static_cast<std::uint32_t>(values.size()));
    for (const T& value : values) each(*this, value);
  }
  /// A part that carries its size, so that a reader skips what it does not know at the part's end.
  template <class Part>
  void sized(Part part) {
    const std::size_t at = bytes_.size();
    out_.number(std::uint32_t{0});
    part(*this);
    const auto size = static_cast<std::uint32_t>(bytes_.size() - at - sizeof(std::uint32_t));
    std::memcpy(bytes_.data() + at, &size, sizeof size);
  }

 private:
  /// At most kSentenceMax bytes, and no half of a UTF-8 character.
  static std::string_view cut(std::string_view text) {
    if (text.size() <= kSentenceMax) return text;
    std::size_t end = kSentenceMax;
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
    return text.substr(0, end);
  }

  Bytes& bytes_;
  Writer out_;
  std::string_view wrong_;
};

}  // namespace ebb::proto
