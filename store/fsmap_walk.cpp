#include "store/fsmap_walk.h"

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/fsmap.h"
#include "store/fsmap_cache.h"
#include "store/open_here.h"

namespace ebb::store {
namespace {

constexpr std::size_t kReadStep = 256u << 10;
constexpr std::size_t kNamesStep = 64u << 10;
constexpr std::size_t kFilesAtOnce = 16;      // of one folder, by one thread
constexpr std::uint64_t kReleaseEach = 2048;  // files whose cached digests stay in memory
constexpr int kAttempts = 5;                  // at a file that changes while it is read
constexpr std::int64_t kTick =
    100'000'000;  // ns: within it a second change may leave the same time
constexpr std::int64_t kCoarseTick = 2'000'000'000;  // where times are in whole seconds
constexpr const char* kOwnName = ".ebbd";

std::int64_t nanoseconds(const struct statx_timestamp& t) {
  return t.tv_sec * std::int64_t{1'000'000'000} + t.tv_nsec;
}

struct Look {
  mode_t mode = 0;
  bool mounted = false;
  FsmapFile facts;
};

std::optional<Look> look(int folder, const char* name, int flags) {
  struct statx raw {};
  if (::statx(folder, name, flags | AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &raw) != 0) {
    return std::nullopt;
  }
  Look out;
  out.mode = raw.stx_mode;
  out.mounted = (raw.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
  out.facts.device = (std::uint64_t{raw.stx_dev_major} << 32) | raw.stx_dev_minor;
  out.facts.inode = raw.stx_ino;
  out.facts.size = raw.stx_size;
  out.facts.mtime = nanoseconds(raw.stx_mtime);
  out.facts.ctime = nanoseconds(raw.stx_ctime);
  return out;
}

bool unchanged(const FsmapFile& a, const FsmapFile& b) {
  return a.device == b.device && a.inode == b.inode && a.size == b.size && a.mtime == b.mtime &&
         a.ctime == b.ctime;
}

/// Whether a change after `now` is sure to show in the times.
bool settled(const FsmapFile& file, std::int64_t now) {
  const bool coarse = file.mtime % 1'000'000'000 == 0 && file.ctime % 1'000'000'000 == 0;
  return std::max(file.mtime, file.ctime) + (coarse ? kCoarseTick : kTick) < now;
}

std::int64_t wall_now() {
  struct timespec now {};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return now.tv_sec * std::int64_t{1'000'000'000} + now.tv_nsec;
}

/// Folders stay open while work waits in them.
void allow_many_files() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  (void)::setrlimit(RLIMIT_NOFILE, &limit);
}

struct FoundName {
  std::string name;
  std::uint64_t inode;
};

/// Both sorted by name: for each of `mine` what `theirs` has under the name, or null.
template <class Mine, class Theirs, class Take>
void match(const std::vector<Mine>& mine, std::string_view my_names, std::span<const Theirs> theirs,
           std::string_view their_names, Take take) {
  std::size_t j = 0;
  for (std::size_t i = 0; i < mine.size(); ++i) {
    const auto name = my_names.substr(mine[i].name, mine[i].name_size);
    const auto theirs_at = [&] {
      return their_names.substr(std::min<std::size_t>(theirs[j].name, their_names.size()),
                                theirs[j].name_size);
    };
    while (j < theirs.size() && theirs_at() < name) ++j;
    if (j < theirs.size() && theirs_at() == name) take(i, theirs[j]);
  }
}

}  // namespace

/// Folders and the files in them are taken by whoever is free.  The newest folder first, so that
/// few are open.
class FsmapWalk {
 public:
  FsmapWalk(int top, const FsmapOptions& options) : options_(options), top_(top) {
    tree_.kind_ = options.kind;
    if (!options.cache.empty()) cache_.open(options.cache, options.kind);
  }

  Result<FsmapTree> run() {
    allow_many_files();
    stack_.push_back({Task{nullptr, 0, cache_.top()}, nullptr});
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < thread_count(); ++i) threads.emplace_back([this] { work(); });
    watch();
    for (auto& thread : threads) thread.join();
    if (failure_) return pass(*failure_);
    finish();
    return std::move(tree_);
  }

 private:
  struct Task {
    std::shared_ptr<OpenFile> parent;
    std::uint32_t folder = 0;
    std::uint64_t remembered = 0;
  };
  /// A folder that was read, whose files wait for their digests.
  struct Files {
    std::shared_ptr<OpenFile> fd;
    FsmapTree::Folder* folder;
    std::string path;  // with '/' at its end, or empty
    std::vector<std::uint32_t> order;
    std::vector<const FsmapFile*> remembered;
    std::atomic<std::size_t> next{0};
    std::mutex mutex;
    std::vector<std::uint32_t> gone;  // mutex
    std::atomic<unsigned> users{1};
  };
  struct Work {
    Task task;
    std::shared_ptr<Files> files;
  };
  struct Hasher {
    DigestStream stream;
    std::vector<std::byte> buffer{};  // once there is something to read
  };

  bool stopped() const { return options_.stop != nullptr && *options_.stop; }

  unsigned thread_count() const {
    return options_.threads != 0 ? options_.threads
                                 : std::max(4u, std::thread::hardware_concurrency());
  }

  void watch() {
    std::unique_lock lock(mutex_);
    while (!done_) {
      ended_.wait_for(lock, std::chrono::milliseconds(200), [this] { return done_; });
      if (stopped() && !failure_)
        failure_ = Error{std::make_error_code(std::errc::operation_canceled), ""};
      if (!options_.progress) continue;
      lock.unlock();
      options_.progress({files_.load(), bytes_.load()});
      lock.lock();
    }
  }

  void work() {
    Hasher hasher{DigestStream(options_.kind)};
    std::unique_lock lock(mutex_);
    for (;;) {
      some_.wait(lock, [this] { return done_ || !stack_.empty(); });
      if (done_) return;
      Work next = std::move(stack_.back());
      stack_.pop_back();
      ++running_;
      lock.unlock();
      if (next.files) {
        take_files(*next.files, hasher);
      } else {
        read_folder(next.task, hasher);
      }
      next = {};
      lock.lock();
      --running_;
      done_ = done_ || failure_ || (running_ == 0 && stack_.empty());
      if (!done_) continue;
      some_.notify_all();
      ended_.notify_all();
    }
  }

  void failed(int number, std::string path) {
    std::lock_guard lock(mutex_);
    if (!failure_)
      failure_ = Error{std::error_code(number, std::generic_category()), std::move(path)};
  }

  FsmapTree::Folder& folder(std::uint32_t number) {
    std::lock_guard lock(mutex_);
    return tree_.folders_[number];
  }

  std::string path_of(std::uint32_t number) {
    std::lock_guard lock(mutex_);
    return tree_.path_of(number);
  }

  // ---- a folder

  void read_folder(const Task& task, Hasher& hasher) {
    FsmapTree::Folder& mine = folder(task.folder);
    const std::string path = path_of(task.folder);
    int fd = -1;
    if (task.folder == 0) {
      fd = ::openat(top_, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    } else {
      fd = open_here(task.parent->get(), path.substr(path.rfind('/') + 1).c_str(), O_DIRECTORY);
    }
    if (fd < 0 && errno == EXDEV) return void(++mounts_);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP))
      return;  // gone meanwhile
    if (fd < 0) return failed(errno, path.empty() ? "." : path);
    auto open = std::make_shared<OpenFile>(fd);
    auto files = std::make_shared<Files>();
    files->fd = open;
    files->folder = &mine;
    files->path = path.empty() ? "" : path + "/";
    std::vector<FoundName> regular;
    std::vector<FoundName> folders;
    if (!read_names(*open, files->path, regular, folders)) return;
    const auto remembered = cache_.folder(task.remembered);
    keep_files(mine, *files, std::move(regular), remembered);
    push_folders(task.folder, mine, open, std::move(folders), remembered);
    share(files);
    take_files(*files, hasher);
  }

