// Format: ebb-store(5), "Texts".  u16 version 1, u16 zero, u32 count of settled, u32 count of
// recent, then each range as two u64: begin and end.
#include <cerrno>

#include "store/content.h"

namespace ebb::store {
namespace {

constexpr std::uint16_t kVersion = 1;

void put(Writer& writer, const RangeSet& set) {
  for (const auto& range : set.list()) writer.number(range.begin).number(range.end);
}

/// Ranges as put() writes them: in order, apart, not empty.
bool take(Reader& reader, std::uint32_t count, RangeSet& set) {
  std::uint64_t end = 0;
  for (std::uint32_t i = 0; i < count && reader.ok(); ++i) {
    const auto begin = reader.number<std::uint64_t>();
    const auto next = reader.number<std::uint64_t>();
    if (begin >= next || (i > 0 && begin <= end)) return false;
    set.add({begin, next});
    end = next;
  }
  return reader.ok();
}

}  // namespace

RangeSet Extents::here() const {
  RangeSet all = settled;
  for (const auto& range : recent.list()) all.add(range);
  return all;
}

Bytes pack(const Extents& extents) {
  Bytes out;
  Writer writer(out);
  writer.number(kVersion).number(std::uint16_t{0});
  writer.number(static_cast<std::uint32_t>(extents.settled.count()));
  writer.number(static_cast<std::uint32_t>(extents.recent.count()));
  put(writer, extents.settled);
  put(writer, extents.recent);
  return out;
}

Result<Extents> unpack_extents(ByteView bytes) {
  Extents extents;
  if (bytes.empty()) return extents;
  Reader reader(bytes);
  const auto version = reader.number<std::uint16_t>();
  const auto zero = reader.number<std::uint16_t>();
  const auto settled = reader.number<std::uint32_t>();
  const auto recent = reader.number<std::uint32_t>();
  const bool good = version == kVersion && zero == 0 && take(reader, settled, extents.settled) &&
                    take(reader, recent, extents.recent) && reader.at_end() && reader.ok();
  if (!good) return fail_errno(EINVAL, "extents");
  return extents;
}

}  // namespace ebb::store
