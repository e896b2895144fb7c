// Reading journals back.
#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "base/hash.h"
#include "store/errors.h"
#include "store/journal.h"

namespace ebb::store {
namespace {

constexpr std::size_t kWindow = 1u << 20;

/// A journal through a window, so that its size costs no memory.
class Source {
 public:
  Source(std::unique_ptr<File> file, std::string file_path, std::uint64_t file_size)
      : path(std::move(file_path)), size(file_size), file_(std::move(file)) {}

  /// Valid until the next call.  Shorter at the end of the file.
  Result<ByteView> view(std::uint64_t offset, std::size_t n) {
    if (offset >= size) return ByteView{};
    n = static_cast<std::size_t>(std::min<std::uint64_t>(n, size - offset));
    if (offset < base_ || offset + n > base_ + window_.size()) {
      window_.resize(
          static_cast<std::size_t>(std::min<std::uint64_t>(std::max(n, kWindow), size - offset)));
      auto got = file_->read_at(offset, window_);
      if (!got) return pass(got.error());
      window_.resize(*got);
      base_ = offset;
      n = std::min(n, window_.size());
    }
    return ByteView(window_).subspan(static_cast<std::size_t>(offset - base_), n);
  }

  const std::string path;
  const std::uint64_t size;

 private:
  std::unique_ptr<File> file_;
  Bytes window_;
  std::uint64_t base_ = 0;
};

Result<std::unique_ptr<Source>> open_source(FileIo& io, const std::string& path) {
  auto file = io.open(path, OpenMode::read);
  if (!file) return pass(file.error());
  auto size = (*file)->size();
  if (!size) return pass(size.error());
  return std::make_unique<Source>(std::move(*file), path, *size);
}

struct Record {
  RecordHeader header;
  ByteView body;
  std::uint64_t end = 0;
};

/// The record at an offset, or nothing when there is no whole one.
Result<std::optional<Record>> record_at(Source& source, std::uint64_t offset) {
  auto head = source.view(offset, sizeof(RecordHeader));
  if (!head) return pass(head.error());
  Record record;
  if (head->size() < sizeof record.header) return std::nullopt;
  std::memcpy(&record.header, head->data(), sizeof record.header);
  const std::size_t body_size = record.header.body_size;
  if (record.header.magic != kRecordMagic || body_size > kBodyMax ||
      offset + sizeof record.header + body_size > source.size) {
    return std::nullopt;
  }
  auto all = source.view(offset, sizeof record.header + body_size);
  if (!all) return pass(all.error());
  if (all->size() != sizeof record.header + body_size) return std::nullopt;
  record.body = all->subspan(sizeof record.header);
  const auto seed = xxh3(bytes_of(record.header).first(offsetof(RecordHeader, xxh3)));
  if (record.header.xxh3 != xxh3(record.body, seed)) return std::nullopt;
  if (record.header.version > kFormat) return fail(Errc::newer_format, source.path);
  record.end = offset + (sizeof record.header + body_size + 7) / 8 * 8;
  return record;
}

Result<std::optional<JournalHeader>> header_of(Source& source, TreeId tree, std::uint64_t number) {
  auto head = source.view(0, sizeof(JournalHeader));
  if (!head) return pass(head.error());
  JournalHeader header;
  if (head->size() < sizeof header) return std::nullopt;
  std::memcpy(&header, head->data(), sizeof header);
  if (header.magic != kJournalMagic ||
      header.xxh3 != xxh3(bytes_of(header).first(offsetof(JournalHeader, xxh3)))) {
    return std::nullopt;
  }
  if (header.version > kFormat) return fail(Errc::newer_format, source.path);
  if (header.number != number || std::memcmp(header.tree, tree.bytes.data(), 16) != 0) {
    return fail(Errc::corrupt, source.path + " is not of this store");
  }
  return header;
}

Result<> apply_body(const Source& source, std::uint64_t offset, ByteView body,
                    const ApplyPatch& apply) {
  while (!body.empty()) {
    PatchHeader patch;
    if (body.size() >= sizeof patch) std::memcpy(&patch, body.data(), sizeof patch);
    const std::uint64_t where = patch.where;
    const std::size_t size = patch.size;
    const auto in_file = where & ((std::uint64_t{1} << 56) - 1);
    const bool good = body.size() >= sizeof patch + size && size > 0 && (where >> 56) < kFiles &&
                      in_file % kPageSize + size <= kPageSize && in_file < (std::uint64_t{1} << 52);
    if (!good) return fail(Errc::corrupt, fmt::format("{} at {}: bad patch", source.path, offset));
    body = body.subspan(sizeof patch);
    if (auto r = apply(static_cast<FileNo>(where >> 56), in_file, body.first(size)); !r) return r;
    body = body.subspan(size);
  }
  return {};
}

/// Looks for a whole record behind a torn one that says that the torn one had been on disk.
Result<> expect_no_later(Source& source, std::uint64_t from, std::uint64_t expected) {
  for (auto offset = (from + 7) / 8 * 8; offset + sizeof(RecordHeader) <= source.size;) {
    auto record = record_at(source, offset);
    if (!record) return pass(record.error());
    if (*record && (*record)->header.sequence >= expected && (*record)->header.synced >= expected) {
      return fail(Errc::corrupt, fmt::format("{} at {}: record {} is damaged, later ones are whole",
                                             source.path, from, expected));
    }
    offset = *record ? (*record)->end : offset + 8;
  }
  return {};
}

class Replay {
 public:
  Replay(TreeId tree, std::uint64_t first_sequence, const ApplyPatch& apply)
      : tree_(tree), apply_(apply) {
    found_.last_sequence = first_sequence - 1;
  }

  Result<> journal(Source& source, std::uint64_t number) {
    auto header = header_of(source, tree_, number);
    if (!header) return pass(header.error());
    const auto next = found_.last_sequence + 1;
    if (!*header || (*header)->first_sequence != next) {
      found_.clean = false;
      return expect_no_later(source, 0, next);
    }
    return records(source);
  }
  const Replayed& found() const { return found_; }

 private:
  Result<> records(Source& source) {
    std::uint64_t offset = sizeof(JournalHeader);
    for (;;) {
      const auto next = found_.last_sequence + 1;
      auto record = record_at(source, offset);
      if (!record) return pass(record.error());
      if (!*record || (*record)->header.sequence != next) {
        if (offset < source.size) found_.clean = false;
        return expect_no_later(source, offset, next);
      }
      if ((*record)->header.type != kAfterImages || (*record)->header.reserved != 0) {
        return fail(Errc::corrupt, fmt::format("{} at {}: unknown record", source.path, offset));
      }
      if (auto r = apply_body(source, offset, (*record)->body, apply_); !r) return r;
      offset = (*record)->end;
      found_.last_sequence = next;
      ++found_.records;
    }
  }

  const TreeId tree_;
  const ApplyPatch& apply_;
  Replayed found_;
};

}  // namespace

Result<Replayed> replay_journals(FileIo& io, const std::string& folder, TreeId tree,
                                 std::uint64_t first_journal, std::uint64_t first_sequence,
                                 const ApplyPatch& apply) {
  auto numbers = Journal::list(io, folder);
  if (!numbers) return pass(numbers.error());
  Replay replay(tree, first_sequence, apply);
  for (const auto number : *numbers) {
    if (number < first_journal) continue;
    auto source = open_source(io, folder + "/" + Journal::name(number));
    if (!source) return pass(source.error());
    if (auto r = replay.journal(**source, number); !r) return pass(r.error());
  }
  return replay.found();
}

}  // namespace ebb::store