  bool read_names(const OpenFile& fd, const std::string& path, std::vector<FoundName>& regular,
                  std::vector<FoundName>& folders) {
    std::vector<char> buffer(kNamesStep);
    for (;;) {
      const ssize_t n = ::getdents64(fd.get(), buffer.data(), buffer.size());
      if (n == 0) break;
      if (n < 0) {
        failed(errno, path.empty() ? "." : path);
        return false;
      }
      for (ssize_t at = 0; at < n;) {
        const auto* entry = reinterpret_cast<const dirent64*>(buffer.data() + at);
        at += entry->d_reclen;
        if (!sort_out(fd, path, *entry, regular, folders)) return false;
      }
    }
    const auto by_name = [](const FoundName& a, const FoundName& b) { return a.name < b.name; };
    std::sort(regular.begin(), regular.end(), by_name);
    std::sort(folders.begin(), folders.end(), by_name);
    return true;
  }

  bool sort_out(const OpenFile& fd, const std::string& path, const dirent64& entry,
                std::vector<FoundName>& regular, std::vector<FoundName>& folders) {
    const std::string_view name = entry.d_name;
    if (name == "." || name == ".." || (path.empty() && name == kOwnName)) return true;
    unsigned char type = entry.d_type;
    if (type == DT_UNKNOWN) {
      const auto seen = look(fd.get(), entry.d_name, 0);
      if (!seen) return true;  // gone meanwhile
      type = static_cast<unsigned char>(IFTODT(seen->mode));
    }
    if (type == DT_LNK) ++symlinks_;
    if (type != DT_LNK && type != DT_REG && type != DT_DIR) ++others_;
    if (type != DT_REG && type != DT_DIR) return true;
    if (name.find('\n') != name.npos) {
      failed(EILSEQ, path + std::string(name));
      return false;
    }
    (type == DT_DIR ? folders : regular).push_back({std::string(name), entry.d_ino});
    return true;
  }

