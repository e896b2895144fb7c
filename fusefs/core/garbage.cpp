#include "fusefs/core/garbage.h"

#include <algorithm>

#include "base/log.h"
#include "fusefs/core/core.h"

namespace ebb::fusefs {
namespace {

constexpr Duration kCollectAfter = std::chrono::seconds(1);

}  // namespace

void Garbage::add(std::uint64_t content) {
  if (at_ == kNever) {
    at_ = core_.now() + kCollectAfter;
    core_.effects.wake = true;
  }
  contents_.push_back(content);
}

void Garbage::hurry() {
  if (!contents_.empty()) at_ = std::min(at_, core_.now() + kCollectAfter);
}

void Garbage::collect(Lock& lock, bool now_all) {
  if (contents_.empty() || (!now_all && core_.now() < at_)) return;
  std::vector<std::uint64_t> going;
  going.swap(contents_);
  at_ = kNever;
  const auto kept = std::stable_partition(going.begin(), going.end(), [this](std::uint64_t one) {
    return !core_.formers.keeps(one);
  });
  contents_.assign(kept, going.end());
  going.erase(kept, going.end());
  if (going.empty()) return;
  bool synced = false;
  {
    const Unlocked open(lock);
    synced = core_.store->sync().has_value();
    for (std::size_t i = 0; synced && i < going.size(); ++i) {
      if (auto gone = core_.content_files.remove(going[i]); !gone) {
        log_warn("content {} stays behind: {}", going[i], gone.error().message());
      }
    }
  }
  if (!synced) {
    for (const auto content : going) add(content);
  }
}

}  // namespace ebb::fusefs
