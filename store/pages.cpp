#include "store/pages.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "base/check.h"

namespace ebb::store {
namespace {

// A file grows by an eighth of its size within these bounds: few calls, and little that is not
// used.
constexpr std::uint64_t kGrowthMin = 16;
constexpr std::uint64_t kGrowthMax = (64u << 20) / kPageSize;
// A large transaction's buffers are given back.
constexpr std::size_t kBufferKept = 1u << 20;

}  // namespace

const Pages::Page kZeros{};

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
    if (mapped.capacity == 0) return fail(Errc::corrupt, mapped.path + " is cut short");
    auto mapping = mapped.file->map(mapped.capacity * kPageSize);
    if (!mapping) return pass(mapping.error());
    mapped.mapping = *mapping;
  }
  return {};
}

const Pages::Page* Pages::overlaid(std::uint64_t key) const {
  if (!active_.empty()) {
    if (const auto it = active_.find(key); it != active_.end()) return it->second.get();
  }
  if (!frozen_.empty()) {
    if (const auto it = frozen_.find(key); it != frozen_.end()) return it->second.get();
  }
  return nullptr;
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

Result<Pages::Page*> Pages::touch(FileNo file, std::uint64_t page) {
  const auto k = key(file, page);
  if (const auto it = active_.find(k); it != active_.end()) return it->second.get();
  auto copy = std::make_unique<Page>();
  auto* to = copy->data();
  auto r = look(file, page, [to](const std::byte* from) { std::memcpy(to, from, kPageSize); });
  if (!r) return pass(r.error());
  return active_.emplace(k, std::move(copy)).first->second.get();
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
  std::size_t begin = 0;
  std::size_t end = bytes.size();
  while (begin < end && old[begin] == bytes[begin]) ++begin;
  while (end > begin && old[end - 1] == bytes[end - 1]) --end;
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
  const auto step = std::clamp(mapped.capacity / 8, kGrowthMin, kGrowthMax);
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
  auto page = touch(file, offset / kPageSize);
  if (!page) return pass(page.error());
  std::memcpy((*page)->data() + offset % kPageSize, bytes.data(), bytes.size());
  return {};
}

Result<> Pages::grow_to_overlay() {
  for (const auto& [k, page] : active_) {
    if (auto r = grow(file_of(k), page_of(k) + 1); !r) return r;
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
  frozen_.swap(active_);
  return {};
}

void Pages::thaw() {
  CHECK(active_.empty());
  frozen_.swap(active_);
}

Result<> Pages::copy_to_mapping(FileNo file, std::uint64_t offset, ByteView bytes) {
  const auto& mapping = at(file).mapping;
  CHECK(offset + bytes.size() <= mapping.size());
  const auto memory = mapping.subspan(static_cast<std::size_t>(offset), bytes.size());
  auto copy = [&] { std::memcpy(memory.data(), bytes.data(), bytes.size()); };
  if (!guarded(memory, copy)) return io_error(file, offset / kPageSize);
  return {};
}

Result<> Pages::copy_frozen() {
  for (const auto& [k, page] : frozen_) {
    if (auto r = copy_to_mapping(file_of(k), page_of(k) * kPageSize, *page); !r) return r;
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