  void keep_files(FsmapTree::Folder& mine, Files& files, std::vector<FoundName> regular,
                  const FsmapCache::Folder& remembered) {
    std::size_t bytes = 0;
    for (const auto& found : regular) bytes += found.name.size();
    mine.names.reserve(bytes);
    mine.files.resize(regular.size());
    files.order.resize(regular.size());
    files.remembered.resize(regular.size());
    for (std::uint32_t i = 0; i < regular.size(); ++i) {
      FsmapFile& file = mine.files[i];
      file.name = static_cast<std::uint32_t>(mine.names.size());
      file.name_size = static_cast<std::uint16_t>(regular[i].name.size());
      file.inode = regular[i].inode;
      mine.names += regular[i].name;
      files.order[i] = i;
    }
    // The order in which their inodes lie on the disk.
    std::sort(files.order.begin(), files.order.end(), [&](std::uint32_t a, std::uint32_t b) {
      return mine.files[a].inode < mine.files[b].inode;
    });
    match(mine.files, mine.names, remembered.files, remembered.names,
          [&](std::size_t i, const FsmapFile& file) { files.remembered[i] = &file; });
  }

  void push_folders(std::uint32_t number, FsmapTree::Folder& mine,
                    const std::shared_ptr<OpenFile>& fd, std::vector<FoundName> found,
                    const FsmapCache::Folder& remembered) {
    if (found.empty()) return;
    struct Name {
      std::uint32_t name;
      std::uint16_t name_size;
    };
    std::vector<Name> names;
    for (const auto& folder : found) {
      names.push_back({static_cast<std::uint32_t>(mine.names.size()),
                       static_cast<std::uint16_t>(folder.name.size())});
      mine.names += folder.name;
    }
    std::vector<std::uint64_t> known(found.size());
    match(names, mine.names, remembered.folders, remembered.names,
          [&](std::size_t i, const FsmapCache::Child& child) { known[i] = child.folder; });
    std::lock_guard lock(mutex_);
    for (std::size_t i = 0; i < found.size(); ++i) {
      const auto child = static_cast<std::uint32_t>(tree_.folders_.size());
      auto& folder = tree_.folders_.emplace_back();
      folder.parent = number;
      folder.name = names[i].name;
      folder.name_size = names[i].name_size;
      mine.folders.push_back(child);
      stack_.push_back({Task{fd, child, known[i]}, nullptr});
    }
    some_.notify_all();
  }

  /// Others may help with a folder of many files.
  void share(const std::shared_ptr<Files>& files) {
    const std::size_t helpers =
        std::min<std::size_t>(thread_count() - 1, files->order.size() / (2 * kFilesAtOnce));
    if (helpers == 0) return;
    files->users += static_cast<unsigned>(helpers);
    std::lock_guard lock(mutex_);
    for (std::size_t i = 0; i < helpers; ++i) stack_.push_back({{}, files});
    some_.notify_all();
  }

  // ---- files

  void take_files(Files& files, Hasher& hasher) {
    std::vector<std::uint32_t> gone;
    std::uint64_t taken = 0;
    for (;;) {
      const std::size_t begin = files.next.fetch_add(kFilesAtOnce);
      if (begin >= files.order.size()) break;
      const std::size_t end = std::min(begin + kFilesAtOnce, files.order.size());
      for (std::size_t i = begin; i < end; ++i) {
        if (stopped()) return failed(ECANCELED, "");
        const std::uint32_t number = files.order[i];
        const int number_error = take_file(files, number, hasher);
        if (number_error == ENOENT) {
          gone.push_back(number);
        } else if (number_error != 0) {
          failed(number_error, files.path + name_in(files, number));
          return;
        }
        ++files_;
      }
      taken += end - begin;
    }
    const std::uint64_t before = looked_at_.fetch_add(taken);
    if (before / kReleaseEach != (before + taken) / kReleaseEach) cache_.release();
    {
      std::lock_guard lock(files.mutex);
      files.gone.insert(files.gone.end(), gone.begin(), gone.end());
    }
    if (--files.users == 0) leave_out(files);
  }

  static std::string name_in(const Files& files, std::uint32_t number) {
    const FsmapFile& file = files.folder->files[number];
    return files.folder->names.substr(file.name, file.name_size);
  }

