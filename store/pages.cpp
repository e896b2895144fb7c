#include "store/pages.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "base/check.h"

namespace ebb::store {
namespace {

// A file grows by a part of its size within these bounds: few calls, and little that is not used.
constexpr std::uint64_t kGrowthPart = 128;
constexpr std::uint64_t kGrowthMin = 4;
constexpr std::uint64_t kGrowthMax = (64u << 20) / kPageSize;
// A large transaction's buffers are given back.
constexpr std::size_t kBufferKept = 1u << 20;
// How far past its end the journals since the last checkpoint can have made a file grow.
constexpr std::uint64_t kReplayPages = 1u << 20;

/// The parts of two spans of one size from the first to the last byte that differ.
std::pair<std::size_t, std::size_t> difference(const std::byte* a, const std::byte* b,
                                               std::size_t size) {
  constexpr std::size_t kWord = sizeof(std::uint64_t);
  std::size_t begin = 0;
  while (begin + kWord <= size && std::memcmp(a + begin, b + begin, kWord) == 0) begin += kWord;
  while (begin < size && a[begin] == b[begin]) ++begin;
  std::size_t end = size;
  while (end >= begin + kWord && std::memcmp(a + end - kWord, b + end - kWord, kWord) == 0) {
    end -= kWord;
  }
  while (end > begin && a[end - 1] == b[end - 1]) --end;
  return {begin, end};
}

}  // namespace

const Page kZeros{};

Result<> Pages::open() {
  for (int i = 0; i < kFiles; ++i) {
    auto& mapped = files_[static_cast<std::size_t>(i)];
    mapped.path = folder_ + "/" + kFileNames[i];
    auto file = io_.open(mapped.path, OpenMode::write);
    if (!file) {
      if (is_errno(file.error(), ENOENT)) return fail(Errc::corrupt, mapped.path + " is missing");
      return pass(file.error());
    }
    mapped.file = std::move(*file);
    auto size = mapped.file->size();
    if (!size) return pass(size.error());
    mapped.capacity = *size / kPageSize;
    const auto least = i == static_cast<int>(FileNo::super) ? kSuperPages : 1;
    if (mapped.capacity < least) {
      return fail(Errc::corrupt, fmt::format("{} at {} is cut short", mapped.path, *size));
    }
    auto mapping = mapped.file->map(mapped.capacity * kPageSize);
    if (!mapping) return pass(mapping.error());
    mapped.mapping = *mapping;
  }
  return {};
}

std::span<const std::byte> Pages::mapped_page(FileNo file, std::uint64_t page) const {
  const auto& mapping = at(file).mapping;
  if (page >= mapping.size() / kPageSize) return {};
  return mapping.subspan(static_cast<std::size_t>(page * kPageSize), kPageSize);
}

Result<> Pages::read(FileNo file, std::uint64_t offset, std::span<std::byte> out) const {
  const auto in_page = static_cast<std::size_t>(offset % kPageSize);
  CHECK(in_page + out.size() <= kPageSize);
  return look(file, offset / kPageSize,
              [&](const std::byte* page) { std::memcpy(out.data(), page + in_page, out.size()); });
}

Result<Page*> Pages::touch(FileNo file, std::uint64_t page) {
  if (auto* found = active_.find(file, page)) return found;
  auto copy = std::make_unique<Page>();
  auto* to = copy->data();
  auto r = look(file, page, [to](const std::byte* from) { std::memcpy(to, from, kPageSize); });
  if (!r) return pass(r.error());
  return active_.add(file, page, std::move(copy));
}

Result<> Pages::write(FileNo file, std::uint64_t offset, ByteView bytes) {
  while (!bytes.empty()) {
    const auto n = std::min(bytes.size(), kPageSize - static_cast<std::size_t>(offset % kPageSize));
    if (auto r = write_in_page(file, offset, bytes.first(n)); !r) return r;
    bytes = bytes.subspan(n);
    offset += n;
  }
  return {};
}

Result<> Pages::write_in_page(FileNo file, std::uint64_t offset, ByteView bytes) {
  CHECK(offset / kPageSize < at(file).capacity);
  auto page = touch(file, offset / kPageSize);
  if (!page) return pass(page.error());
  auto* old = (*page)->data() + offset % kPageSize;
  // Only the bytes that change go to the journal.
  const auto [begin, end] = difference(old, bytes.data(), bytes.size());
  if (begin == end) return {};
  const auto size = static_cast<std::uint16_t>(end - begin);
  if (redo_.size() + sizeof(PatchHeader) + size > kBodyMax) {
    return fail_errno(E2BIG, folder_ + ": a transaction of the store is too large");
  }
  undo_.push_back({*page, static_cast<std::uint16_t>(offset % kPageSize + begin), size});
  undo_bytes_.insert(undo_bytes_.end(), old + begin, old + end);
  PatchHeader patch;
  patch.where = static_cast<std::uint64_t>(file) << 56 | (offset + begin);
  patch.size = size;
  const auto head = bytes_of(patch);
  redo_.insert(redo_.end(), head.begin(), head.end());
  redo_.insert(redo_.end(), bytes.begin() + static_cast<std::ptrdiff_t>(begin),
               bytes.begin() + static_cast<std::ptrdiff_t>(end));
  std::memcpy(old + begin, bytes.data() + begin, size);
  return {};
}

Result<> Pages::grow(FileNo file, std::uint64_t pages) {
  auto& mapped = at(file);
  if (pages <= mapped.capacity) return {};
  const auto step = std::clamp(mapped.capacity / kGrowthPart, kGrowthMin, kGrowthMax);
  const auto wanted = std::max(pages, mapped.capacity + step);
  if (mapped.file->allocate(wanted * kPageSize)) {
    mapped.capacity = wanted;
    return {};
  }
  // Too full for the step; perhaps not for what is needed now.
  if (auto r = mapped.file->allocate(pages * kPageSize); !r) return r;
  mapped.capacity = pages;
  return {};
}

void Pages::begin() {
  if (redo_.capacity() > kBufferKept) redo_ = {};
  if (undo_bytes_.capacity() > kBufferKept) undo_bytes_ = {};
  redo_.assign(sizeof(RecordHeader), std::byte{0});
  undo_.clear();
  undo_bytes_.clear();
}

void Pages::keep() {
  begin();
}

void Pages::abort() {
  auto end = undo_bytes_.size();
  for (auto it = undo_.rbegin(); it != undo_.rend(); ++it) {
    end -= it->size;
    std::memcpy(it->page->data() + it->offset, undo_bytes_.data() + end, it->size);
  }
  begin();
}

Result<> Pages::replay(FileNo file, std::uint64_t offset, ByteView bytes) {
  if (offset / kPageSize >= at(file).mapping.size() / kPageSize + kReplayPages) {
    return corrupt(file, offset, "a change far past the end");
  }
  auto page = touch(file, offset / kPageSize);
  if (!page) return pass(page.error());
  std::memcpy((*page)->data() + offset % kPageSize, bytes.data(), bytes.size());
  return {};
}

Result<> Pages::grow_to_overlay() {
  for (const auto& entry : active_.entries()) {
    if (auto r = grow(entry.file, entry.number + 1); !r) return r;
  }
  return {};
}

Result<> Pages::freeze() {
  CHECK(frozen_.empty());
  for (auto& mapped : files_) {
    if (mapped.capacity * kPageSize <= mapped.mapping.size()) continue;
    auto mapping = mapped.file->map(mapped.capacity * kPageSize);
    if (!mapping) return pass(mapping.error());  // the former one stays
    mapped.mapping = *mapping;
  }
  std::swap(frozen_, active_);
  return {};
}

void Pages::thaw() {
  CHECK(active_.empty());
  std::swap(frozen_, active_);
}

Result<> Pages::copy_to_mapping(FileNo file, std::uint64_t offset, ByteView bytes) {
  const auto& mapping = at(file).mapping;
  CHECK(offset + bytes.size() <= mapping.size());
  const auto memory = mapping.subspan(static_cast<std::size_t>(offset), bytes.size());
  auto copy = [&] { std::memcpy(memory.data(), bytes.data(), bytes.size()); };
  if (const auto* bad = guarded(memory, copy)) {
    return io_error(file, static_cast<std::uint64_t>(bad - mapping.data()) / kPageSize);
  }
  return {};
}

Result<> Pages::copy_frozen() {
  for (const auto& [file, number, page] : frozen_.entries()) {
    if (auto r = copy_to_mapping(file, number * kPageSize, *page); !r) return r;
  }
  return {};
}

Result<> Pages::sync_files() {
  for (auto& mapped : files_) {
    if (auto r = mapped.file->sync(); !r) return r;
  }
  return {};
}

Result<> Pages::write_through(FileNo file, std::uint64_t offset, ByteView bytes) {
  return copy_to_mapping(file, offset, bytes);
}

std::uint64_t Pages::bytes_on_disk() const {
  std::uint64_t sum = 0;
  for (const auto& mapped : files_) sum += mapped.capacity * kPageSize;
  return sum;
}

tl::unexpected<Error> Pages::corrupt(FileNo file, std::uint64_t offset, const char* what) const {
  return fail(Errc::corrupt, fmt::format("{} at {}: {}", at(file).path, offset, what));
}

tl::unexpected<Error> Pages::io_error(FileNo file, std::uint64_t page) const {
  return fail_errno(EIO, fmt::format("{} at {}", at(file).path, page * kPageSize));
}

}  // namespace ebb::store
