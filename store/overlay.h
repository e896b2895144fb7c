// Pages in memory, found by file and number as fast as in an array: that is what it is.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "store/layout.h"

namespace ebb::store {

using Page = std::array<std::byte, kPageSize>;

class Overlay {
 public:
  struct Entry {
    FileNo file;
    std::uint64_t number;
    std::unique_ptr<Page> page;
  };

  Page* find(FileNo file, std::uint64_t number) const {
    const auto& of_file = index_[static_cast<std::size_t>(file)];
    return number < of_file.size() ? of_file[static_cast<std::size_t>(number)] : nullptr;
  }
  /// It is not there.
  Page* add(FileNo file, std::uint64_t number, std::unique_ptr<Page> page);
  void clear();

  bool empty() const { return entries_.empty(); }
  std::size_t size() const { return entries_.size(); }
  const std::vector<Entry>& entries() const { return entries_; }

 private:
  std::array<std::vector<Page*>, kFiles> index_;  // by number; none: not here
  std::vector<Entry> entries_;
};

}  // namespace ebb::store
