#include "fusefs/core/folder_walk.h"

namespace ebb::fusefs {

Result<FolderWalk::Place> FolderWalk::next() {
  at_end_ = false;
  if (levels_.empty()) return Place{};
  Level& level = levels_.back();
  Place place;
  const std::uint64_t from = level.cookie;
  auto read = store_->list(level.folder, from, [&](const store::Name& name) {
    level.cookie = name.cookie;
    if (!name.local) return true;
    place = {Place::What::entry, name.local, 0};
    return false;
  });
  if (!read) return pass(read.error());
  level.former = from;
  if (place.node) return place;
  ended_ = level;
  at_end_ = true;
  levels_.pop_back();
  return Place{Place::What::end_of_folder, ended_.folder, ended_.mark};
}

void FolderWalk::stay() {
  if (at_end_) {
    levels_.push_back(ended_);
    at_end_ = false;
  } else if (!levels_.empty()) {
    levels_.back().cookie = levels_.back().former;
  }
}

void FolderWalk::descend(NodeId folder, std::uint64_t mark) {
  at_end_ = false;
  levels_.push_back({folder, 0, 0, mark});
}

}  // namespace ebb::fusefs
