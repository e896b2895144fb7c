// Structs of at most 48 bytes in the cells of the store's tables.
#pragma once

#include <cstring>
#include <type_traits>

#include "store/store.h"

namespace ebb::server {

template <class T>
store::Cell to_cell(const T& value) {
  static_assert(sizeof(T) <= sizeof(store::Cell) && std::is_trivially_copyable_v<T>);
  static_assert(std::has_unique_object_representations_v<T>);
  store::Cell cell{};
  std::memcpy(cell.data(), &value, sizeof value);
  return cell;
}

template <class T>
T from_cell(const store::Cell& cell) {
  static_assert(sizeof(T) <= sizeof(store::Cell) && std::is_trivially_copyable_v<T>);
  T value;
  std::memcpy(&value, cell.data(), sizeof value);
  return value;
}

/// Keys of Table::settings on the server; each cell is one u64.
enum class Setting : std::uint64_t { log_floor = 1, clients = 2, history_bytes = 16 };

}  // namespace ebb::server
