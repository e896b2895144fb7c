// Pushes of the changed ranges of a content alone; the server takes the rest from the version that
// they derive from.  So a placeholder is changed without being fetched.
//
// The receipt has the hash of the whole, which is not known here.  So what was sent under an id is
// never another content later under the same one: a change in between makes it a question (probe).
#include <algorithm>

#include "base/log.h"
#include "base/sparse.h"
#include "fusefs/core/core.h"
#include "fusefs/core/pushes.h"

namespace ebb::fusefs {
namespace {

constexpr std::size_t kPartsMax = proto::kRangesMax / 4;
/// A whole content of which more than this part has changed may have been written anew, and what
/// the server has stands elsewhere in it: a delta finds that.
constexpr std::uint64_t kMostOf = 4;

}  // namespace

/// What has to travel; none: all of it, or it is not to be had in parts.
std::optional<RangeSet> Pushes::changed_parts(const Step& step, const OpenContent& content) const {
  if (!step.entry || !step.content_version) return std::nullopt;
  const auto retry = retries_.find(step.node);
  const bool refused = retry != retries_.end() && retry->second.whole;
  if (content.whole && (refused || content.size < core_.options.parts_least)) return std::nullopt;
  RangeSet parts;
  if (const auto changed =
          core_.changed_ranges.since(content.number, step.entry, step.content_version)) {
    for (const auto& range : changed->list()) {
      const Range inside{range.begin, std::min(range.end, content.size)};
      const RangeSet here = content.whole ? RangeSet{} : content.extents.here().within(inside);
      if (content.whole) parts.add(inside);
      for (const auto& part : here.list()) parts.add(part);
    }
    if (content.whole && parts.total() > content.size / kMostOf) return std::nullopt;
  } else if (content.whole) {
    return std::nullopt;
  } else {
    parts = content.extents.here().within(content.all());
  }
  if (parts.count() > kPartsMax) return std::nullopt;
  return parts;
}

/// False: not now.
bool Pushes::begin_parts(const OperationPtr& operation, const ContentPtr& content) {
  if (content->whole) return true;
  const auto node = core_.tree->node(operation->step.node);
  if (content->stale || (node && node->content_server > node->content_base)) {
    auto done = core_.tree->step_refused(operation->step, true, "the server has a newer version");
    if (!done) log_warn("a conflict is not recorded: {}", done.error().message());
    return false;
  }
  if (changed_parts(operation->step, *content)) return true;
  // In too many parts: the rest is pulled, of the version that it derives from.
  core_.pulls.want_all(content);
  return false;
}

/// Sent before under this id, and changed since.
bool Pushes::parts_are_outdated(const OperationPtr& operation) const {
  if (!operation->parts || operation->content == nullptr) return false;
  const OpenContent& content = *operation->content;
  return content.detached || content.writes != operation->writes || !content.writing.empty();
}

/// None: it does not go in parts.
std::optional<bool> Pushes::send_parts(Lock& lock, const OperationPtr& operation,
                                       const ContentPtr& content) {
  if (operation->frozen) return std::nullopt;
  if (!operation->parts) {
    if (operation->repeated) return std::nullopt;
    auto parts = changed_parts(operation->step, *content);
    if (!parts) return std::nullopt;
    if (content->size != 0 && content->number != 0) {
      if (auto done = core_.contents.open_file(lock, content); !done) return false;
      if (!core_.link.can_send() || content->detached) return false;
      // The lock was free.
      parts = changed_parts(operation->step, *content);
      if (!parts || !content->writing.empty()) return false;
    }
    operation->parts = split(*parts, content->file);
    operation->writes = content->writes;
  }
  proto::FileSyncInit init = init_of(operation);
  init.ranges = operation->parts->ranges;
  init.holes = operation->parts->holes;
  begin_session(operation, init.ranges);
  std::uint64_t bytes = 0;
  for (const auto& range : init.ranges) bytes += range.size();
  log_debug("operation {}: {} of {} bytes are sent", operation->id.value, bytes, init.size);
  operation->may_send = bytes <= kSendUnasked;
  return core_.link.send(operation->session, init);
}

/// Holes of some size stay holes.
Pushes::Parts Pushes::split(const RangeSet& changed, const std::shared_ptr<File>& file) {
  Parts parts;
  for (const auto& range : changed.list()) {
    std::vector<Range> data{range};
    if (file && range.size() >= kHoleLeast) data = file->data_in(range, kPartsMax);
    if (parts.ranges.size() + data.size() > proto::kRangesMax / 2) data = {range};
    const auto holes = between(range, data);
    parts.ranges.insert(parts.ranges.end(), data.begin(), data.end());
    parts.holes.insert(parts.holes.end(), holes.begin(), holes.end());
  }
  return parts;
}

}  // namespace ebb::fusefs
