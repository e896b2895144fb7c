// Pushes of which the server has something already: it is asked of what its version is made, and
// gets what that lacks.
#include <algorithm>

#include "base/log.h"
#include "fusefs/core/core.h"
#include "fusefs/core/pushes.h"

namespace ebb::fusefs {
namespace {

/// Files that a new one may be a copy of.
constexpr std::size_t kReadLately = 256;

}  // namespace

/// Whether the content is looked at beside the server's version before it is pushed.  What changes
/// all the time is not: it would have to hold still for as long as that takes.
bool Pushes::has_delta(const OperationPtr& operation) const {
  const Step& step = operation->step;
  const OpenContent& content = *operation->content;
  const auto retry = retries_.find(step.node);
  const bool refused = retry != retries_.end() && retry->second.whole;
  return core_.link.can(proto::kDelta) && !refused && !operation->as_read &&
         !operation->delta_done && content.size >= core_.options.delta_least &&
         content.size <= kDeltaMost;
}

void Pushes::read_from(NodeId node, std::uint64_t size) {
  if (size < core_.options.delta_least) return;
  if (!read_lately_.empty() && read_lately_.back() == node) return;
  std::erase(read_lately_, node);
  read_lately_.push_back(node);
  if (read_lately_.size() > kReadLately) read_lately_.pop_front();
}

/// What it derives from; of a new file, what it may have been copied from.
bool Pushes::find_source(const OperationPtr& operation) const {
  const Step& step = operation->step;
  operation->source = step.entry;
  operation->source_version = step.content_version;
  if (step.entry) return bool{step.content_version};
  for (auto it = read_lately_.rbegin(); it != read_lately_.rend(); ++it) {
    const auto node = core_.tree->node(*it);
    const bool fits = node && *it != step.node && node->size == operation->content->size &&
                      node->entry && node->content_base && !node->has(store::kContentDirty);
    if (!fits) continue;
    operation->source = node->entry;
    operation->source_version = node->content_base;
    return true;
  }
  return false;
}

void Pushes::ask_chunks(const OperationPtr& operation) {
  operation->phase = Operation::Phase::sent;
  operation->size = operation->content->size;
  operation->writes = operation->content->writes;
  operation->match = std::make_shared<ChunkMatch>();
  operation->patch = {};
  operation->session = core_.link.open_session(
      [this, operation](Lock&, const proto::Body& body) { heard_chunks(operation, body); });
  core_.link.send(operation->session, proto::Chunks{operation->source, operation->source_version});
}

void Pushes::heard_chunks(const OperationPtr& operation, const proto::Body& body) {
  if (operation->session == 0 || !operation->match) return;
  const auto* page = std::get_if<proto::ChunkList>(&body);
  if (page != nullptr && operation->match->add(*page)) {
    if (!operation->match->complete()) return;
    core_.link.close_session(operation->session);
    operation->session = 0;
    core_.effects.wake = true;
    return;
  }
  // Without a list it goes whole, and the server says to that what it has to say.
  if (page != nullptr) core_.link.send(operation->session, proto::Cancel{});
  begin_whole(operation);
}

void Pushes::begin_whole(const OperationPtr& operation) {
  if (operation->session != 0) core_.link.close_session(operation->session);
  operation->session = 0;
  operation->match.reset();
  operation->patch = {};
  operation->delta_done = true;
  operation->whole_known.reset();
  operation->phase = Operation::Phase::recorded;
  core_.effects.wake = true;
}

/// One turn of comparing; true when there is more to do.
bool Pushes::match_one(Lock& lock, const OperationPtr& operation) {
  const auto match = operation->match;
  if (!match->complete()) return false;
  const ContentPtr content = operation->content;
  core_.contents.look_at_file(content);
  if (!core_.contents.open_file(lock, content)) return put_off(operation), false;
  const auto current = [&] { return operation->match == match && is_under_way(operation); };
  if (!current()) return false;
  if (!still_same(operation)) return put_off(operation), false;
  Patch patch = std::move(operation->patch);
  Result<bool> all = false;
  {
    const std::shared_ptr<File> file = content->file;
    const Unlocked open(lock);
    all = match->turn(*file, operation->size,
                      [&](std::uint64_t at, ByteView bytes, const auto& places) -> Result<> {
                        if (places.empty()) {
                          patch.send(at, bytes.size());
                        } else {
                          patch.copy(at, place_for(patch, at, places), bytes.size());
                        }
                        return {};
                      });
  }
  if (!current()) return false;
  core_.contents.look_at_file(content);
  if (!all || !still_same(operation)) return put_off(operation), false;
  operation->patch = std::move(patch);
  hashing_ = true;  // the link has its turn between two of ours
  if (!*all) return true;
  const bool pays = !operation->patch.copies.empty();
  operation->whole_known = match->hash_here();
  operation->match.reset();
  operation->delta_done = true;
  if (!pays) {
    begin_whole(operation);
  } else if (!core_.link.can_send() || !send_delta(operation)) {
    put_off(operation);
  }
  return true;
}

/// Where the same bytes are more than once, that which goes on where the last copy ended.
std::uint64_t Pushes::place_for(const Patch& patch, std::uint64_t at,
                                const std::vector<std::uint64_t>& places) {
  if (patch.copies.empty()) return places.front();
  const auto& last = patch.copies.back();
  if (last.at + last.size != at) return places.front();
  const auto next = last.from + last.size;
  return std::binary_search(places.begin(), places.end(), next) ? next : places.front();
}

bool Pushes::is_under_way(const OperationPtr& operation) const {
  const auto it = operations_.find(operation->id);
  return it != operations_.end() && it->second == operation &&
         operation->phase == Operation::Phase::sent;
}

bool Pushes::send_delta(const OperationPtr& operation) {
  proto::FileSyncDelta delta;
  delta.init = init_of(operation);
  delta.init.ranges = operation->patch.ranges;
  delta.source = operation->source;
  delta.source_version = operation->source_version;
  delta.hash = *operation->whole_known;
  delta.copies = std::move(operation->patch.copies);
  std::uint64_t sent = 0;
  for (const auto& range : delta.init.ranges) sent += range.size();
  log_debug("operation {}: {} of {} bytes are sent", operation->id.value, sent, delta.init.size);
  begin_session(operation, delta.init.ranges);
  operation->may_send = sent <= kSendUnasked;
  return core_.link.send(operation->session, delta);
}

}  // namespace ebb::fusefs
