// Contents whose file the kernel reads and writes by itself.
//
// Whoever writes such a file is not seen: neither write(2) nor a store into a mapping tells us.  So
//   - before the file is handed out, the store has durably that somebody may write it, and a crash
//     finds it by that (suspect)
//   - while somebody may, size and mtime of the file are looked at, once a second and before
//     anything that depends on them
//   - a mapping outlives close(2): after the last close the watch goes on, and counts as a writer,
//     until nobody has the file open for writing any more

#include <cerrno>

#include <sys/stat.h>

#include "base/log.h"
#include "fusefs/core/contents.h"
#include "fusefs/core/core.h"

namespace ebb::fusefs {
namespace {

constexpr Duration kLookEvery = std::chrono::seconds(1);
/// The kernel lets go of a file a little after its release was told.
constexpr Duration kFirstLook = std::chrono::milliseconds(100);

void warn(const Result<>& done) {
  if (!done) log_warn("a change of a content is not recorded: {}", done.error().message());
}

}  // namespace

std::string Contents::path_of(const ContentPtr& content) const {
  return core_.content_files.path(content->number);
}

bool Contents::may_hand_out(const ContentPtr& content) const {
  const auto node = core_.tree->node(content->node);
  if (core_.seams.files == nullptr || !node || content->detached) return false;
  if (!content->whole || content->number == 0) return false;
  // Writing by itself the kernel does not take these bits away.
  if ((node->mode & (S_ISUID | S_ISGID)) != 0) return false;
  return content->size >= core_.options.passthrough_from || content->watched;
}

void Contents::decide_io(Lock& lock, const ContentPtr& content) {
  core_.moved.wait(lock, [&] { return !content->deciding; });
  if (content->io != IoMode::undecided) return;
  content->io = IoMode::through_us;
  if (!may_hand_out(content)) return;
  const std::string path = path_of(content);
  content->deciding = true;
  int number = 0;
  {
    const Unlocked open(lock);
    number = core_.seams.files->add(path);
  }
  content->deciding = false;
  core_.moved.notify_all();
  if (number == 0) return;
  content->io = IoMode::passthrough;
  content->backing = number;
}

Result<> Contents::hand_out(Lock& lock, const ContentPtr& content) {
  const auto node = core_.tree->node(content->node);
  const bool clean = node && !node->has(store::kContentDirty);
  // What is not believed after a power cut would be dropped then, with all that was written to it.
  if (clean && content->is_volatile) {
    if (auto done = sync(lock, content); !done) return done;
  }
  if (auto done = prepare_write(lock, content); !done) return done;
  ++content->handed_out;
  if (!content->watched) begin_watch(content);
  return {};
}

void Contents::begin_watch(const ContentPtr& content) {
  content->watched = true;
  content->pushed_in_doubt = false;
  core_.changed_ranges.forget(content->number);
  restamp(content);
  watched_.push_back(content);
  core_.inodes.opened(content->node, true);
  look_again_in(content, kLookEvery);
}

void Contents::look_again_in(const ContentPtr& content, Duration time) {
  content->look_at = core_.now() + time;
  if (content->look_at >= watch_at_) return;
  watch_at_ = content->look_at;
  core_.effects.wake = true;
}

void Contents::closed(const ContentPtr& content, bool handed_out) {
  look_at_file(content);
  if (handed_out && --content->handed_out == 0) look_again_in(content, kFirstLook);
  if (--content->handles != 0) return;
  content->io = IoMode::undecided;
  const int number = std::exchange(content->backing, 0);
  if (number == 0) return;
  core_.effects.notices.emplace_back([this, number] { core_.seams.files->remove(number); });
}

void Contents::restamp(const ContentPtr& content) {
  if (!content->watched) return;
  const auto now = core_.seams.files->stamp(path_of(content));
  if (!now) return;
  content->stamp = *now;
  content->size = now->size;
}

void Contents::look_at_file(const ContentPtr& content) {
  if (!content->watched || content->detached || !content->writing.empty()) return;
  const auto now = core_.seams.files->stamp(path_of(content));
  if (!now || *now == content->stamp) return;
  content->stamp = *now;
  content->size = now->size;
  ++content->writes;
  core_.changed_ranges.forget(content->number);
  if (now->sparse) note_sparse(content);
  auto done = core_.tree->content_written(content->node, now->size, now->mtime);
  if (done && !content->is_volatile && now->size != 0) {
    done = core_.tree->set_here(content->node, {}, true, false);
    content->is_volatile = done.has_value();
  }
  warn(done);
  if (content->io == IoMode::through_us) core_.inodes.pages_outdated(content->node);
  core_.effects.notices.emplace_back(
      [this, node = content->node] { core_.seams.kernel.attributes_changed(node); });
}

void Contents::look_at_all() {
  for (const auto& content : watched_) look_at_file(content);
}

void Contents::look_at_entry(EntryId entry) {
  if (watched_.empty()) return;
  const auto node = core_.tree->of_entry(entry);
  if (const auto content = node ? find(*node) : nullptr) look_at_file(content);
}

void Contents::watch(bool now_all) {
  const Time now = core_.now();
  if (watched_.empty() || (!now_all && now < watch_at_)) return;
  watch_at_ = kNever;
  const auto watched = watched_;
  for (const auto& content : watched) {
    if (now_all || now >= content->look_at) {
      look_at_file(content);
      content->look_at = now + kLookEvery;
      end_watch_if_free(content);
    }
    if (content->watched) watch_at_ = std::min(watch_at_, content->look_at);
  }
}

bool Contents::still_written(const ContentPtr& content) {
  if (content->detached) return false;
  if (content->handed_out != 0 || content->deciding || content->opening) return true;
  // Ours would be in the way.  Who needs it opens it again.
  content->file.reset();
  return core_.seams.files->open_for_writing(path_of(content));
}

void Contents::end_watch_if_free(const ContentPtr& content) {
  if (!content->watched || still_written(content)) return;
  // Nobody can write any more: what is seen now is the last state.
  look_at_file(content);
  const auto node = core_.tree->node(content->node);
  if (content->pushed_in_doubt && !content->detached && node) {
    ++content->writes;
    warn(core_.tree->content_written(content->node, content->size, node->mtime));
  }
  content->watched = false;
  std::erase(watched_, content);
  core_.inodes.closed(content->node, true);
  if (core_.inodes.writers(content->node) == 0) writers_gone(content);
  core_.transitions.poke();
  core_.effects.wake = true;
  // Behind whoever looked: the content is in use until then.
  core_.effects.later.emplace_back([this, node = content->node] { core_.release_node(node); });
}

void Contents::suspect(NodeId id) {
  const auto node = core_.tree->node(id);
  if (!node || node->content == 0 || !node->has(store::kWhole)) return;
  const auto now = stamp_after_crash(*node);
  if (!now) return;
  // What was written after the last word on it was written without us.
  const WallNs mtime = now->mtime > node->ctime ? now->mtime : node->mtime;
  if (now->size != node->size || mtime != node->mtime) {
    warn(core_.tree->content_written(id, now->size, mtime));
  }
  // A mapping outlives the mount that it was made in.
  const KernelFiles* files = core_.seams.files;
  if (files == nullptr || !files->open_for_writing(core_.content_files.path(node->content))) return;
  const auto content = get(id);
  if (!content || !core_.tree->set_open_for_write(id, true)) return;
  (*content)->write_marked = true;
  begin_watch(*content);
}

std::optional<FileStamp> Contents::stamp_after_crash(const store::Node& node) const {
  if (core_.seams.files != nullptr) {
    return core_.seams.files->stamp(core_.content_files.path(node.content));
  }
  const auto file = core_.content_files.open(node.content);
  const auto size = file ? (*file)->size() : Result<std::uint64_t>(pass(file.error()));
  if (!size) return std::nullopt;
  return FileStamp{*size, node.mtime, false};
}

}  // namespace ebb::fusefs
