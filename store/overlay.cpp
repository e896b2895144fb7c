#include "store/overlay.h"

#include <algorithm>
#include <utility>

namespace ebb::store {

Page* Overlay::add(FileNo file, std::uint64_t number, std::unique_ptr<Page> page) {
  auto& of_file = index_[static_cast<std::size_t>(file)];
  const auto at = static_cast<std::size_t>(number);
  if (at >= of_file.size()) of_file.resize(std::max(at + 1, of_file.size() + of_file.size() / 8));
  of_file[at] = page.get();
  entries_.push_back({file, number, std::move(page)});
  return of_file[at];
}

void Overlay::clear() {
  for (const auto& entry : entries_) {
    index_[static_cast<std::size_t>(entry.file)][static_cast<std::size_t>(entry.number)] = nullptr;
  }
  entries_.clear();
}

}  // namespace ebb::store
