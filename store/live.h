// The part of super that changes with transactions, in memory.
#pragma once

#include <cstdint>

#include "store/layout.h"

namespace ebb::store {

struct Live {
  std::uint64_t sequence = 0;
  std::uint64_t boot = 0;
  std::uint64_t mdt_used = 0;
  std::uint64_t mdt_free = 0;
  std::uint64_t fname_used = 0;
  std::uint64_t fname_free = 0;
  std::uint64_t dirmap_used = 0;
  std::uint64_t dirmap_free = 0;
  std::uint64_t root = 0;
  std::uint64_t nodes = 0;
  std::uint64_t names = 0;

  friend bool operator==(const Live&, const Live&) = default;
};

LiveRecord pack(const Live& live);
/// False when the checksum is wrong.
bool unpack(const LiveRecord& record, Live& live);

}  // namespace ebb::store