  /// 0, or ENOENT for what is not listed, or why there can be no map.
  int take_file(Files& files, std::uint32_t number, Hasher& hasher) {
    FsmapFile& file = files.folder->files[number];
    const std::string name = name_in(files, number);
    if (const FsmapFile* known = files.remembered[number];
        known != nullptr && known->settled == 1) {
      const auto seen = look(files.fd->get(), name.c_str(), 0);
      if (seen && S_ISREG(seen->mode) && !seen->mounted && unchanged(seen->facts, *known)) {
        take_facts(file, *known);
        file.digest = known->digest;
        return 0;
      }
    }
    const OpenFile open(open_here(files.fd->get(), name.c_str(), O_NONBLOCK | O_NOCTTY));
    if (open.get() < 0) return reason_of_open(errno);
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
      const int outcome = hash(files.path + name, open.get(), file, hasher);
      if (outcome != EAGAIN) return outcome;
    }
    return EBUSY;
  }

  int reason_of_open(int number) {
    if (number == EXDEV) ++mounts_;
    if (number == ELOOP) ++symlinks_;
    const bool not_listed = number == EXDEV || number == ELOOP || number == ENXIO;
    return not_listed ? ENOENT : number;
  }

  static void take_facts(FsmapFile& file, const FsmapFile& facts) {
    file.device = facts.device;
    file.inode = facts.inode;
    file.size = facts.size;
    file.mtime = facts.mtime;
    file.ctime = facts.ctime;
    file.settled = facts.settled;
  }

  /// EAGAIN: it changed while it was read.
  int hash(const std::string& path, int fd, FsmapFile& file, Hasher& hasher) {
    const std::int64_t now = wall_now();
    const auto before = look(fd, "", AT_EMPTY_PATH);
    if (!before) return errno;
    if (!S_ISREG(before->mode)) return ENOENT;
    hasher.buffer.resize(kReadStep);
    hasher.stream.update(as_bytes(path));
    std::uint64_t at = 0;
    while (at < before->facts.size) {
      if (stopped()) return ECANCELED;
      const ssize_t n =
          ::pread(fd, hasher.buffer.data(), hasher.buffer.size(), static_cast<off_t>(at));
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) {
        const int why = n < 0 ? errno : EAGAIN;
        (void)hasher.stream.finish();
        return why;
      }
      hasher.stream.update(ByteView(hasher.buffer).first(static_cast<std::size_t>(n)));
      at += static_cast<std::uint64_t>(n);
      bytes_ += static_cast<std::uint64_t>(n);
    }
    file.digest = hasher.stream.finish();
    const auto after = look(fd, "", AT_EMPTY_PATH);
    if (!after) return errno;
    if (at != before->facts.size || !unchanged(before->facts, after->facts)) return EAGAIN;
    take_facts(file, before->facts);
    file.settled = settled(file, now) ? 1 : 0;
    ++hashed_;
    return 0;
  }

  static void leave_out(Files& files) {
    std::sort(files.gone.begin(), files.gone.end(), std::greater<>());
    for (const auto number : files.gone) {
      files.folder->files.erase(files.folder->files.begin() + number);
    }
  }

  // ---- the end

  void finish() {
    auto& counts = tree_.counts_;
    counts.hashed = hashed_;
    counts.symlinks = symlinks_;
    counts.others = others_;
    counts.mounts = mounts_;
    tree_.finish();
    const bool same = counts.hashed == 0 && counts.files == cache_.files() && cache_.top() != 0;
    // A cache that cannot be written costs time alone.
    if (!options_.cache.empty() && !same) (void)write_fsmap_cache(options_.cache, tree_);
  }

  const FsmapOptions& options_;
  const int top_;
  FsmapCache cache_;
  std::mutex mutex_;
  std::condition_variable some_;
  std::condition_variable ended_;
  FsmapTree tree_;                // its list of folders: mutex_; a folder: who reads it
  std::vector<Work> stack_;       // mutex_
  std::size_t running_ = 0;       // mutex_
  bool done_ = false;             // mutex_
  std::optional<Error> failure_;  // mutex_
  std::atomic<std::uint64_t> files_{0};
  std::atomic<std::uint64_t> looked_at_{0};
  std::atomic<std::uint64_t> bytes_{0};
  std::atomic<std::uint64_t> hashed_{0};
  std::atomic<std::uint64_t> symlinks_{0};
  std::atomic<std::uint64_t> others_{0};
  std::atomic<std::uint64_t> mounts_{0};
};

Result<FsmapTree> walk_fsmap(int top, const FsmapOptions& options) {
  return FsmapWalk(top, options).run();
}

}  // namespace ebb::store
