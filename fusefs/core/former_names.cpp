#include "fusefs/core/former_names.h"

#include <algorithm>

namespace ebb::fusefs {

void FormerNames::remember(NodeId folder, std::string name, const FormerName& former, Time now) {
  expire(now);
  const Key key{folder, std::move(name)};
  if (auto it = names_.find(key); it != names_.end()) forget(it);
  if (names_.size() >= kFormerNamesMax) forget(names_.find(order_.front()));
  order_.push_back(key);
  names_.emplace(key, Kept{former, now, std::prev(order_.end())});
}

std::optional<FormerName> FormerNames::take(NodeId folder, const std::string& name, Time now) {
  expire(now);
  const auto it = names_.find({folder, name});
  if (it == names_.end()) return std::nullopt;
  const auto former = it->second.former;
  forget(it);
  return former;
}

void FormerNames::made(NodeId node, Time now) {
  if (made_.size() >= kNewFilesMax) made_.pop_front();
  made_.emplace_back(node, now);
}

bool FormerNames::made_lately(NodeId node, Time now) const {
  return std::any_of(made_.begin(), made_.end(), [&](const auto& one) {
    return one.first == node && now - one.second < kFormerNameLife;
  });
}

void FormerNames::forget(std::map<Key, Kept>::iterator it) {
  order_.erase(it->second.order);
  names_.erase(it);
}

void FormerNames::expire(Time now) {
  while (!order_.empty()) {
    const auto it = names_.find(order_.front());
    if (now - it->second.since < kFormerNameLife) return;
    forget(it);
  }
}

}  // namespace ebb::fusefs
