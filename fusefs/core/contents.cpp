#include "fusefs/core/contents.h"

#include <algorithm>
#include <cerrno>

#include <fcntl.h>

#include "base/check.h"
#include "base/log.h"
#include "fusefs/core/core.h"

namespace ebb::fusefs {
namespace {

/// Content stops here before the disk is full: the store needs room to record that something was
/// pushed or dropped, or a full disk could never be emptied again.
constexpr std::uint64_t kReserved = 8u << 20;
/// Free space is looked at once in so many bytes.
constexpr std::uint64_t kRoomStep = 1u << 20;

bool overlaps(const std::vector<Range>& claims, Range range) {
  return std::any_of(claims.begin(), claims.end(), [&](const Range& claim) {
    return claim.begin < range.end && range.begin < claim.end;
  });
}

}  // namespace

RangeSet OpenContent::landable(Range range) const {
  range.end = std::min(range.end, size);
  if (whole || range.empty()) return {};
  RangeSet free = here.missing_in(range);
  for (const auto& claim : writing) free.remove(claim);
  for (const auto& claim : landing) free.remove(claim);
  return free;
}

Result<ContentPtr> Contents::get(NodeId node) {
  if (auto open = find(node)) return open;
  auto record = core_.tree->node(node);
  if (!record) return pass(record.error());
  if (record->is_folder()) return fail_errno(EISDIR);
  if (record->kind != Kind::file) return fail_errno(EINVAL, "not a regular file");
  auto content = std::make_shared<OpenContent>();
  content->node = node;
  if (auto done = load(*content, *record); !done) return pass(done.error());
  table_.emplace(node, content);
  return content;
}

Result<> Contents::load(OpenContent& content, const store::Node& node) const {
  content.number = node.content;
  content.size = node.size;
  content.whole = node.size == 0 || (node.has(store::kWhole) && node.content != 0);
  // A mark that nobody holds: what was written could not be recorded.
  content.write_marked = content.unrecorded = node.has(store::kOpenForWrite);
  content.is_volatile = node.has(store::kVolatile);
  // Perhaps made by a process that ended before the name was on disk.
  content.new_file = content.is_volatile;
  content.sparse = node.has(store::kSparse);
  content.sync_failed = node.has(store::kUnsynced);
  if (content.whole || node.content == 0) return {};
  auto text = core_.store->text(content.node, store::Text::extents);
  if (!text) return pass(as_errno(text.error()));
  if (text->empty()) return {};
  auto extents = store::unpack_extents(*text);
  if (!extents) return fail_errno(EIO, "the record of what is here is damaged");
  content.extents = std::move(*extents);
  content.here = content.extents.here();
  content.unsettled = false;
  return {};
}

ContentPtr Contents::find(NodeId node) const {
  const auto it = table_.find(node);
  return it == table_.end() ? nullptr : it->second;
}

void Contents::tidy(NodeId node) {
  const auto it = table_.find(node);
  if (it == table_.end()) return;
  auto& content = it->second;
  if (content.use_count() > 1 || !content->readers.empty() || content->opening) return;
  // Many that wait for their settling must not keep as many files open.
  content->file.reset();
  if (!content->unsettled && !content->sync_failed) table_.erase(it);
}

void Contents::detach(const ContentPtr& content) {
  content->detached = true;
  content->stale = true;
  ++content->generation;
  core_.changed_ranges.forget(content->number);
  const auto it = table_.find(content->node);
  if (it != table_.end() && it->second == content) table_.erase(it);
  fail_readers(content, fail_errno(ESTALE, "the file has another content now"));
}

void Contents::revalidate(NodeId node) {
  const auto content = find(node);
  if (!content) return;
  const auto record = core_.tree->node(node);
  const bool untouched = content->number == 0 && !content->file && !content->opening;
  if (!record || !untouched) return detach(content);
  // Nothing of the former version was ever here: whoever has it open goes on with this one.
  ++content->generation;
  content->want_now.clear();
  content->want_ahead.clear();
  content->in_flight.clear();
  content->size = record->size;
  content->whole = record->size == 0;
  content->stale = false;
  for (const auto& reader : content->readers) core_.pulls.want_now(content, reader.range);
  answer_readers(content);
}

void Contents::dropped(std::uint64_t number) {
  for (const auto& [node, content] : table_) {
    if (content->number != number) continue;
    const ContentPtr gone = content;
    detach(gone);
    return;
  }
}

void Contents::replaced(NodeId node) {
  const auto content = find(node);
  if (!content) return;
  content->stale = true;
  fail_readers(content, fail_errno(ESTALE, "the server has a newer version of this file"));
}

Result<> Contents::open_file(Lock& lock, const ContentPtr& content, bool writes) {
  core_.moved.wait(lock, [&] { return !content->opening; });
  content->used = ++uses_;
  if (content->file) return {};
  if (content->detached) return fail_errno(ESTALE);
  const bool make = content->number == 0;
  const std::uint64_t number = make ? core_.tree->new_content_number() : content->number;
  // The store could not keep that a number is taken.
  if (number == 0) return fail_errno(EIO, "no number for a new content file");
  look_at_file(content);
  const std::uint64_t size = content->size;
  const bool moving = content->watched;
  const auto node = core_.tree->node(content->node);
  const bool clean =
      node && node->entry && !node->has(store::kContentDirty) && !node->has(store::kOpenForWrite);
  // What a power cut took before anybody asked for it to be kept reads as zeros, as anywhere.
  const bool forgiven = core_.store->rebooted() && !clean;
  content->opening = true;
  Result<std::unique_ptr<File>> file = fail_errno(EIO);
  {
    const Unlocked open(lock);
    file = make ? core_.content_files.create(number, size) : core_.content_files.open(number);
    if (!file && !make && forgiven && is_errno(file.error(), ENOENT)) {
      file = core_.content_files.create(number, size);
    }
    // Or a crash came between a change of the file and its record, which counts.  Nobody has it
    // open.
    if (file && !make && !moving) {
      const auto has = (*file)->size();
      if (has && *has != size && content->unrecorded) {
        content->size = *has;
      } else if (has && *has < size && clean) {
        file = fail_errno(ENOENT, "it is shorter than it was");
      } else if (has && *has != size) {
        if (auto fitted = (*file)->truncate(size); !fitted) file = pass(fitted.error());
      }
    }
  }
  content->opening = false;
  core_.moved.notify_all();
  // A power cut may have taken the record that the number was given, and left the file.
  const bool left_behind = !file && make && is_errno(file.error(), EEXIST);
  if (left_behind && !content->detached) return open_file(lock, content, writes);
  if (!file && !make && is_errno(file.error(), ENOENT) && !content->detached) {
    if (auto done = lost(content); !done) return done;
    return open_file(lock, content, writes);
  }
  if (!file) return pass(as_errno(file.error()));
  if (content->detached) {
    if (make) core_.garbage.add(number);
    return fail_errno(ESTALE, "the file has another content now");
  }
  content->file = std::move(*file);
  if (++opened_ > core_.options.open_files_max) close_some();
  if (!make) return {};
  content->new_file = true;
  const bool marks = writes && !content->write_marked;
  if (auto done = core_.tree->set_content(content->node, number, marks); !done) {
    content->file.reset();
    core_.garbage.add(number);
    return done;
  }
  content->number = number;
  content->write_marked = content->write_marked || marks;
  return {};
}

/// The half of the idle ones that was used longest ago.  They are opened again when they are
/// needed; what others hold stays open.
void Contents::close_some() {
  std::vector<ContentPtr> idle;
  opened_ = 0;
  for (const auto& [node, content] : table_) {
    if (!content->file) continue;
    ++opened_;
    const bool busy = content->file.use_count() > 1 || content->opening || content->used == uses_ ||
                      !content->writing.empty() || !content->landing.empty();
    if (!busy) idle.push_back(content);
  }
  const auto half = idle.begin() + static_cast<std::ptrdiff_t>((idle.size() + 1) / 2);
  std::partial_sort(idle.begin(), half, idle.end(),
                    [](const auto& a, const auto& b) { return a->used < b->used; });
  std::for_each(idle.begin(), half, [&](const ContentPtr& content) {
    content->file.reset();
    --opened_;
  });
  // With nearly all of them busy a look at each opening would find no more.
  opened_ = std::min(opened_, core_.options.open_files_max / 4 * 3);
}

/// The content file is gone: what the server has is pulled anew; else nobody gets zeros for it.
Result<> Contents::lost(const ContentPtr& content) {
  log_error("content {:x} is lost", content->number);
  const auto anew = core_.tree->content_lost(content->node);
  if (!anew) return pass(anew.error());
  if (!*anew) return fail_errno(EIO, "the content file is lost");
  ++content->generation;
  core_.changed_ranges.forget(content->number);
  content->number = 0;
  content->whole = content->size == 0;
  content->sparse = content->is_volatile = false;
  content->extents = {};
  content->here.clear();
  content->unchecked.clear();
  return {};
}

/// ENOSPC where only what is reserved for the store is left.  No disk is touched.
Result<> Contents::room_for(std::uint64_t bytes) {
  if (bytes <= room_checked_) {
    room_checked_ -= bytes;
    return {};
  }
  const auto free = core_.seams.io.free_space(core_.options.state_folder);
  if (!free) return pass(as_errno(free.error()));
  if (*free < kReserved + kRoomStep + bytes)
    return fail_errno(ENOSPC, "the disk of the state folder is full");
  room_checked_ = kRoomStep;
  return {};
}

void Contents::wait_for_claims(Lock& lock, const ContentPtr& content, Range range) {
  core_.moved.wait(lock, [&] {
    return !overlaps(content->landing, range) && !overlaps(content->writing, range);
  });
}

Result<> Contents::prepare_write(Lock& lock, const ContentPtr& content) {
  if (content->write_marked) return {};
  const auto node = core_.tree->node(content->node);
  if (!node) return pass(node.error());
  if (auto done = core_.tree->set_open_for_write(content->node, true); !done) return done;
  content->write_marked = true;
  if (node->has(store::kContentDirty)) return {};
  const Unlocked open(lock);
  return core_.store->sync();
}

Result<std::size_t> Contents::write(Lock& lock, const ContentPtr& content, std::uint64_t offset,
                                    ByteView bytes, bool append) {
  if (bytes.empty()) return std::size_t{0};
  if (auto room = room_for(bytes.size()); !room) return pass(room.error());
  if (auto done = wait_for_fewer_parts(lock, content); !done) return pass(done.error());
  if (auto done = open_file(lock, content, true); !done) return pass(done.error());
  const std::shared_ptr<File> file = content->file;
  if (auto done = prepare_write(lock, content); !done) return pass(as_errno(done.error()));
  // Where an append goes is known when no other write can move the end.
  if (append) wait_for_claims(lock, content, {0, UINT64_MAX});
  if (append) offset = content->size;
  if (offset > INT64_MAX - bytes.size()) return fail_errno(EFBIG);
  const Range range{offset, offset + bytes.size()};
  wait_for_claims(lock, content, range);
  if (append && offset != content->size) return write(lock, content, offset, bytes, true);
  content->writing.push_back(range);
  Result<> done;
  {
    const Unlocked open(lock);
    done = file->write_at(offset, bytes);
  }
  content->writing.erase(std::find(content->writing.begin(), content->writing.end(), range));
  core_.moved.notify_all();
  // What failed may have changed bytes all the same: where some were here, the content is dirty.
  const std::uint64_t new_size = done ? std::max(content->size, range.end) : content->size;
  if (!done) note_changed(content, range);
  if (done && range.begin > content->size) note_sparse(content);
  auto recorded = written(content, done ? range : Range{}, new_size);
  if (!done) return pass(as_errno(done.error()));
  if (!recorded) return pass(recorded.error());
  return bytes.size();
}

Result<> Contents::written(const ContentPtr& content, Range range, std::uint64_t new_size) {
  auto done = record_written(content, range, new_size);
  content->unrecorded = !done;
  return done;
}

Result<> Contents::record_written(const ContentPtr& content, Range range, std::uint64_t new_size) {
  ++content->writes;
  const std::uint64_t old_size = content->size;
  if (new_size > old_size) {
    range.begin = range.empty() ? old_size : std::min(range.begin, old_size);
    range.end = std::max(range.end, new_size);
  }
  content->size = new_size;
  note_changed(content, range);
  if (!content->whole && !range.empty()) {
    content->extents.recent.add(range);
    content->here.add(range);
    content->unchecked.remove(range);
    // Told before the size: a record of bytes behind the end harms nobody.
    if (auto done = record_here(content); !done) return done;
    mark_unsettled(content);
  }
  answer_readers(content);
  restamp(content);
  const bool in_doubt = content->whole && !content->is_volatile && new_size != 0;
  if (!in_doubt) return core_.tree->content_written(content->node, content->size);
  // Once it is pushed it is clean, and a power cut must not leave a clean file without its bytes.
  auto done = core_.tree->content_written_whole(content->node, content->size);
  content->is_volatile = done.has_value();
  return done;
}

Result<> Contents::record_again(const ContentPtr& content) {
  if (content->whole) content->extents.recent.add(content->all());
  if (auto done = record_here(content); !done) return done;
  return core_.tree->content_written(content->node, content->size);
}

Result<> Contents::set_size(Lock& lock, const ContentPtr& content, std::uint64_t size) {
  if (size > INT64_MAX) return fail_errno(EFBIG);
  if (size == 0) end_watch_if_free(content);
  // Alone with it: cut to nothing by exchanging the file, so that a power cut finds the old or the
  // new.
  if (size == 0 && content->size != 0 && !core_.inodes.open(content->node)) {
    return empty_anew(content);
  }
  if (auto done = open_file(lock, content); !done) return done;
  const std::shared_ptr<File> file = content->file;
  if (auto done = prepare_write(lock, content); !done) return pass(as_errno(done.error()));
  const Range claim{std::min(size, content->size), UINT64_MAX};
  wait_for_claims(lock, content, claim);
  content->writing.push_back(claim);
  Result<> done;
  {
    const Unlocked open(lock);
    done = file->truncate(size);
  }
  content->writing.erase(std::find(content->writing.begin(), content->writing.end(), claim));
  core_.moved.notify_all();
  if (!done) return pass(as_errno(done.error()));
  if (size < content->size) {
    const Range gone{size, UINT64_MAX};
    for (auto* set : {&content->extents.settled, &content->extents.recent, &content->unchecked,
                      &content->here, &content->want_now, &content->want_ahead}) {
      set->remove(gone);
    }
    content->size = size;
    if (!content->whole) {
      content->unrecorded = true;
      if (auto recorded = record_here(content); !recorded) return recorded;
    }
  } else if (size > content->size) {
    note_sparse(content);
  }
  return written(content, {}, size);
}

Result<> Contents::empty_anew(const ContentPtr& content) {
  if (auto done = core_.tree->empty_content(content->node); !done) return done;
  // Whoever reads or pulls goes on with the old object.
  detach(content);
  return {};
}

Result<RangeSet> Contents::land(Lock& lock, const ContentPtr& content, std::uint64_t offset,
                                ByteView bytes) {
  const Range arrived{offset, offset + bytes.size()};
  if (content->landable(arrived).empty()) return RangeSet{};
  if (auto room = room_for(bytes.size()); !room) return pass(room.error());
  if (auto done = open_file(lock, content); !done) return pass(done.error());
  if (content->detached) return fail_errno(ESTALE);
  const auto parts = content->landable(arrived).list();
  auto done = bring(lock, content, parts, [&](File& file, Range part) {
    return file.write_at(part.begin, bytes.subspan(part.begin - offset, part.size()));
  });
  if (!done) return pass(done.error());
  RangeSet landed;
  for (const auto& part : parts) landed.add(part);
  answer_readers(content);
  return landed;
}

/// Ranges that nobody else is at get their bytes and are here, not checked yet.
Result<> Contents::bring(Lock& lock, const ContentPtr& content, const std::vector<Range>& parts,
                         const std::function<Result<>(File&, Range)>& write) {
  content->landing.insert(content->landing.end(), parts.begin(), parts.end());
  Result<> done;
  {
    const std::shared_ptr<File> file = content->file;
    const Unlocked open(lock);
    for (const auto& part : parts) {
      if (done) done = write(*file, part);
    }
  }
  for (const auto& part : parts) {
    content->landing.erase(std::find(content->landing.begin(), content->landing.end(), part));
  }
  core_.moved.notify_all();
  if (!done) return pass(as_errno(done.error()));
  if (content->detached) return fail_errno(ESTALE);
  for (const auto& part : parts) {
    content->unchecked.add(part);
    content->here.add(part);
  }
  restamp(content);
  return {};
}

Result<> Contents::land_holes(Lock& lock, const ContentPtr& content,
                              const std::vector<Range>& holes) {
  const auto landable = [&] {
    RangeSet free;
    for (const auto& hole : holes) {
      for (const auto& part : content->landable(hole).list()) free.add(part);
    }
    return free;
  };
  if (landable().empty()) return {};
  if (auto done = open_file(lock, content); !done) return done;
  if (content->detached) return fail_errno(ESTALE);
  // The file may have bytes there of an attempt that was not believed.
  const RangeSet parts = landable();
  auto done =
      bring(lock, content, parts.list(), [](File& file, Range part) { return file.punch(part); });
  if (!done) return done;
  note_sparse(content);
  done = checked(content, parts);
  answer_readers(content);
  return done;
}

void Contents::note_sparse(const ContentPtr& content) {
  if (content->sparse || content->detached) return;
  content->sparse = true;
  if (auto done = core_.tree->set_sparse(content->node); !done) {
    log_warn("holes are not recorded: {}", done.error().message());
  }
}

void Contents::pushed(const ContentPtr& content, bool in_doubt) {
  if (content->watched && in_doubt) content->pushed_in_doubt = true;
  if (content->is_volatile && !content->detached) mark_unsettled(content);
}

Result<> Contents::checked(const ContentPtr& content, const RangeSet& landed) {
  if (content->whole || content->detached) return {};
  bool any = false;
  for (const auto& range : landed.list()) {
    for (const auto& part : content->unchecked.within(range).list()) {
      content->extents.recent.add(part);
      content->unchecked.remove(part);
      any = true;
    }
  }
  if (!any) return {};
  mark_unsettled(content);
  return record_here(content);
}

void Contents::taken_back(const ContentPtr& content, const RangeSet& landed) {
  if (content->whole) return;
  for (const auto& range : landed.list()) {
    for (const auto& part : content->unchecked.within(range).list()) {
      content->here.remove(part);
      content->unchecked.remove(part);
    }
  }
}

void Contents::answer_readers(const ContentPtr& content) {
  if (content->readers.empty()) return;
  const Time deadline = core_.now() + core_.options.timeout;
  std::vector<OpenContent::Reader> waiting;
  waiting.swap(content->readers);
  for (const auto& reader : waiting) {
    const Range range{reader.range.begin, std::min(reader.range.end, content->size)};
    if (range.empty() || content->is_here(range)) {
      core_.waits.finish(reader.ticket, {});
    } else if (core_.waits.waiting(reader.ticket)) {
      core_.waits.extend(reader.ticket, deadline);
      content->readers.push_back(reader);
    }
  }
}

void Contents::fail_readers(const ContentPtr& content, const Result<>& result) {
  std::vector<OpenContent::Reader> waiting;
  waiting.swap(content->readers);
  for (const auto& reader : waiting) core_.waits.finish(reader.ticket, result);
}

}  // namespace ebb::fusefs
