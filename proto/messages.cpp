#include "proto/messages.h"

#include <algorithm>

#include "base/check.h"
#include "proto/decoder.h"
#include "proto/encoder.h"
#include "proto/layouts.h"

namespace ebb::proto {

namespace {

template <class M>
Result<Body> decode_as(ByteView bytes) {
  M message;
  Decoder decoder(bytes);
  fields(decoder, message);
  if (!decoder.wrong().empty()) return fail(Errc::bad_packet, std::string(decoder.wrong()));
  return Body(std::move(message));
}

/// Tries the variant's alternatives from I on: a type number stands in its message, nowhere else.
template <std::size_t I = 0>
Result<Body> decode_from(Type type, ByteView bytes) {
  if constexpr (I == std::variant_size_v<AnyBody>) {
    return fail(Errc::unknown_type);
  } else {
    using M = std::variant_alternative_t<I, AnyBody>;
    if (type == M::type) return decode_as<M>(bytes);
    return decode_from<I + 1>(type, bytes);
  }
}

template <std::size_t... I>
bool known_among(Type type, std::index_sequence<I...>) {
  return ((type == std::variant_alternative_t<I, AnyBody>::type) || ...);
}

}  // namespace

Body::Body() = default;
Body::Body(const Body&) = default;
Body::Body(Body&&) noexcept = default;
Body& Body::operator=(const Body&) = default;
Body& Body::operator=(Body&&) noexcept = default;
Body::~Body() = default;

Type type_of(const Body& body) {
  return std::visit([](const auto& m) { return m.type; }, body);
}

bool known(Type type) {
  return type == Type::file_sync_packed ||
         known_among(type, std::make_index_sequence<std::variant_size_v<AnyBody>>());
}

Result<Bytes> try_encode(const Body& body) {
  Bytes out;
  Encoder encoder(out);
  std::visit([&encoder](const auto& m) { fields(encoder, m); }, body);
  if (!encoder.wrong().empty()) return fail(Errc::bad_request, std::string(encoder.wrong()));
  return out;
}

Bytes encode(const Body& body) {
  auto bytes = try_encode(body);
  CHECK(bytes.has_value());
  return *std::move(bytes);
}

Bytes encode_data(std::uint64_t offset, ByteView bytes) {
  Bytes out;
  out.reserve(sizeof(PacketHeader) + sizeof offset + sizeof(std::uint32_t) + bytes.size());
  out.resize(sizeof(PacketHeader));
  Writer(out).number(offset).long_bytes(bytes);
  return out;
}

Result<Body> decode(Type type, ByteView bytes) {
  return decode_from(type, bytes);
}

bool valid_name(std::string_view name) {
  if (name.empty() || name.size() > kNameMax || name == "." || name == "..") return false;
  return name.find('/') == name.npos && name.find('\0') == name.npos;
}

bool valid_path(std::string_view path) {
  for (std::size_t at = 0; !path.empty() && at <= path.size();) {
    const auto end = std::min(path.find('/', at), path.size());
    if (!valid_name(path.substr(at, end - at))) return false;
    at = end + 1;
  }
  return true;
}

std::size_t encoded_size(const NamedEntry& entry) {
  return kNamedEntryLeast - 1 + entry.name.size() + entry.entry.target.size() +
         entry.entry.attributes.xattrs.size();
}

}  // namespace ebb::proto
