// What FakeFileIo keeps in memory: pages, inodes, the disk with what is on it and what would be
// left of it. Included by fake_file_io.cpp alone.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <limits>
#include <random>
#include <utility>

#include <fmt/format.h>
#include <sys/mman.h>

#include "base/check.h"
#include "tests/support/fake_file_io.h"

namespace ebb::test {
namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kSector = 512;
constexpr std::size_t kMapMax = 128u
                                << 20;  // a mapped file does not move, so room is set aside for it

using Page = std::array<std::byte, kPage>;
using PagePtr = std::shared_ptr<Page>;
using Pages = std::map<std::uint64_t, PagePtr>;

const Page kZeroPage{};

PagePtr copy_of(const PagePtr& page) {
  return page ? std::make_shared<Page>(*page) : std::make_shared<Page>();
}

std::string folder_of(const std::string& path) {
  const auto slash = path.find_last_of('/');
  if (slash == std::string::npos) return {};
  return slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace

/// Address space for a mapped file; memory is taken only where it is touched.
class FakeFileIo::Region {
 public:
  Region() {
    void* at = ::mmap(nullptr, kMapMax, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(at != MAP_FAILED);
    data_ = static_cast<std::byte*>(at);
  }
  ~Region() { ::munmap(data_, kMapMax); }
  Region(const Region&) = delete;
  Region& operator=(const Region&) = delete;
  std::byte* data() const { return data_; }

 private:
  std::byte* data_;
};

/// A file.  Its bytes are pages until it is mapped for the first time; then they are the region.
/// Pages are shared between now, the synced state and clones, and copied on write.
struct FakeFileIo::Inode {
  Pages pages;
  std::unique_ptr<Region> region;
  std::uint64_t size = 0;
  Pages synced;
  std::uint64_t synced_size = 0;
  std::set<std::uint64_t>
      dirty;            // pages written since the last sync; a mapped file is compared instead
  bool mapped = false;  // it is, or was in the life before a clone

  const std::byte* page(std::uint64_t n) const {
    if (region) return (n + 1) * kPage <= kMapMax ? region->data() + n * kPage : kZeroPage.data();
    const auto it = pages.find(n);
    return it == pages.end() ? kZeroPage.data() : it->second->data();
  }

  std::byte* page_for_write(std::uint64_t n) {
    if (region) return region->data() + n * kPage;
    dirty.insert(n);
    auto& page = pages[n];
    if (!page || page.use_count() > 1) page = copy_of(page);
    return page->data();
  }

  void read(std::uint64_t offset, std::span<std::byte> out) const {
    while (!out.empty()) {
      const auto in_page = static_cast<std::size_t>(offset % kPage);
      const auto n = std::min(out.size(), kPage - in_page);
      std::memcpy(out.data(), page(offset / kPage) + in_page, n);
      out = out.subspan(n);
      offset += n;
    }
  }

  void write(std::uint64_t offset, ByteView in) {
    size = std::max(size, offset + in.size());
    while (!in.empty()) {
      const auto in_page = static_cast<std::size_t>(offset % kPage);
      const auto n = std::min(in.size(), kPage - in_page);
      std::memcpy(page_for_write(offset / kPage) + in_page, in.data(), n);
      in = in.subspan(n);
      offset += n;
    }
  }

  void zero(Range range) {
    while (!range.empty()) {
      const auto in_page = static_cast<std::size_t>(range.begin % kPage);
      const auto n =
          static_cast<std::size_t>(std::min<std::uint64_t>(range.size(), kPage - in_page));
      const auto number = range.begin / kPage;
      if (region) {
        std::memset(region->data() + range.begin, 0, n);
      } else if (n == kPage) {
        if (pages.erase(number) > 0) dirty.insert(number);
      } else if (pages.count(number) > 0) {
        std::memset(page_for_write(number) + in_page, 0, n);
      }
      range.begin += n;
    }
  }

  void cut(std::uint64_t to) {
    if (to < size) {
      if (!region) {
        for (auto it = pages.lower_bound((to + kPage - 1) / kPage); it != pages.end();) {
          dirty.insert(it->first);
          it = pages.erase(it);
        }
      }
      const auto end = region ? size : std::min<std::uint64_t>(size, (to / kPage + 1) * kPage);
      zero({to, end});
    }
    size = to;
  }

  std::uint64_t pages_new(Range range) const {
    if (range.empty()) return 0;
    const auto end = (range.end + kPage - 1) / kPage;
    if (region) {
      const auto have = (size + kPage - 1) / kPage;
      return end > have ? end - have : 0;
    }
    std::uint64_t count = 0;
    for (auto n = range.begin / kPage; n < end; ++n) count += pages.count(n) == 0 ? 1 : 0;
    return count;
  }

  std::uint64_t used() const {
    return region ? (size + kPage - 1) / kPage * kPage : pages.size() * kPage;
  }

  std::set<std::uint64_t> changed() const {
    if (!region) return dirty;
    std::set<std::uint64_t> out;
    const auto end = (std::max(size, synced_size) + kPage - 1) / kPage;
    for (std::uint64_t n = 0; n < end; ++n) {
      const auto it = synced.find(n);
      const auto* old = it == synced.end() ? kZeroPage.data() : it->second->data();
      if (std::memcmp(old, page(n), kPage) != 0) out.insert(n);
    }
    return out;
  }

  void sync() {
    for (const auto n : changed()) {
      if (region) {
        auto copy = std::make_shared<Page>();
        std::memcpy(copy->data(), page(n), kPage);
        synced[n] = std::move(copy);
      } else if (const auto it = pages.find(n); it != pages.end()) {
        synced[n] = it->second;
      } else {
        synced.erase(n);
      }
    }
    dirty.clear();
    synced_size = size;
  }

  std::shared_ptr<Inode> clone() const {
    auto copy = std::make_shared<Inode>();
    copy->size = size;
    copy->synced = synced;
    copy->synced_size = synced_size;
    copy->mapped = mapped;
    copy->dirty = changed();
    copy->pages = pages;
    if (region) {
      copy->pages = synced;
      for (const auto n : copy->dirty) {
        auto page_copy = std::make_shared<Page>();
        std::memcpy(page_copy->data(), page(n), kPage);
        copy->pages[n] = std::move(page_copy);
      }
    }
    return copy;
  }

  /// What a power loss leaves of it.
  std::shared_ptr<Inode> after_crash(std::mt19937_64& random, Crash mode) const {
    if (mode == Crash::keep_mapped) mode = mapped ? Crash::keep_all : Crash::lose_unsynced;
    if (mode == Crash::lose_mapped) mode = mapped ? Crash::lose_unsynced : Crash::keep_all;
    if (mode == Crash::tear_last) mode = Crash::keep_all;
    auto out = std::make_shared<Inode>();
    out->pages = synced;
    out->size = synced_size;
    if (mode != Crash::lose_unsynced) {
      if (mode == Crash::keep_all || random() % 2 == 0) out->size = size;
      for (const auto n : changed()) {
        auto mixed = copy_of(out->pages.count(n) > 0 ? out->pages[n] : nullptr);
        for (std::size_t at = 0; at < kPage; at += kSector) {
          if (mode == Crash::torn && random() % 2 == 0) continue;
          std::memcpy(mixed->data() + at, page(n) + at, kSector);
        }
        out->pages[n] = std::move(mixed);
      }
    }
    const auto end = out->size;
    out->size = std::numeric_limits<std::uint64_t>::max() / 2;  // cut what lies past the end
    out->cut(end);
    out->synced = out->pages;
    out->synced_size = out->size;
    out->dirty.clear();
    return out;
  }
};

struct FakeFileIo::Disk {
  struct Lock {
    std::uint64_t life;
    std::string holder;
  };

  mutable std::mutex mutex;
  std::map<std::string, std::shared_ptr<Inode>> names;
  std::map<std::string, std::shared_ptr<Inode>> synced_names;
  std::set<std::string> folders;
  std::set<std::string> synced_folders;
  std::map<std::string, Lock> locks;
  std::uint64_t life = 1;  // a new one after each kill or crash
  std::uint64_t boot = 1;
  std::uint64_t capacity = std::numeric_limits<std::uint64_t>::max();
  std::uint64_t used = 0;
  std::uint64_t mutations = 0;
  std::uint64_t fail_at = std::numeric_limits<std::uint64_t>::max();
  int fail_errno_value = EIO;
  bool fail_for_good = false;
  bool fired = false;
  Watch watch;
  struct Write {
    std::shared_ptr<Inode> inode;
    std::uint64_t offset = 0;
    Bytes before;  // what was there
    std::uint64_t size_before = 0;
  };
  Write last;

  /// Counts a mutating call; the errno with which it must fail, or 0.
  int count() {
    const auto number = mutations++;
    if (number == fail_at || (fail_for_good && number > fail_at)) {
      fired = true;
      return fail_errno_value;
    }
    return 0;
  }

  void tell(const std::string& what) {
    Watch call;
    std::uint64_t number = 0;
    {
      const std::lock_guard guard(mutex);
      call = watch;
      number = mutations;
    }
    if (call) call(number, what);
  }

  /// Takes room for that many pages of the disk.
  bool take(std::uint64_t pages) {
    if (capacity != std::numeric_limits<std::uint64_t>::max() && used + pages * kPage > capacity) {
      return false;
    }
    used += pages * kPage;
    return true;
  }

  void note_write(const std::shared_ptr<Inode>& inode, std::uint64_t offset, std::size_t size) {
    last = {inode, offset, Bytes(size), inode->size};
    inode->read(offset, last.before);
  }
  /// Of the last write a beginning is there, of any length.
  void tear_last_write(std::mt19937_64& random) {
    if (!last.inode) return;
    const auto there = static_cast<std::size_t>(random() % (last.before.size() + 1));
    last.inode->write(last.offset + there, ByteView(last.before).subspan(there));
    last.inode->cut(std::max(last.size_before, last.offset + there));
  }

  void count_used() {
    used = 0;
    std::set<const Inode*> seen;
    for (const auto& [path, inode] : names) {
      if (seen.insert(inode.get()).second) used += inode->used();
    }
  }

  void begin_life() {
    ++life;
    last = {};
    locks.clear();
    watch = nullptr;
    fail_at = std::numeric_limits<std::uint64_t>::max();
    fail_for_good = false;
    count_used();
  }
};

}  // namespace ebb::test
