// Client: open files.

#include <algorithm>
#include <cerrno>

#include <fcntl.h>
#include <unistd.h>

#include "base/log.h"
#include "fusefs/core/client.h"
#include "fusefs/core/client_impl.h"

namespace ebb::fusefs {
namespace {

/// Read-ahead once reading is sequential: as much again as was read in a row, within these bounds.
constexpr std::uint64_t kAheadLeast = 256u << 10;
constexpr std::uint64_t kAheadMost = 8u << 20;
/// From here on the rest of the file follows in the background (hydrate=progressive).
constexpr std::uint64_t kProgressiveRun = 1u << 20;

bool for_writing(int flags) {
  return (flags & O_ACCMODE) != O_RDONLY;
}

}  // namespace

Result<OpenFile> Client::Impl::open_node(Lock& lock, NodeId id, int flags) {
  const auto node = tree->node(id);
  if (!node) return pass(node.error());
  if (node->kind == Kind::symlink) return fail_errno(ELOOP);
  const bool writes = for_writing(flags);
  if (writes || (flags & O_TRUNC) != 0) {
    if (auto fine = writable(); !fine) return pass(fine.error());
  }
  if ((flags & O_TRUNC) != 0 && node->kind == Kind::file) {
    if (auto done = truncate(lock, id, 0); !done) return pass(done.error());
  }
  take_tree_effects();
  auto found = contents.get(id);
  if (!found) return pass(found.error());
  const ContentPtr content = *found;
  // From here on the tree does not exchange the content.
  inodes.opened(id, writes);
  ++content->handles;
  OpenHandle open;
  open.node = id;
  open.reads = (flags & O_ACCMODE) != O_WRONLY;
  open.writes = writes;
  open.content = content;
  const Handle handle = handles.add(std::move(open));
  OpenFile opened;
  opened.handle = handle;
  opened.keep_cache = inodes.keeps_pages(id);
  Result<> done;
  if (content->whole && node->status == Status::remote) done = tree->set_here(id, {}, true, true);
  if (done && content->whole && content->size != 0) done = contents.open_file(lock, content);
  contents.decide_io(lock, content);
  if (done && writes && content->io == IoMode::passthrough) {
    done = contents.hand_out(lock, content);
    if (OpenHandle* now = handles.find(handle); done && now != nullptr) now->handed_out = true;
  }
  opened.backing = content->backing;
  opened.flush = flush_matters(content, flags);
  if (!done) {
    close_handle(handle);
    return pass(done.error());
  }
  return opened;
}

/// With a delay nothing happens at close that does not at the release; but a mapping's pages come
/// with it, and what was written without us is noticed.
bool Client::Impl::flush_matters(const ContentPtr& content, int flags) const {
  if (!for_writing(flags)) return false;
  const bool maps = (flags & O_ACCMODE) != O_WRONLY;
  return maps || content->backing != 0 || options.delay == Duration{};
}

Ticket Client::open(NodeId node, int flags, Reply<OpenFile> reply) {
  Section section(*impl_);
  Impl& core = *impl_;
  const auto opened = core.open_node(section.lock(), node, flags);
  if (!opened) return core.answer(reply, opened), 0;
  const ContentPtr content = core.handles.find(opened->handle)->content;
  const bool small = content->size <= kSmallFile;
  if (small && (flags & O_ACCMODE) == O_RDONLY && core.options.hydrate != Hydrate::range) {
    core.neighbours.opened(node, content->whole);
  }
  if ((flags & O_ACCMODE) == O_RDONLY) core.pushes.read_from(node, content->size);
  if (content->whole) return core.answer(reply, opened), 0;
  if (core.options.hydrate == Hydrate::full) {
    return core.wait_whole(section.lock(), *opened, [&core, reply](Result<OpenFile> now) {
      core.answer(reply, std::move(now));
    });
  }
  if (small && (flags & O_ACCMODE) != O_WRONLY && !core.link.away()) {
    core.pulls.want_now(content, content->all());
    core.pulls.pump(section.lock());
  }
  return core.answer(reply, opened), 0;
}

Ticket Client::Impl::wait_whole(Lock& lock, const OpenFile& opened,
                                std::function<void(Result<OpenFile>)> done) {
  const ContentPtr content = handles.find(opened.handle)->content;
  const auto fail_open = [this, opened, done](const Result<>& why) {
    close_handle(opened.handle);
    done(pass(why.error()));
  };
  if (content->stale) return fail_open(fail_errno(ESTALE)), 0;
  if (link.away()) return fail_open(fail_errno(EHOSTDOWN, "the server is out of reach")), 0;
  const Ticket ticket = waits.add(
      now() + options.timeout, [content, opened, done, fail_open](Ticket, const Result<>& result) {
        if (!result) return fail_open(result);
        done(opened);
      });
  if (ticket == 0) return 0;
  content->readers.push_back({ticket, content->all()});
  pulls.want_now(content, content->all());
  pulls.pump(lock);
  return ticket;
}

Ticket Client::create(NodeId folder, std::string_view name, std::uint32_t mode, int flags,
                      Maker maker, Reply<Created> reply) {
  Section section(*impl_);
  Impl& core = *impl_;
  const auto refuse = [&core, reply](const Error& why) {
    core.answer(reply, Result<Created>(pass(why)));
  };
  if (auto fine = core.writable(); !fine) return refuse(fine.error()), 0;
  const auto listed = core.tree->listed(folder);
  if (!listed) return refuse(listed.error()), 0;
  Lock* lock = &section.lock();
  const auto work = [&core, refuse, reply, folder, text = std::string(name), mode, flags, maker](
                        Lock* held, const Result<>& known) {
    if (!known) return refuse(known.error());
    auto node = core.tree->find(folder, text);
    if (node && (flags & O_EXCL) != 0) return refuse(Result<>(fail_errno(EEXIST)).error());
    const bool made = !node;
    if (made) node = core.tree->make(folder, text, Kind::file, mode, maker);
    if (!node) return refuse(node.error());
    auto attributes = core.entry(*node);
    if (!attributes) return refuse(attributes.error());
    // The content file is made by the first write: where this runs without the lock in hand,
    // nothing may block.
    // What is new is empty.
    const int rest = made ? flags & ~O_TRUNC : flags;
    Result<OpenFile> opened =
        held != nullptr ? core.open_node(*held, *node, rest) : core.open_lazily(*node, rest);
    if (!opened) {
      if (core.inodes.forget(*node, 1)) core.release_node(*node);
      return refuse(opened.error());
    }
    if (auto now = core.attributes(*node)) *attributes = *now;
    core.answer(reply, Result<Created>(Created{*attributes, *opened}));
  };
  if (*listed) {
    core.inodes.saw_names(folder);
    return work(lock, {}), 0;
  }
  return core.when_listed(folder, [work](const Result<>& known) { work(nullptr, known); });
}

void Client::create_nameless(NodeId folder, std::uint32_t mode, int flags, Maker maker,
                             Reply<Created> reply) {
  Section section(*impl_);
  Impl& core = *impl_;
  const auto refuse = [&core, &reply](const Error& why) {
    core.answer(reply, Result<Created>(pass(why)));
  };
  if (auto fine = core.writable(); !fine) return refuse(fine.error());
  const auto node = core.tree->make_nameless(folder, mode, maker);
  if (!node) return refuse(node.error());
  const auto attributes = core.entry(*node);
  if (!attributes) return refuse(attributes.error());
  const auto opened = core.open_node(section.lock(), *node, flags);
  if (opened) return core.answer(reply, Result<Created>(Created{*attributes, *opened}));
  if (core.inodes.forget(*node, 1)) core.release_node(*node);
  refuse(opened.error());
}

Result<OpenFile> Client::Impl::open_lazily(NodeId id, int flags) {
  auto found = contents.get(id);
  if (!found) return pass(found.error());
  if ((flags & O_TRUNC) != 0 && (*found)->size != 0) {
    // Others have it open: cutting it would be IO.  The caller comes again, and then the folder is
    // known.
    if (inodes.open(id)) return fail_errno(EAGAIN);
    if (auto done = contents.empty_anew(*found); !done) return pass(done.error());
    found = contents.get(id);
    if (!found) return pass(found.error());
  }
  const bool writes = for_writing(flags);
  // A writer's mark has to be on disk before, which is IO as well.
  const bool handed_out = (*found)->io == IoMode::passthrough;
  if ((*found)->deciding || (handed_out && writes)) return fail_errno(EAGAIN);
  inodes.opened(id, writes);
  OpenHandle open;
  open.node = id;
  open.reads = (flags & O_ACCMODE) != O_WRONLY;
  open.writes = writes;
  open.content = *found;
  ++(*found)->handles;
  if ((*found)->io == IoMode::undecided) (*found)->io = IoMode::through_us;
  OpenFile opened;
  opened.keep_cache = inodes.keeps_pages(id);
  opened.backing = (*found)->backing;
  opened.flush = flush_matters(*found, flags);
  opened.handle = handles.add(std::move(open));
  return opened;
}

Ticket Client::read(Handle handle, std::uint64_t offset, std::size_t size, Reply<Piece> reply) {
  Section section(*impl_);
  Impl& core = *impl_;
  OpenHandle* open = core.handles.find(handle);
  if (open == nullptr || !open->content || !open->reads) {
    return core.answer(reply, Result<Piece>(fail_errno(EBADF))), 0;
  }
  const ContentPtr content = open->content;
  core.contents.look_at_file(content);
  const Range range{std::min(offset, content->size),
                    std::min(content->size, offset + std::min<std::uint64_t>(size, INT64_MAX))};
  core.read_ahead(*open, range);
  const auto piece = [content, range]() -> Result<Piece> {
    const std::uint64_t end = std::min(range.end, content->size);
    return Piece{content->file, range.begin, end > range.begin ? end - range.begin : 0};
  };
  if (range.empty()) return core.answer(reply, piece()), 0;
  if (content->is_here(range)) {
    if (auto done = core.contents.open_file(section.lock(), content); !done) {
      return core.answer(reply, Result<Piece>(pass(done.error()))), 0;
    }
    if (content->is_here(range)) return core.answer(reply, piece()), 0;
  }
  if (content->stale) {
    return core.answer(reply,
                       Result<Piece>(fail_errno(ESTALE, "the server has this version no more"))),
           0;
  }
  if (core.link.away()) {
    return core.answer(reply, Result<Piece>(fail_errno(EHOSTDOWN, "the server is out of reach"))),
           0;
  }
  const Ticket ticket = core.waits.add(
      core.now() + core.options.timeout, [&core, reply, piece](Ticket, const Result<>& result) {
        core.answer(reply, result ? piece() : Result<Piece>(pass(result.error())));
      });
  if (ticket == 0) return 0;
  content->readers.push_back({ticket, range});
  core.pulls.want_now(content, range);
  core.pulls.pump(section.lock());
  return core.waits.waiting(ticket) ? ticket : 0;
}

void Client::Impl::read_ahead(OpenHandle& handle, Range range) {
  handle.run = range.begin == handle.next ? handle.run + range.size() : range.size();
  handle.read += range.size();
  handle.next = range.end;
  const ContentPtr& content = handle.content;
  if (content->whole || content->stale || !link.ready() || handle.run <= range.size()) return;
  const std::uint64_t ahead = std::clamp(handle.run, kAheadLeast, kAheadMost);
  pulls.want_ahead(content, {range.end, range.end + ahead});
  const bool on = handle.run >= kProgressiveRun || handle.read >= content->size / 2;
  if (options.hydrate == Hydrate::progressive && on) pulls.want_all(content);
}

Result<std::size_t> Client::write(Handle handle, std::uint64_t offset, ByteView bytes,
                                  bool append) {
  Section section(*impl_);
  if (auto fine = impl_->writable(); !fine) return pass(fine.error());
  const OpenHandle* open = impl_->handles.find(handle);
  if (open == nullptr || !open->content || !open->writes) return fail_errno(EBADF);
  const ContentPtr content = open->content;
  impl_->contents.look_at_file(content);
  auto written = impl_->contents.write(section.lock(), content, offset, bytes, append);
  if (!written) return pass(as_errno(written.error()));
  return written;
}

Result<> Client::flush(Handle handle) {
  Section section(*impl_);
  const OpenHandle* open = impl_->handles.find(handle);
  if (open == nullptr || !open->content) return fail_errno(EBADF);
  impl_->contents.look_at_file(open->content);
  if (!open->writes) return {};
  ++open->content->flushes;
  impl_->pushes.flushed(open->node);
  return {};
}

Ticket Client::fsync(Handle handle, bool, Reply<> reply) {
  Section section(*impl_);
  Impl& core = *impl_;
  const OpenHandle* open = core.handles.find(handle);
  if (open == nullptr || !open->content) return core.answer(reply, Result<>(fail_errno(EBADF))), 0;
  const ContentPtr content = open->content;
  const NodeId node = open->node;
  ++content->flushes;
  Result<> done = core.contents.sync(section.lock(), content);
  if (done) {
    const Unlocked unlocked(section.lock());
    done = core.store->sync();
  }
  if (!done || !core.options.fsync_server) return core.answer(reply, std::move(done)), 0;
  return core.transitions.wait(node, std::move(reply));
}

Ticket Client::fsync_folder(Handle handle, Reply<> reply) {
  Section section(*impl_);
  Impl& core = *impl_;
  const OpenHandle* open = core.handles.find(handle);
  if (open == nullptr) return core.answer(reply, Result<>(fail_errno(EBADF))), 0;
  const NodeId node = open->node;
  Result<> done;
  {
    const Unlocked unlocked(section.lock());
    done = core.store->sync();
  }
  if (!done || !core.options.fsync_server) return core.answer(reply, std::move(done)), 0;
  return core.transitions.wait(node, std::move(reply));
}

void Client::release(Handle handle) {
  Section section(*impl_);
  impl_->close_handle(handle);
}

void Client::Impl::close_handle(Handle handle) {
  const OpenHandle* found = handles.find(handle);
  if (found == nullptr) return;
  const OpenHandle open = *found;
  handles.remove(handle);
  if (open.content) contents.closed(open.content, open.handed_out);
  if (open.writes && open.content) ++open.content->flushes;
  const bool free = inodes.closed(open.node, open.writes);
  if (open.content && inodes.writers(open.node) == 0) contents.writers_gone(open.content);
  if (open.content && inodes.handles(open.node) == 0) pulls.unwant(open.content);
  if (open.writes) pushes.flushed(open.node);
  if (open.writes) transitions.poke();
  if (open.writes && transitions.under_way(open.node)) effects.wake = true;  // it waited for this
  handles_gone(open.node, free);
}

void Client::Impl::handles_gone(NodeId node, bool free) {
  if (free) return release_node(node);
  contents.tidy(node);
}

Result<> Client::allocate(Handle handle, int mode, std::uint64_t offset, std::uint64_t length) {
  Section section(*impl_);
  if (auto fine = impl_->writable(); !fine) return fine;
  const OpenHandle* open = impl_->handles.find(handle);
  if (open == nullptr || !open->content || !open->writes) return fail_errno(EBADF);
  if (offset > INT64_MAX || length > INT64_MAX) return fail_errno(EFBIG);
  const ContentPtr content = open->content;
  impl_->contents.look_at_file(content);
  auto done = impl_->contents.allocate(section.lock(), content, mode, {offset, offset + length});
  if (!done) return pass(as_errno(done.error()));
  return {};
}

Result<std::uint64_t> Client::seek(Handle handle, std::uint64_t offset, int whence) {
  Section section(*impl_);
  const OpenHandle* open = impl_->handles.find(handle);
  if (open == nullptr || !open->content) return fail_errno(EBADF);
  if (whence != SEEK_DATA && whence != SEEK_HOLE) return fail_errno(EINVAL);
  const ContentPtr content = open->content;
  impl_->contents.look_at_file(content);
  if (offset >= content->size) return fail_errno(ENXIO);
  // What is not here may hold data anywhere; only a whole file's own holes are the file's.
  if (content->whole && content->number != 0) {
    if (auto done = impl_->contents.open_file(section.lock(), content); !done) {
      return pass(as_errno(done.error()));
    }
    if (content->whole && content->file->fd() >= 0) {
      const off_t at = ::lseek(content->file->fd(), static_cast<off_t>(offset), whence);
      if (at >= 0) return std::min(static_cast<std::uint64_t>(at), content->size);
      return fail_errno(errno);
    }
  }
  return whence == SEEK_DATA ? offset : content->size;
}

SpaceFigures Client::space() {
  Section section(*impl_);
  return impl_->stats.space();
}

void Client::interrupt(Ticket ticket) {
  Section section(*impl_);
  impl_->waits.finish(ticket, fail_errno(EINTR));
}

}  // namespace ebb::fusefs
