#include "store/patch_folder.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <ctime>
#include <optional>
#include <vector>

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/fsmap.h"

namespace ebb::store {
namespace {

constexpr const char* kOwn = ".ebbd";
constexpr const char* kStage = "patch";
constexpr const char* kKept = "kept";
/// Where a file stands between its name and its end.  A name that no digest has.
constexpr const char* kOut = "out";
constexpr std::size_t kReadStep = 256u << 10;
constexpr std::size_t kSyncEach = 64;  // up to so many are synced one by one
constexpr int kAttempts = 16;          // at a name that another program changes meanwhile
constexpr int kKeptNames = 10000;      // of one name

using Facts = struct stat;

std::optional<Facts> look(int folder, const std::string& name) {
  Facts facts{};
  if (::fstatat(folder, name.c_str(), &facts, AT_SYMLINK_NOFOLLOW) != 0) return std::nullopt;
  return facts;
}

bool same_file(const Facts& a, const Facts& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/// As it was listed, but for its ctime, which a rename moves.
bool as_listed(const Facts& now, const FsmapFile& listed) {
  return S_ISREG(now.st_mode) && now.st_ino == listed.inode &&
         static_cast<std::uint64_t>(now.st_size) == listed.size &&
         now.st_mtim.tv_sec * std::int64_t{1'000'000'000} + now.st_mtim.tv_nsec == listed.mtime;
}

/// A folder of ours, which may be there.
OpenFile make_folder(int parent, const char* name) {
  if (::mkdirat(parent, name, 0700) != 0 && errno != EEXIST) return OpenFile(-1);
  return OpenFile(open_here(parent, name, O_RDONLY | O_DIRECTORY));
}

struct DirCloser {
  void operator()(DIR* dir) const { ::closedir(dir); }
};

std::vector<std::string> names_in(int folder) {
  std::vector<std::string> out;
  const int copy = open_here(folder, ".", O_RDONLY | O_DIRECTORY);
  const std::unique_ptr<DIR, DirCloser> dir(copy < 0 ? nullptr : ::fdopendir(copy));
  while (const dirent* found = dir ? ::readdir(dir.get()) : nullptr) {
    const std::string_view name = found->d_name;
    if (name != "." && name != "..") out.emplace_back(name);
  }
  return out;
}

/// It and the folders in it, when there is nothing else; else what is empty of it.
bool remove_if_empty(int parent, const std::string& name) {
  if (::unlinkat(parent, name.c_str(), AT_REMOVEDIR) == 0) return true;
  if (errno != ENOTEMPTY && errno != EEXIST) return false;
  const OpenFile folder(open_here(parent, name.c_str(), O_RDONLY | O_DIRECTORY));
  if (!folder) return false;
  for (const std::string& child : names_in(folder.get())) {
    const auto facts = look(folder.get(), child);
    if (!facts || !S_ISDIR(facts->st_mode) || !remove_if_empty(folder.get(), child)) return false;
  }
  return ::unlinkat(parent, name.c_str(), AT_REMOVEDIR) == 0;
}

/// To a name that nothing has; false and EEXIST where something does.
bool rename_to_free(int from, const std::string& name, int to, const std::string& free) {
  if (::renameat2(from, name.c_str(), to, free.c_str(), RENAME_NOREPLACE) == 0) return true;
  if (errno != EINVAL && errno != ENOSYS) return false;
  if (look(to, free)) {
    errno = EEXIST;
    return false;
  }
  return ::renameat(from, name.c_str(), to, free.c_str()) == 0;
}

/// Whatever mode it is to have.
OpenFile open_staged(int stage, const std::string& name) {
  OpenFile fd(open_here(stage, name.c_str(), O_RDONLY));
  if (fd || errno != EACCES) return fd;
  const auto facts = look(stage, name);
  if (!facts || ::fchmodat(stage, name.c_str(), 0400, 0) != 0) return fd;
  fd = OpenFile(open_here(stage, name.c_str(), O_RDONLY));
  (void)::fchmodat(stage, name.c_str(), facts->st_mode & 0777u, 0);
  return fd;
}

Result<> sync_folder(int folder) {
  const OpenFile fd(open_here(folder, ".", O_RDONLY | O_DIRECTORY));
  if (!fd || ::fsync(fd.get()) != 0) return fail_errno(errno, "fsync");
  return {};
}

Result<> sync_all(int on) {
  if (::syncfs(on) != 0) return fail_errno(errno, "syncfs");
  return {};
}

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::gmtime_r(&now, &parts);
  return fmt::format("{:04}{:02}{:02}-{:02}{:02}{:02}", parts.tm_year + 1900, parts.tm_mon + 1,
                     parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec);
}

}  // namespace

// ---- a part

Result<> StagedPart::write_at(std::uint64_t offset, ByteView bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(fd_.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return fail_errno(n < 0 ? errno : EIO);
    bytes = bytes.subspan(static_cast<std::size_t>(n));
    offset += static_cast<std::uint64_t>(n);
  }
  return {};
}

Result<> StagedPart::finish(std::uint64_t size, std::uint32_t mode, std::int64_t mtime) {
  if (::ftruncate(fd_.get(), static_cast<off_t>(size)) != 0) return fail_errno(errno);
  if (::fchmod(fd_.get(), mode & 0777u) != 0) return fail_errno(errno);
  const std::int64_t second = 1'000'000'000;
  const std::int64_t rest = (mtime % second + second) % second;
  const timespec times[2] = {{0, UTIME_OMIT}, {(mtime - rest) / second, rest}};
  if (::futimens(fd_.get(), times) != 0) return fail_errno(errno);
  return {};
}

// ---- staging

Result<std::unique_ptr<PatchFolder>> PatchFolder::open(const std::string& path) {
  OpenFile top(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!top) return fail_errno(errno, path);
  if (::flock(top.get(), LOCK_EX | LOCK_NB) != 0) {
    return fail_errno(errno == EWOULDBLOCK ? EBUSY : errno, path);
  }
  return std::unique_ptr<PatchFolder>(new PatchFolder(std::move(top)));
}

Result<> PatchFolder::prepare() {
  if (stage_) return {};
  own_ = make_folder(top_.get(), kOwn);
  if (!own_) return fail_errno(errno, kOwn);
  stage_ = make_folder(own_.get(), kStage);
  if (!stage_) return fail_errno(errno, fmt::format("{}/{}", kOwn, kStage));
  // An earlier patch ended between a file's name and its end.
  if (look(stage_.get(), kOut)) return keep(stage_.get(), kOut, kOut);
  return {};
}

std::string PatchFolder::staged_name(const Digest& digest, std::size_t count) {
  return count == 0 ? to_hex(digest) : fmt::format("{}-{}", to_hex(digest), count);
}

std::uint64_t PatchFolder::staged_size(const std::string& name) const {
  const auto facts = look(stage_.get(), name);
  return facts && S_ISREG(facts->st_mode) ? static_cast<std::uint64_t>(facts->st_size) : 0;
}

Result<StagedPart> PatchFolder::stage(const std::string& name, bool anew) {
  if (anew) (void)drop_staged(name);
  OpenFile fd(open_here(stage_.get(), name.c_str(), O_WRONLY | O_CREAT, 0600));
  // The server's mode may keep its owner from writing.
  if (!fd && errno == EACCES && ::fchmodat(stage_.get(), name.c_str(), 0600, 0) == 0) {
    fd = OpenFile(open_here(stage_.get(), name.c_str(), O_WRONLY | O_CREAT, 0600));
  }
  if (!fd) return fail_errno(errno, fmt::format("{}/{}/{}", kOwn, kStage, name));
  return StagedPart(std::move(fd));
}

Result<bool> PatchFolder::verify(const std::string& name, std::string_view path,
                                 const Digest& digest, DigestKind kind) const {
  const OpenFile fd(open_staged(stage_.get(), name));
  if (!fd) return fail_errno(errno, std::string(path));
  DigestStream stream(kind);
  stream.update(as_bytes(path));
  std::vector<std::byte> buffer(kReadStep);
  for (;;) {
    const ssize_t n = ::read(fd.get(), buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno(errno, std::string(path));
    if (n == 0) return stream.finish() == digest;
    stream.update(ByteView(buffer).first(static_cast<std::size_t>(n)));
  }
}

Result<> PatchFolder::drop_staged(const std::string& name) {
  if (::unlinkat(stage_.get(), name.c_str(), 0) != 0 && errno != ENOENT) {
    return fail_errno(errno, fmt::format("{}/{}/{}", kOwn, kStage, name));
  }
  return {};
}

Result<> PatchFolder::drop_others(const std::set<std::string>& wanted) {
  for (const std::string& name : names_in(stage_.get())) {
    if (wanted.count(name) != 0) continue;
    if (auto ok = drop_staged(name); !ok) return ok;
  }
  return {};
}

Result<> PatchFolder::sync_staged(const std::set<std::string>& names) {
  if (names.size() > kSyncEach) return sync_all(top_.get());
  for (const std::string& name : names) {
    const OpenFile fd(open_staged(stage_.get(), name));
    if (!fd || ::fsync(fd.get()) != 0) return fail_errno(errno, name);
  }
  return sync_folder(stage_.get());
}

Result<> PatchFolder::sync_names() {
  const auto touched = std::exchange(touched_, {});
  if (touched.size() > kSyncEach) return sync_all(top_.get());
  for (const auto& folder : touched) {
    if (auto ok = sync_folder(folder->get()); !ok) return ok;
  }
  return stage_ ? sync_folder(stage_.get()) : Result<>();
}

void PatchFolder::touch(const std::shared_ptr<OpenFile>& folder) {
  const bool known = !touched_.empty() && touched_.back() == folder;
  if (!known && touched_.size() <= kSyncEach) touched_.push_back(folder);
}

Result<> PatchFolder::finish() {
  const OpenFile own(open_here(top_.get(), kOwn, O_PATH | O_DIRECTORY));
  if (!own || !look(own.get(), kStage)) return {};
  if (auto ok = prepare(); !ok) return ok;
  if (auto ok = drop_others({}); !ok) return ok;
  ::unlinkat(own_.get(), kStage, AT_REMOVEDIR);
  ::unlinkat(top_.get(), kOwn, AT_REMOVEDIR);  // when nothing else is in it
  return {};
}

// ---- places

Result<PatchFolder::Place> PatchFolder::place_of(const std::string& path, bool make) {
  if (!fsmap_path_fits(path)) return fail_errno(EINVAL, path);
  const std::size_t slash = path.rfind('/');
  const std::string folder = slash == path.npos ? "" : path.substr(0, slash);
  const std::string name = slash == path.npos ? path : path.substr(slash + 1);
  if (last_ && folder == last_folder_) return Place{last_, name};
  auto at = std::make_shared<OpenFile>(open_here(top_.get(), ".", O_PATH | O_DIRECTORY));
  for (std::size_t begin = 0; begin < folder.size();) {
    const std::size_t end = std::min(folder.find('/', begin), folder.size());
    const std::string step = folder.substr(begin, end - begin);
    const std::string so_far = folder.substr(0, end);
    OpenFile next(open_here(at->get(), step.c_str(), O_PATH | O_DIRECTORY));
    if (!next && errno == ENOENT && make) {
      if (::mkdirat(at->get(), step.c_str(), 0777) != 0 && errno != EEXIST) {
        return fail_errno(errno, so_far);
      }
      touch(at);
      next = OpenFile(open_here(at->get(), step.c_str(), O_PATH | O_DIRECTORY));
    }
    if (!next && errno == ENOTDIR) {
      const auto there = look(at->get(), step);
      return fail_errno(there && S_ISLNK(there->st_mode) ? ELOOP : ENOTDIR, so_far);
    }
    if (!next) return fail_errno(errno, so_far);
    at = std::make_shared<OpenFile>(std::move(next));
    begin = end + 1;
  }
  last_folder_ = folder;
  last_ = at;
  return Place{at, name};
}

Result<PatchFolder::Place> PatchFolder::kept_place(const std::string& path) {
  if (!kept_folder_) {
    const OpenFile all = make_folder(own_.get(), kKept);
    if (!all) return fail_errno(errno, kKept);
    const std::string stamp = utc_now();
    for (int n = 1; !kept_folder_ && n < kKeptNames; ++n) {
      const std::string name = n == 1 ? stamp : fmt::format("{}-{}", stamp, n);
      if (::mkdirat(all.get(), name.c_str(), 0700) != 0) {
        if (errno == EEXIST) continue;
        return fail_errno(errno, kKept);
      }
      OpenFile made(open_here(all.get(), name.c_str(), O_PATH | O_DIRECTORY));
      if (!made) return fail_errno(errno, kKept);
      kept_folder_ = std::make_shared<OpenFile>(std::move(made));
      kept_in_ = fmt::format("{}/{}/{}", kOwn, kKept, name);
    }
    if (!kept_folder_) return fail_errno(EEXIST, kKept);
  }
  auto at = kept_folder_;
  std::size_t begin = 0;
  for (std::size_t end; (end = path.find('/', begin)) != path.npos; begin = end + 1) {
    OpenFile next = make_folder(at->get(), path.substr(begin, end - begin).c_str());
    if (!next) return fail_errno(errno, kept_in_ + "/" + path.substr(0, end));
    at = std::make_shared<OpenFile>(std::move(next));
  }
  return Place{at, path.substr(begin)};
}

Result<> PatchFolder::keep(int folder, const std::string& name, const std::string& path) {
  auto place = kept_place(path);
  if (!place) return pass(place.error());
  touch(place->folder);
  for (int n = 1; n < kKeptNames; ++n) {
    const std::string end = n == 1 ? "" : fmt::format("-{}", n);
    const std::string free = place->name.substr(0, 255 - end.size()) + end;
    if (rename_to_free(folder, name, place->folder->get(), free)) {
      ++kept_;
      return {};
    }
    if (errno != EEXIST) return fail_errno(errno, path);
  }
  return fail_errno(EEXIST, path);
}

void PatchFolder::next_round() {
  kept_folder_.reset();
}

// ---- landing

Result<> PatchFolder::land(const std::string& name, const std::string& path,
                           const FsmapFile* listed, bool keep) {
  auto place = place_of(path, true);
  if (!place) return pass(place.error());
  touch(place->folder);
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    const int folder = place->folder->get();
    const auto there = look(folder, place->name);
    if (there && S_ISDIR(there->st_mode)) {
      if (!remove_if_empty(folder, place->name)) return fail_errno(ENOTEMPTY, path);
      continue;
    }
    if (there) {
      auto swapped = swap_in(name, *place, path, listed, keep);
      if (!swapped && is_errno(swapped.error(), ENOENT)) continue;
      return swapped;
    }
    if (errno != ENOENT) return fail_errno(errno, path);
    if (rename_to_free(stage_.get(), name, folder, place->name)) return {};
    if (errno != EEXIST) return fail_errno(errno, path);
  }
  return fail_errno(EBUSY, path);
}

/// What comes out is looked at: another program may have written there a moment ago.  It stands
/// under a name that the next patch knows, should this one end here.
Result<> PatchFolder::swap_in(const std::string& name, const Place& place, const std::string& path,
                              const FsmapFile* listed, bool keep_it) {
  const int folder = place.folder->get();
  const auto rename = [this](const char* from, const char* to) {
    return ::renameat(stage_.get(), from, stage_.get(), to) == 0;
  };
  if (!rename(name.c_str(), kOut)) return fail_errno(errno, path);
  if (::renameat2(stage_.get(), kOut, folder, place.name.c_str(), RENAME_EXCHANGE) != 0) {
    const int why = errno;
    if (!rename(kOut, name.c_str())) return fail_errno(errno, path);
    if (why != EINVAL && why != ENOSYS) return fail_errno(why, path);
    // Where two names cannot be exchanged this one is free for a moment.
    if (auto out = keep(folder, place.name, path); !out) return out;
    return fail_errno(ENOENT, path);
  }
  const auto out = look(stage_.get(), kOut);
  if (!out) return fail_errno(errno, path);
  if (!keep_it && listed != nullptr && as_listed(*out, *listed)) return drop_staged(kOut);
  return keep(stage_.get(), kOut, path);
}

Result<> PatchFolder::remove(const std::string& path, const FsmapFile& listed, bool keep_it) {
  auto place = place_of(path, false);
  if (!place && is_errno(place.error(), ENOENT)) return {};
  if (!place) return pass(place.error());
  const int folder = place->folder->get();
  const auto there = look(folder, place->name);
  if (!there && errno == ENOENT) return {};
  if (!there) return fail_errno(errno, path);
  if (!as_listed(*there, listed)) return fail_errno(EAGAIN, path);
  touch(place->folder);
  if (::renameat(folder, place->name.c_str(), stage_.get(), kOut) != 0) {
    return fail_errno(errno, path);
  }
  const auto out = look(stage_.get(), kOut);
  const bool drop = !keep_it && out && same_file(*out, *there) && as_listed(*out, listed);
  if (auto gone = drop ? drop_staged(kOut) : keep(stage_.get(), kOut, path); !gone) return gone;
  remove_empty_above(path);
  return {};
}

void PatchFolder::remove_empty_above(const std::string& path) {
  std::string folder = path;
  for (std::size_t slash; (slash = folder.rfind('/')) != folder.npos;) {
    folder.resize(slash);
    last_.reset();
    const auto place = place_of(folder, false);
    if (!place || ::unlinkat(place->folder->get(), place->name.c_str(), AT_REMOVEDIR) != 0) break;
  }
  last_.reset();
}

}  // namespace ebb::store
