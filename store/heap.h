// Byte strings in chains of slots in fname: long names and the texts of nodes.  Format:
// ebb-store(5), "fname".
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "store/live.h"
#include "store/pages.h"

namespace ebb::store {

/// Part of the store; the owner's lock guards it.  The changing calls belong to the open
/// transaction.
class Heap {
 public:
  Heap(Pages& pages, Live& live) : pages_(pages), live_(live) {}

  Result<Bytes> read(std::uint32_t first) const;
  /// The first bytes of a string, as many as out has; they are in its first slot.
  Result<> read_head(std::uint32_t first, std::span<std::byte> out) const;
  Result<> write_head(std::uint32_t first, ByteView bytes);
  /// The first slot of a new chain; `bytes` is not empty.
  Result<std::uint32_t> write(ByteView bytes);
  Result<> free(std::uint32_t first);
  /// The slots of a chain, for check.
  Result<std::vector<std::uint32_t>> slots(std::uint32_t first) const;

 private:
  static std::uint64_t offset_of(std::uint32_t slot) { return slot * sizeof(TextSlot); }
  Result<TextSlot> slot(std::uint32_t index) const;
  Result<std::uint32_t> take_slot();

  template <class Visit>
  Result<> walk(std::uint32_t first, Visit&& visit) const;

  Pages& pages_;
  Live& live_;
};

}  // namespace ebb::store
