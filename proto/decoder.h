// Bytes of a peer to the fields of a message: the visitor that layouts.h drives when a message has
// arrived. Private to proto/.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "proto/messages.h"

namespace ebb::proto {

/// Has the same members as Encoder.  wrong() names the first field that is cut short or out of
/// bounds, empty = none.  Memory is at most a few times the size of the bytes, whatever counts they
/// claim.
class Decoder {
 public:
  static constexpr bool kReads = true;

  explicit Decoder(ByteView in) : in_(in) {}

  std::string_view wrong() const {
    if (!wrong_.empty()) return wrong_;
    return in_.ok() ? std::string_view{} : "cut short";
  }
  void check(bool good, std::string_view what) {
    if (!good && in_.ok() && wrong_.empty()) wrong_ = what;
  }

  template <class T>
  void number(T& value) {
    value = in_.number<T>();
  }
  void flag(bool& value) {
    const auto raw = in_.number<std::uint8_t>();
    check(raw <= 1, "a flag that is neither 0 nor 1");
    value = raw == 1;
  }
  template <class Tag>
  void id(Strong<Tag>& value) {
    value = Strong<Tag>(in_.number<std::uint64_t>());
  }
  template <class E>
  void choice(E& value, E lowest, E highest, std::string_view what) {
    const auto raw = static_cast<E>(in_.number<std::underlying_type_t<E>>());
    check(raw >= lowest && raw <= highest, what);
    value = raw;
  }
  void code(Errc& value) { value = static_cast<Errc>(in_.number<std::uint16_t>()); }
  template <std::size_t N, class T>
  void fixed(std::array<T, N>& value) {
    const ByteView raw = in_.bytes(sizeof value);
    if (!raw.empty()) std::memcpy(value.data(), raw.data(), sizeof value);
  }
  void text(std::string& value, std::size_t max, std::string_view what) {
    const std::string_view raw = in_.short_text();
    check(raw.size() <= max, what);
    if (raw.size() <= max) value = raw;
  }
  void sentence(std::string& value) { text(value, kSentenceMax, "sentence"); }
  void bytes(Bytes& value, std::size_t max, std::string_view what) {
    const ByteView raw = in_.long_bytes();
    check(raw.size() <= max, what);
    if (raw.size() <= max) value.assign(raw.begin(), raw.end());
  }
  /// Before fields that a later version has added at the end: an older peer ends here.
  bool more() const { return in_.left() != 0; }
  /// `least` is the smallest size of an element on the wire: a count that cannot be true allocates
  /// nothing.
  template <class T, class Each>
  void list(std::vector<T>& values, std::size_t least, std::size_t max, std::string_view what,
            Each each) {
    const auto count = in_.number<std::uint32_t>();
    check(count <= max && count <= in_.left() / least, what);
    if (!wrong().empty()) return;
    values.resize(count);
    for (T& value : values) {
      each(*this, value);
      if (!wrong().empty()) return;
    }
  }
  /// A part that carries its size; what it has beyond what is known here is skipped.
  template <class Part>
  void sized(Part part) {
    Decoder inner(in_.long_bytes());
    if (!wrong().empty()) return;
    part(inner);
    check(inner.wrong().empty(), inner.wrong());
  }

 private:
  Reader in_;
  std::string_view wrong_;
};

}  // namespace ebb::proto
