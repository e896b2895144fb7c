// What is here becomes what is believed after a power cut: content files synced first, then
// recorded.

#include <algorithm>
#include <cerrno>

#include <fcntl.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/sparse.h"
#include "fusefs/core/contents.h"
#include "fusefs/core/core.h"

namespace ebb::fusefs {
namespace {

constexpr Duration kSettleAfter = std::chrono::seconds(1);
/// From this many on one syncfs is cheaper than a sync for each.
constexpr std::size_t kSyncAllFrom = 4;
constexpr std::size_t kCopyBytes = 1u << 20;
constexpr std::size_t kCopyRanges = 65536;  // of data; holes between more of them become zeros

/// Larger ones have a hash once they were pushed or pulled whole: reading them takes too long for a
/// question.
constexpr std::uint64_t kHashedOnDemandMax = 256u << 20;

std::string folder_of(const std::string& path) {
  return path.substr(0, path.rfind('/'));
}

/// Its data; what is a hole stays one.
Result<> copy_onto_itself(File& file) {
  const auto size = file.size();
  if (!size) return pass(size.error());
  Bytes buffer(kCopyBytes);
  for (const auto& range : file.data_in({0, *size}, kCopyRanges)) {
    for (std::uint64_t at = range.begin; at < range.end;) {
      const auto left = std::min<std::uint64_t>(buffer.size(), range.end - at);
      const auto got = file.read_at(at, std::span(buffer).first(left));
      if (!got) return pass(got.error());
      if (*got == 0) return {};
      if (auto done = file.write_at(at, ByteView(buffer).first(*got)); !done) return done;
      at += *got;
    }
  }
  return {};
}

}  // namespace

void Contents::mark_unsettled(const ContentPtr& content) {
  if (content->unsettled) return;
  content->unsettled = true;
  unsettled_.push_back(content->node);
  if (settle_at_ != kNever) return;
  settle_at_ = core_.now() + kSettleAfter;
  core_.effects.wake = true;
}

/// After a sync that failed the kernel takes its pages for clean, and the next one would say that
/// they are on disk.
Result<> Contents::write_again(Lock& lock, const ContentPtr& content) {
  const Range all{0, UINT64_MAX};
  wait_for_claims(lock, content, all);
  content->writing.push_back(all);
  const std::shared_ptr<File> file = content->file;
  Result<> done;
  {
    const Unlocked open(lock);
    done = copy_onto_itself(*file);
  }
  content->writing.erase(std::find(content->writing.begin(), content->writing.end(), all));
  core_.moved.notify_all();
  restamp(content);
  return done;
}

/// Also for whoever opens the store after us.
void Contents::note_sync(const ContentPtr& content, bool failed) {
  if (content->sync_failed == failed) return;
  content->sync_failed = failed;
  if (content->detached) return;
  if (auto done = core_.tree->set_unsynced(content->node, failed); !done) {
    log_warn("the outcome of a sync is not recorded: {}", done.error().message());
  }
}

Result<> Contents::sync(Lock& lock, const ContentPtr& content) {
  look_at_file(content);
  if (content->number == 0 && content->size == 0) return {};
  if (auto done = open_file(lock, content); !done) return done;
  if (content->sync_failed && !content->watched) {
    if (auto done = write_again(lock, content); !done) return pass(as_errno(done.error()));
    if (auto done = open_file(lock, content); !done) return done;
  }
  const store::Extents before = content->extents;
  const std::uint64_t writes = content->writes;
  const bool new_file = content->new_file;
  const std::string folder = folder_of(core_.content_files.path(content->number));
  const std::shared_ptr<File> file = content->file;
  Result<> done;
  {
    const Unlocked open(lock);
    done = file->sync();
    if (done && new_file) done = core_.seams.io.sync_folder(folder);
    if (done && new_file) done = core_.seams.io.sync_folder(folder_of(folder));
  }
  note_sync(content, !done);
  if (!done) return pass(as_errno(done.error()));
  content->new_file = false;
  if (content->detached || (!content->unsettled && !content->is_volatile)) return {};
  if (content->whole) {
    // What came while the sync was under way may not be in it.
    if (content->writes != writes) return {};
    content->extents.recent.clear();
    content->unsettled = content->is_volatile = false;
    return core_.tree->set_here(content->node, {}, true, true);
  }
  for (const auto& range : before.recent.list()) {
    for (const auto& part : content->extents.recent.within(range).list()) {
      content->extents.settled.add(part);
      content->extents.recent.remove(part);
    }
  }
  if (content->writes != writes && !content->whole) return record_here(content);
  content->unsettled = false;
  return record_here(content);
}

void Contents::settle(Lock& lock, bool now_all) {
  if (unsettled_.empty() || (!now_all && core_.now() < settle_at_)) return;
  std::vector<NodeId> nodes;
  nodes.swap(unsettled_);
  settle_at_ = kNever;
  const bool all_at_once = nodes.size() >= kSyncAllFrom;
  bool failed = false;
  std::map<NodeId, std::uint64_t> writes;
  for (const NodeId node : nodes) {
    if (const auto content = find(node)) writes[node] = content->writes;
  }
  if (all_at_once) {
    const Unlocked open(lock);
    if (auto done = core_.content_files.sync_all(); !done) {
      log_warn("contents are not on disk: {}", done.error().message());
      failed = true;
    }
  }
  for (const NodeId node : nodes) {
    const auto content = find(node);
    if (!content || !content->unsettled) continue;
    Result<> done;
    if (failed) {
      note_sync(content, true);
    } else if (!all_at_once || content->sync_failed) {
      done = sync(lock, content);
    } else if (writes.count(node) != 0 && writes[node] == content->writes) {
      // A pull may have landed since; its bytes are in `recent` only when that was before the sync
      // or after it, which cannot be told apart for a partial content: that one waits for its own
      // sync.
      if (content->whole) {
        content->extents.recent.clear();
        content->unsettled = content->new_file = content->is_volatile = false;
        done = core_.tree->set_here(node, {}, true, true);
      } else {
        done = sync(lock, content);
      }
    }
    if (!done) log_warn("a content stays unsettled: {}", done.error().message());
    if (content->unsettled && !content->detached) {
      content->unsettled = false;
      mark_unsettled(content);
    }
  }
  for (const NodeId node : nodes) tidy(node);
}

Result<> Contents::learn_hash(Lock& lock, NodeId node) {
  auto got = get(node);
  if (!got) return pass(got.error());
  const ContentPtr content = *got;
  if (!content->whole || content->size > kHashedOnDemandMax) return {};
  if (content->size != 0) {
    if (auto done = open_file(lock, content); !done) return done;
    if (!content->whole) return {};
  }
  const std::uint64_t writes = content->writes;
  const std::uint64_t size = content->size;
  Xxh3Stream hash;
  Result<> done;
  {
    const std::shared_ptr<File> file = content->file;
    const Unlocked open(lock);
    Bytes buffer(std::min<std::uint64_t>(size, 1u << 20));
    for (std::uint64_t offset = 0; offset < size && done;) {
      auto read = file->read_at(offset, buffer);
      if (!read) done = pass(as_errno(read.error()));
      if (!read || *read == 0) break;
      hash.update(std::span(buffer).first(*read));
      offset += *read;
    }
  }
  const bool same = content->writes == writes && content->size == size && content->writing.empty();
  if (!done || !same || content->detached) return done;
  return core_.tree->set_hash(node, hash.digest());
}

void Contents::writers_gone(const ContentPtr& content) {
  if (!content->write_marked || content->detached) return;
  if (content->unrecorded && !record_again(content)) return;
  content->unrecorded = false;
  content->write_marked = false;
  if (auto done = core_.tree->set_open_for_write(content->node, false); !done) {
    log_warn("a writer's mark stays: {}", done.error().message());
  }
}

Result<> Contents::allocate(Lock& lock, const ContentPtr& content, int mode, Range range) {
  const bool keep = (mode & FALLOC_FL_KEEP_SIZE) != 0;
  const bool zero = (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) != 0;
  const bool plain = (mode & ~FALLOC_FL_KEEP_SIZE) == 0;
  const bool punch = mode == (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
  const bool zero_range = (mode & ~FALLOC_FL_KEEP_SIZE) == FALLOC_FL_ZERO_RANGE;
  if (!plain && !punch && !zero_range) return fail_errno(EOPNOTSUPP);
  if (range.empty()) return fail_errno(EINVAL);
  if (range.end > INT64_MAX) return fail_errno(EFBIG);
  // The room first: what does not fit changes nothing.
  if (!punch) {
    if (auto done = reserve(lock, content, range); !done) return done;
  }
  if (!keep && range.end > content->size) {
    if (auto done = set_size(lock, content, range.end); !done) return done;
  }
  if (!zero) return {};
  const Range inside{range.begin, std::min(range.end, content->size)};
  if (auto done = zero_out(lock, content, inside); !done || punch) return done;
  return reserve(lock, content, inside);
}

Result<> Contents::reserve(Lock& lock, const ContentPtr& content, Range range) {
  if (range.empty()) return {};
  if (auto room = room_for(range.size()); !room) return room;
  if (auto done = open_file(lock, content); !done) return done;
  note_sparse(content);
  const std::shared_ptr<File> file = content->file;
  const Unlocked open(lock);
  auto done = file->reserve(range);
  if (!done) return pass(as_errno(done.error()));
  return {};
}

Result<std::uint64_t> Contents::allocated(NodeId node, std::uint64_t number) const {
  const auto content = find(node);
  if (content && content->file && content->number == number) return content->file->allocated();
  const auto file = core_.content_files.open(number);
  if (!file) return pass(file.error());
  return (*file)->allocated();
}

Result<> Contents::zero_out(Lock& lock, const ContentPtr& content, Range range) {
  if (range.empty()) return {};
  if (auto done = open_file(lock, content); !done) return done;
  const std::shared_ptr<File> file = content->file;
  if (auto done = prepare_write(lock, content); !done) return pass(as_errno(done.error()));
  wait_for_claims(lock, content, range);
  content->writing.push_back(range);
  Result<> done;
  {
    const Unlocked open(lock);
    done = file->punch(range);
  }
  content->writing.erase(std::find(content->writing.begin(), content->writing.end(), range));
  core_.moved.notify_all();
  if (done) note_sparse(content);
  if (!done) note_changed(content, range);
  auto recorded = written(content, done ? range : Range{}, content->size);
  if (!done) return pass(as_errno(done.error()));
  return recorded;
}

}  // namespace ebb::fusefs
