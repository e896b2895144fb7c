// Contents of which parts are here: what the store is told of them, and what happens when they
// become too many for its record.
#include <algorithm>
#include <cerrno>
#include <chrono>

#include "fusefs/core/contents.h"
#include "fusefs/core/core.h"

namespace ebb::fusefs {
namespace {

/// The record of the parts is written anew at each change.  From so many on the smallest gaps
/// between them are pulled.
constexpr std::size_t kCrowded = 1024;
constexpr std::size_t kGapsAtOnce = 256;
/// Looking for them takes as long as there are many.
constexpr std::size_t kLookEach = 32;
/// As many as the store takes of one content; 16 bytes each.
constexpr std::size_t kRecordedMax = store::kTextMax / 16 - 16;
/// A writer who is ahead of the pulls waits for them here.
constexpr std::size_t kFull = kRecordedMax - 256;
constexpr auto kWaitAtOnce = std::chrono::milliseconds(100);

std::size_t count(const store::Extents& extents) {
  return extents.settled.count() + extents.recent.count();
}

std::vector<Range> smallest_first(const RangeSet& ranges) {
  auto list = ranges.list();
  std::stable_sort(list.begin(), list.end(),
                   [](const Range& a, const Range& b) { return a.size() < b.size(); });
  return list;
}

}  // namespace

/// Before the change is recorded: what is clean until then is as in its version.
void Contents::note_changed(const ContentPtr& content, Range range) {
  // Others change it without our seeing where.
  if (content->watched) return core_.changed_ranges.forget(content->number);
  const auto node = core_.tree->node(content->node);
  if (!node) return;
  if (!node->has(store::kContentDirty) && node->entry && node->content_base) {
    core_.changed_ranges.begin(content->number, node->entry, node->content_base);
  }
  core_.changed_ranges.add(content->number, range);
}

/// What fits.  What the server has as well may be left out: after a restart it is pulled again.
store::Extents Contents::recordable(const OpenContent& content) const {
  store::Extents kept = content.extents;
  if (count(kept) <= kRecordedMax) return kept;
  const auto node = core_.tree->node(content.node);
  if (!node) return kept;
  const auto changed = core_.changed_ranges.since(content.number, node->entry, node->content_base);
  if (!changed && node->has(store::kContentDirty)) return kept;
  for (const auto& part : smallest_first(kept.here())) {
    if (count(kept) <= kRecordedMax) break;
    if (changed && changed->intersects(part)) continue;
    kept.settled.remove(part);
    kept.recent.remove(part);
  }
  return kept;
}

Result<> Contents::record_here(const ContentPtr& content) {
  content->is_volatile = !content->extents.recent.empty();
  const bool settled = !content->is_volatile;
  if (content->extents.here().contains(content->all())) {
    content->whole = true;
    content->want_now.clear();
    content->want_ahead.clear();
    content->want_all = false;
    return core_.tree->set_here(content->node, {}, true, settled);
  }
  if (content->here.count() % kLookEach == 0) close_gaps(content);
  return core_.tree->set_here(content->node, store::pack(recordable(*content)), false, settled);
}

void Contents::close_gaps(const ContentPtr& content) {
  if (content->here.count() < kCrowded || !core_.link.ready() || content->stale) return;
  for (const auto& part : content->here.list()) content->want_ahead.remove(part);
  if (!content->want_ahead.empty()) return;
  auto gaps = smallest_first(content->here.missing_in(content->all()));
  gaps.resize(std::min(gaps.size(), kGapsAtOnce));
  for (const auto& gap : gaps) core_.pulls.want_ahead(content, gap);
}

/// Each is to be recorded.
Result<> Contents::wait_for_fewer_parts(Lock& lock, const ContentPtr& content) {
  const auto fits = [&] { return content->whole || count(content->extents) < kFull; };
  Time end = core_.now() + core_.options.timeout;
  for (std::size_t least = SIZE_MAX; !fits();) {
    if (!core_.link.ready() || content->stale) {
      return fail_errno(EHOSTDOWN,
                        "too many parts of the file are here, and the rest is out of reach");
    }
    const std::size_t parts = count(content->extents);
    if (parts < least) end = core_.now() + core_.options.timeout;
    least = std::min(least, parts);
    if (core_.now() >= end) return fail_errno(ETIMEDOUT, "too many parts of the file are here");
    close_gaps(content);
    if (core_.seams.wake) core_.seams.wake();
    core_.moved.wait_for(lock, kWaitAtOnce);
  }
  return {};
}

}  // namespace ebb::fusefs
