#include "server/core/directory_depot.h"

#include <cerrno>
#include <cstdio>

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/log.h"
#include "proto/errors.h"
#include "server/core/directory_files.h"

namespace ebb::server {

using proto::EntryKind;

namespace {

Result<Fd> make_folder(int parent, const char* name) {
  if (::mkdirat(parent, name, 0700) != 0 && errno != EEXIST) return fail_errno(errno, name);
  return open_beneath(parent, name, O_RDONLY | O_DIRECTORY);
}

struct DirCloser {
  void operator()(DIR* dir) const { ::closedir(dir); }
};

/// Not ours to serve, or gone since its name was read: left out of a folder.
bool left_out(const Error& error) {
  return error.code == proto::Errc::not_regular || is_errno(error, ENOENT) ||
         is_errno(error, EXDEV) || is_errno(error, ESTALE);
}

}  // namespace

Result<std::unique_ptr<DirectoryDepot>> DirectoryDepot::open(const std::string& root) {
  std::unique_ptr<DirectoryDepot> depot(new DirectoryDepot);
  depot->root_path_ = root;
  depot->root_ = Fd(::open(root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!depot->root_) return fail_errno(errno, root);
  depot->filesystem_ = filesystem_id(depot->root_.get());
  depot->local_ = is_local_filesystem(depot->root_.get());
  auto own = make_folder(depot->root_.get(), kOwnFolder);
  if (!own) return fail(own.error().code, root + "/" + kOwnFolder);
  auto staging = make_folder(own->get(), "tmp");
  if (!staging) return pass(staging.error());
  auto history = make_folder(own->get(), "history");
  if (!history) return pass(history.error());
  depot->staging_ = std::move(*staging);
  depot->history_ = std::move(*history);
  depot->exchanges_ = depot->try_exchange();
  if (!depot->exchanges_) {
    log_warn("{}: the filesystem cannot exchange two names; see ebbd(8), \"Landing\"", root);
  }
  return depot;
}

bool DirectoryDepot::try_exchange() const {
  const char* names[] = {"exchange-a", "exchange-b"};
  for (const char* name : names) {
    Fd made(::openat(staging_.get(), name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  }
  const bool works =
      ::renameat2(staging_.get(), names[0], staging_.get(), names[1], RENAME_EXCHANGE) == 0;
  for (const char* name : names) ::unlinkat(staging_.get(), name, 0);
  return works;
}

// ---- finding

Result<Fd> DirectoryDepot::folder_of(const FolderRef& folder) const {
  auto fd = open_beneath(root_.get(), folder.path, O_RDONLY | O_DIRECTORY);
  if (!fd) {
    // A symlink on the way: for us that folder is no more.
    if (is_errno(fd.error(), ELOOP) || is_errno(fd.error(), EXDEV)) {
      return fail_errno(ENOENT, folder.path);
    }
    return fd;
  }
  if (folder.identity.empty()) return fd;
  auto facts = facts_of(*fd, filesystem_, false);
  if (!facts) return pass(facts.error());
  if (facts->identity != folder.identity) return fail_errno(ENOENT, folder.path);
  return fd;
}

Result<Fd> DirectoryDepot::name_in(const Fd& folder, const std::string& name) {
  Fd fd(::openat(folder.get(), name.empty() ? "." : name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) return fail_errno(errno, name);
  return fd;
}

Result<Fd> DirectoryDepot::entry_of(const Fd& folder, const std::string& name) const {
  auto fd = name_in(folder, name);
  if (!fd || name.empty()) return fd;
  struct statx raw {};
  if (::statx(fd->get(), "", AT_EMPTY_PATH, STATX_TYPE, &raw) != 0) return fail_errno(errno, name);
  if ((raw.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0) return fail_errno(EXDEV, name);
  return fd;
}

Result<Facts> DirectoryDepot::look(const Fd& folder, const std::string& name,
                                   bool with_attributes) const {
  auto fd = name_in(folder, name);
  if (!fd) return pass(fd.error());
  auto facts = facts_of(*fd, filesystem_, with_attributes, name.empty());
  if (!facts) return fail(facts.error().code, name);
  return facts;
}

Result<Facts> DirectoryDepot::expect(const Fd& folder, const std::string& name,
                                     const Identity& identity) const {
  auto facts = look(folder, name);
  if (facts && facts->identity != identity) return fail_errno(ENOENT, name);
  return facts;
}

// ---- reading

Result<FolderRead> DirectoryDepot::read_folder(const FolderRef& folder) {
  if (auto ok = check_spot({folder, ""}); !ok) return pass(ok.error());
  auto fd = folder_of(folder);
  if (!fd) return pass(fd.error());
  FolderRead out;
  auto self = facts_of(*fd, filesystem_, true);
  if (!self) return pass(self.error());
  out.self = std::move(*self);

  const int copy = ::openat(fd->get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  std::unique_ptr<DIR, DirCloser> dir(copy < 0 ? nullptr : ::fdopendir(copy));
  if (!dir) return fail_errno(errno, folder.path);
  errno = 0;
  while (const dirent* found = ::readdir(dir.get())) {
    const std::string name = found->d_name;
    const bool own = folder.path.empty() && name == kOwnFolder;
    if (name == "." || name == ".." || own) continue;
    auto facts = look(*fd, name);
    if (facts) {
      out.entries.push_back({name, std::move(*facts)});
    } else if (!left_out(facts.error())) {
      return pass(facts.error());
    }
    errno = 0;
  }
  if (errno != 0) return fail_errno(errno, folder.path);
  return out;
}

Result<store::FsmapTree> DirectoryDepot::map(const FolderRef& folder,
                                             const store::FsmapOptions& options) {
  if (auto ok = check_spot({folder, ""}); !ok) return pass(ok.error());
  auto fd = folder_of(folder);
  if (!fd) return pass(fd.error());
  return store::walk_fsmap(fd->get(), options);
}

Result<Facts> DirectoryDepot::stat(const Spot& spot) {
  if (auto ok = check_spot(spot); !ok) return pass(ok.error());
  auto folder = folder_of(spot.folder);
  if (!folder) return pass(folder.error());
  return look(*folder, spot.name);
}

Result<std::unique_ptr<DepotFile>> DirectoryDepot::open(const Spot& spot) {
  if (auto ok = check_spot(spot); !ok) return pass(ok.error());
  auto folder = folder_of(spot.folder);
  if (!folder) return pass(folder.error());
  return open_file(*folder, spot.name);
}

Result<std::unique_ptr<DepotFile>> DirectoryDepot::open_file(const Fd& folder,
                                                             const std::string& name) const {
  auto entry = name_in(folder, name);
  if (!entry) return pass(entry.error());
  struct statx raw {};
  if (::statx(entry->get(), "", AT_EMPTY_PATH, STATX_TYPE, &raw) != 0)
    return fail_errno(errno, name);
  if ((raw.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0) return fail_errno(EXDEV, name);
  // Only now that it is known to be no device or FIFO, whose open has effects of its own.
  if (!S_ISREG(raw.stx_mode)) return fail(proto::Errc::not_regular, name);
  Fd fd(::open(entry->proc_path().c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return fail_errno(errno, name);
  return std::make_unique<ServedFile>(std::move(fd), filesystem_);
}

Result<Space> DirectoryDepot::space() {
  struct statvfs raw {};
  if (::fstatvfs(root_.get(), &raw) != 0) return fail_errno(errno, root_path_);
  return Space{raw.f_blocks * raw.f_frsize, raw.f_bfree * raw.f_frsize, raw.f_files, raw.f_ffree,
               raw.f_bavail * raw.f_frsize};
}

// ---- staging

Result<std::unique_ptr<StagedFile>> DirectoryDepot::stage_file(std::uint64_t number) {
  const std::string name = number_name(number);
  Fd fd(::openat(staging_.get(), name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
                 0644));
  if (!fd) return fail_errno(errno, name);
  return std::make_unique<DirectoryStagedFile>(std::move(fd), filesystem_);
}

Result<Facts> DirectoryDepot::stage_folder(std::uint64_t number, std::uint8_t bits,
                                           const proto::Attributes& attributes) {
  const std::string name = number_name(number);
  if (::mkdirat(staging_.get(), name.c_str(), 0755) != 0) return fail_errno(errno, name);
  auto fd = entry_of(staging_, name);
  if (!fd) return pass(fd.error());
  auto set = apply_attributes(*fd, EntryKind::folder, bits, attributes);
  if (!set) return pass(set.error());
  return staged(number);
}

Result<Facts> DirectoryDepot::stage_symlink(std::uint64_t number, const std::string& target,
                                            std::uint8_t bits,
                                            const proto::Attributes& attributes) {
  const std::string name = number_name(number);
  if (::symlinkat(target.c_str(), staging_.get(), name.c_str()) != 0) {
    return fail_errno(errno, name);
  }
  auto fd = entry_of(staging_, name);
  if (!fd) return pass(fd.error());
  auto set = apply_attributes(*fd, EntryKind::symlink, bits, attributes);
  if (!set) return pass(set.error());
  return staged(number);
}

Result<Facts> DirectoryDepot::staged(std::uint64_t number) {
  return look(staging_, number_name(number));
}

Result<> DirectoryDepot::unstage(std::uint64_t number) {
  const std::string name = number_name(number);
  if (::unlinkat(staging_.get(), name.c_str(), 0) == 0 || errno == ENOENT) return {};
  if (errno == EISDIR && ::unlinkat(staging_.get(), name.c_str(), AT_REMOVEDIR) == 0) return {};
  return fail_errno(errno, name);
}

Result<std::vector<std::uint64_t>> DirectoryDepot::list_staged() {
  const int copy = ::openat(staging_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  std::unique_ptr<DIR, DirCloser> dir(copy < 0 ? nullptr : ::fdopendir(copy));
  if (!dir) return fail_errno(errno, "staging");
  std::vector<std::uint64_t> out;
  while (const dirent* found = ::readdir(dir.get())) {
    if (auto number = parse_number(found->d_name)) out.push_back(*number);
  }
  return out;
}

Result<> DirectoryDepot::watch(const FolderRef& folder, std::uint64_t tag) {
  auto fd = folder_of(folder);
  if (!fd) return pass(fd.error());
  return watch_.add(*fd, tag);
}

// ---- durability

Result<> DirectoryDepot::sync_staged() {
  if (::fsync(staging_.get()) != 0) return fail_errno(errno, "staging");
  std::set<std::uint8_t> changed;
  {
    std::lock_guard lock(unsynced_mutex_);
    changed.swap(unsynced_history_);
  }
  for (auto number : changed) {
    auto folder = history_folder(number);
    if (!folder || ::fsync(folder->get()) != 0) return fail_errno(EIO, "history");
  }
  return {};
}

Result<> DirectoryDepot::sync_folder(const FolderRef& folder) {
  auto fd = folder_of(folder);
  if (!fd) return is_errno(fd.error(), ENOENT) ? Result<>() : pass(fd.error());
  if (::fsync(fd->get()) != 0) return fail_errno(errno, folder.path);
  return {};
}

Result<> DirectoryDepot::sync_all() {
  if (::syncfs(root_.get()) != 0) return fail_errno(errno, root_path_);
  return {};
}

}  // namespace ebb::server
