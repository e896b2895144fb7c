#include "store/replacing.h"

#include <algorithm>
#include <vector>

namespace ebb::store {
namespace {

constexpr const char* kComplete = "complete";
constexpr const char* kLock = "lock";
constexpr std::size_t kBlock = 1u << 20;

using Names = std::vector<std::string>;

/// The files of the store itself.
Result<Names> files_in(FileIo& io, const std::string& folder) {
  auto names = io.list(folder);
  if (!names) return names;
  std::erase_if(*names, [](const std::string& name) { return name == kLock || name == kComplete; });
  return names;
}

Result<> copy_file(FileIo& io, const std::string& from, const std::string& to) {
  auto in = io.open(from, OpenMode::read);
  if (!in) return pass(in.error());
  auto out = io.open(to, OpenMode::create);
  if (!out) return pass(out.error());
  if (auto r = (*out)->truncate(0); !r) return r;
  Bytes block(kBlock);
  for (std::uint64_t at = 0;; at += block.size()) {
    auto got = (*in)->read_at(at, block);
    if (!got) return pass(got.error());
    if (auto r = (*out)->write_at(at, ByteView(block).first(*got)); !r) return r;
    if (*got < block.size()) return (*out)->sync();
  }
}

Result<> remove_files(FileIo& io, const std::string& folder, const Names& names) {
  for (const auto& name : names) {
    if (auto r = io.remove(folder + "/" + name); !r) return r;
  }
  return io.sync_folder(folder);
}

/// The word that it is complete goes first, and is gone for good before anything else is.
Result<> empty(FileIo& io, const std::string& folder) {
  auto waits = io.exists(folder + "/" + kComplete);
  if (!waits) return pass(waits.error());
  if (*waits) {
    if (auto r = remove_files(io, folder, {kComplete}); !r) return r;
  }
  auto names = io.list(folder);
  if (!names) return pass(names.error());
  return remove_files(io, folder, *names);
}

}  // namespace

Result<bool> replacement_waits(FileIo& io, const std::string& folder) {
  return io.exists(folder + kNewSuffix + "/" + kComplete);
}

Result<std::string> prepare_replacement(FileIo& io, const std::string& folder) {
  auto fresh = folder + kNewSuffix;
  if (auto r = io.make_folder(fresh); !r) return pass(r.error());
  if (auto r = empty(io, fresh); !r) return pass(r.error());
  return fresh;
}

Result<> declare_replacement(FileIo& io, const std::string& folder) {
  const auto fresh = folder + kNewSuffix;
  if (auto r = io.sync_folder(fresh); !r) return r;
  auto file = io.open(fresh + "/" + kComplete, OpenMode::create);
  if (!file) return pass(file.error());
  if (auto r = (*file)->sync(); !r) return r;
  return io.sync_folder(fresh);
}

Result<> copy_store(FileIo& io, const std::string& from, const std::string& to) {
  auto names = files_in(io, from);
  if (!names) return pass(names.error());
  if (auto r = io.make_folder(to); !r) return r;
  for (const auto& name : *names) {
    if (auto r = copy_file(io, from + "/" + name, to + "/" + name); !r) return r;
  }
  return io.sync_folder(to);
}

Result<> replace(FileIo& io, const std::string& folder) {
  auto waits = replacement_waits(io, folder);  // another may have ended it before we had the lock
  if (!waits) return pass(waits.error());
  if (!*waits) return {};
  const auto fresh = folder + kNewSuffix;
  auto old_names = files_in(io, folder);
  if (!old_names) return pass(old_names.error());
  auto new_names = files_in(io, fresh);
  if (!new_names) return pass(new_names.error());
  std::erase_if(*old_names, [&](const std::string& name) {
    return std::binary_search(new_names->begin(), new_names->end(), name);
  });
  // What only the old one has, journals, says nothing of the new one.
  if (auto r = remove_files(io, folder, *old_names); !r) return r;
  if (auto r = copy_store(io, fresh, folder); !r) return r;
  return empty(io, fresh);
}

}  // namespace ebb::store
