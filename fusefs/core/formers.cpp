#include "fusefs/core/formers.h"

#include <algorithm>
#include <cerrno>

#include "base/log.h"
#include "fusefs/core/core.h"

namespace ebb::fusefs {
namespace {

/// Files that are kept for it, at most; each is as large as its content.
constexpr std::size_t kFormersMax = 64;

}  // namespace

void Formers::add(NodeId node, std::uint64_t number) {
  // Whoever is interrupted by a third version compares with what is here for sure: the first.
  if (formers_.size() >= kFormersMax) forget_unwanted();
  if (number == 0 || formers_.count(node) != 0 || formers_.size() >= kFormersMax) return;
  auto former = std::make_shared<Former>();
  former->number = number;
  formers_.emplace(node, std::move(former));
}

/// Deleted, or freed, before it came to that.
void Formers::forget_unwanted() {
  std::vector<NodeId> gone;
  for (const auto& [node, former] : formers_) {
    const auto record = core_.tree->node(node);
    if (!record || !record->has(store::kPulling)) gone.push_back(node);
  }
  for (const NodeId node : gone) forget(node);
}

bool Formers::keeps(std::uint64_t number) const {
  return std::any_of(formers_.begin(), formers_.end(),
                     [&](const auto& one) { return one.second->number == number; });
}

void Formers::forget(NodeId node) {
  const auto it = formers_.find(node);
  if (it == formers_.end()) return;
  if (it->second->session != 0) core_.link.close_session(it->second->session);
  formers_.erase(it);
  core_.garbage.hurry();
  core_.effects.wake = true;
}

void Formers::lost() {
  for (const auto& [node, former] : formers_) {
    former->session = 0;
    former->content.reset();
    former->match = ChunkMatch();
    former->file.reset();
  }
}

void Formers::clear() {
  formers_.clear();
}

bool Formers::current(NodeId node, const FormerPtr& former) const {
  const auto it = formers_.find(node);
  return it != formers_.end() && it->second == former && former->content &&
         !former->content->detached && former->content->generation == former->generation;
}

bool Formers::delays(const ContentPtr& content) {
  const auto it = formers_.find(content->node);
  if (it == formers_.end()) return false;
  FormerPtr former = it->second;
  if (former->content == content && former->generation == content->generation) return true;
  if (former->content) {
    // A third version came while the second was compared, perhaps by another thread at this moment.
    if (former->session != 0) {
      core_.link.send(former->session, proto::Cancel{});
      core_.link.close_session(former->session);
    }
    const std::uint64_t number = former->number;
    it->second = former = std::make_shared<Former>();
    former->number = number;
  }
  if (ask(content->node, former, content)) return true;
  forget(content->node);
  return false;
}

bool Formers::ask(NodeId node, const FormerPtr& former, const ContentPtr& content) {
  const auto record = core_.tree->node(node);
  const bool fits = core_.link.can(proto::kDelta) && content->size >= core_.options.delta_least &&
                    content->size <= kDeltaMost && record && record->entry && record->content_base;
  if (!fits) return false;
  former->content = content;
  former->generation = content->generation;
  former->match = ChunkMatch(ChunkMatch::Places::once);
  former->session = core_.link.open_session(
      [this, node, former](Lock&, const proto::Body& body) { heard(node, former, body); });
  return core_.link.send(former->session, proto::Chunks{record->entry, record->content_base});
}

void Formers::heard(NodeId node, const FormerPtr& former, const proto::Body& body) {
  if (!current(node, former)) return forget(node);
  const auto* page = std::get_if<proto::ChunkList>(&body);
  if (page == nullptr) return forget(node);
  const bool good = former->match.add(*page);
  const bool complete = former->match.complete();
  if (good && !complete) return;
  if (good && former->match.size() == former->content->size) {
    core_.link.close_session(former->session);
    former->session = 0;
    turn_at_ = core_.now();
    core_.effects.wake = true;
    return;
  }
  core_.link.send(former->session, proto::Cancel{});
  forget(node);
}

void Formers::pump(Lock& lock) {
  if (core_.now() < turn_at_) return;
  turn_at_ = kNever;
  const auto it = std::find_if(formers_.begin(), formers_.end(), [](const auto& one) {
    return one.second->content && one.second->match.complete();
  });
  if (it == formers_.end()) return;
  turn_at_ = core_.now();  // there may be another one
  const NodeId node = it->first;
  const FormerPtr former = it->second;
  const bool more = current(node, former) && !former->content->whole && turn(lock, former);
  if (more && current(node, former)) return;
  const ContentPtr content = former->content;
  if (formers_.count(node) != 0 && formers_[node] == former) forget(node);
  if (content && !content->detached) core_.pulls.came(content);
}

/// What of the former content is in the newer one goes there; each chunk is compared by the bytes
/// that are written.
bool Formers::turn(Lock& lock, const FormerPtr& former) {
  const ContentPtr content = former->content;
  struct Moved {
    std::vector<std::uint64_t> places;
    Bytes bytes;
  };
  std::vector<Moved> pieces;
  Result<bool> all = false;
  {
    const Unlocked open(lock);
    if (!former->file) {
      auto file = core_.content_files.open(former->number);
      auto size = file ? (*file)->size() : Result<std::uint64_t>(pass(file.error()));
      if (size) former->file = std::move(*file), former->size = *size;
    }
    if (!former->file) return false;
    all = former->match.turn(
        *former->file, former->size,
        [&](std::uint64_t, ByteView bytes, const std::vector<std::uint64_t>& places) -> Result<> {
          if (!places.empty()) pieces.push_back({places, Bytes(bytes.begin(), bytes.end())});
          return {};
        });
  }
  RangeSet landed;
  Result<> kept;
  for (const auto& piece : pieces) {
    for (const auto at : piece.places) {
      if (!kept) break;
      auto part = core_.contents.land(lock, content, at, piece.bytes);
      if (!part) kept = pass(part.error());
      for (const auto& range : part ? part->list() : std::vector<Range>()) landed.add(range);
    }
  }
  auto recorded = core_.contents.checked(content, landed);
  for (const auto& done : {all ? Result<>() : Result<>(pass(all.error())), kept, recorded}) {
    if (!done) log_info("a former content is of no use: {}", done.error().message());
  }
  return all && kept && recorded && !*all;
}

}  // namespace ebb::fusefs
