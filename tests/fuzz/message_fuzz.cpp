// Any bytes as any message: no crash, and what is understood is the same after it was encoded
// again. The first byte of an input is the type.
#include "base/check.h"
#include "proto/messages.h"

namespace ebb::proto {
namespace {

void run(ByteView in) {
  if (in.empty()) return;
  const auto type = static_cast<Type>(std::to_integer<std::uint8_t>(in[0]));
  const auto body = decode(type, in.subspan(1));
  if (!body) return;
  CHECK(type_of(*body) == type);
  const auto bytes = try_encode(*body);
  CHECK(bytes.has_value());
  const auto again = decode(type, *bytes);
  CHECK(again.has_value() && *again == *body);
}

}  // namespace
}  // namespace ebb::proto

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ebb::proto::run(std::as_bytes(std::span(data, size)));
  return 0;
}
