// The four mapped files and the changes that are not in them yet.
//
// Invariants
//   - A mapped page changes in copy_frozen() alone.  Every other change is in the overlay:
//   `active_` for what
//     came since the last freeze, `frozen_` for what a checkpoint is carrying over.
//   - A page is looked for in active_, frozen_, then the mapping; past the mapping it reads as
//   zero.
//   - Every byte that a transaction changes is in its redo record.
// Threads: the owner's lock guards everything; copy_frozen() and sync_files() alone run without it,
// between freeze() and drop_frozen(), and touch only what nobody changes in between.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/file_io.h"
#include "base/result.h"
#include "store/errors.h"
#include "store/guard.h"
#include "store/layout.h"
#include "store/overlay.h"

namespace ebb::store {

class Pages {
 public:
  Pages(FileIo& io, std::string folder) : io_(io), folder_(std::move(folder)) {}

  /// Opens and maps the files, which must be there.
  Result<> open();

  /// Calls fn(const std::byte* page) with the page's present bytes.  fn may be left in the middle
  /// by a failing disk: it captures references to trivial objects only and owns nothing.
  template <class Fn>
  Result<> look(FileNo file, std::uint64_t page, Fn&& fn) const;
  /// Calls fn(), which may look at any page of that file with peek(); what look() says of its fn
  /// holds.
  template <class Fn>
  Result<> guard(FileNo file, Fn&& fn) const;
  const std::byte* peek(FileNo file, std::uint64_t page) const;
  template <class T>
  Result<T> get(FileNo file, std::uint64_t offset) const;
  /// Up to the end of a page; a read never crosses one.
  Result<> read(FileNo file, std::uint64_t offset, std::span<std::byte> out) const;

  /// Part of the open transaction.
  Result<> write(FileNo file, std::uint64_t offset, ByteView bytes);
  /// Room on disk for that many pages, or ENOSPC.  Not taken back by abort().
  Result<> grow(FileNo file, std::uint64_t pages);
  std::uint64_t capacity(FileNo file) const { return at(file).capacity; }

  /// Room for the record's header, then the patches.
  void begin();
  Bytes& redo() { return redo_; }
  bool changed() const { return redo_.size() > sizeof(RecordHeader); }
  void keep();
  void abort();

  /// A patch from the journal.
  Result<> replay(FileNo file, std::uint64_t offset, ByteView bytes);
  /// After the last one: the files hold the pages of the overlay.
  Result<> grow_to_overlay();

  // ---- checkpoint
  Result<> freeze();  // active_ becomes frozen_, and the mappings grow to hold it
  void thaw();        // takes a freeze back of which nothing has been carried out
  Result<> copy_frozen();
  Result<> sync_files();
  void drop_frozen() { frozen_.clear(); }
  /// Past the overlay, for the checkpoint's own slots.
  Result<> write_through(FileNo file, std::uint64_t offset, ByteView bytes);
  Result<> sync_file(FileNo file) { return at(file).file->sync(); }

  std::uint64_t overlay_bytes() const { return active_.size() * kPageSize; }
  std::uint64_t bytes_on_disk() const;
  tl::unexpected<Error> corrupt(FileNo file, std::uint64_t offset, const char* what) const;

 private:
  struct Mapped {
    std::unique_ptr<File> file;
    std::string path;
    std::span<std::byte> mapping;
    std::uint64_t capacity = 0;  // pages that the file holds
  };
  struct Undo {
    Page* page;
    std::uint16_t offset;
    std::uint16_t size;
  };

  Mapped& at(FileNo file) { return files_[static_cast<std::size_t>(file)]; }
  const Mapped& at(FileNo file) const { return files_[static_cast<std::size_t>(file)]; }

  const Page* overlaid(FileNo file, std::uint64_t page) const;
  Result<Page*> touch(FileNo file, std::uint64_t page);
  Result<> write_in_page(FileNo file, std::uint64_t offset, ByteView bytes);
  std::span<const std::byte> mapped_page(FileNo file, std::uint64_t page) const;
  tl::unexpected<Error> io_error(FileNo file, std::uint64_t page) const;
  Result<> copy_to_mapping(FileNo file, std::uint64_t offset, ByteView bytes);

  FileIo& io_;
  const std::string folder_;
  std::array<Mapped, kFiles> files_;
  Overlay active_;
  Overlay frozen_;
  Bytes redo_;
  std::vector<Undo> undo_;
  Bytes undo_bytes_;
};

extern const Page kZeros;

inline const Page* Pages::overlaid(FileNo file, std::uint64_t page) const {
  if (const auto* found = active_.find(file, page)) return found;
  return frozen_.find(file, page);
}

inline const std::byte* Pages::peek(FileNo file, std::uint64_t page) const {
  if (const auto* found = overlaid(file, page)) return found->data();
  const auto memory = mapped_page(file, page);
  return memory.empty() ? kZeros.data() : memory.data();
}

template <class Fn>
Result<> Pages::guard(FileNo file, Fn&& fn) const {
  const auto& mapping = at(file).mapping;
  if (const auto* bad = guarded(mapping, fn)) {
    return io_error(file, static_cast<std::uint64_t>(bad - mapping.data()) / kPageSize);
  }
  return {};
}

template <class Fn>
Result<> Pages::look(FileNo file, std::uint64_t page, Fn&& fn) const {
  const auto* bytes = peek(file, page);
  if (overlaid(file, page) != nullptr || bytes == kZeros.data()) {
    fn(bytes);
    return {};
  }
  auto call = [&fn, bytes] { fn(bytes); };
  return guard(file, call);
}

template <class T>
Result<T> Pages::get(FileNo file, std::uint64_t offset) const {
  static_assert(std::is_trivially_copyable_v<T>);
  T value;
  auto r = read(file, offset, std::as_writable_bytes(std::span(&value, 1)));
  if (!r) return pass(r.error());
  return value;
}

}  // namespace ebb::store
