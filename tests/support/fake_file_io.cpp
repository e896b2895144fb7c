#include "tests/support/fake_disk.h"

namespace ebb::test {

class FakeFileIo::Handle final : public File {
 public:
  Handle(Disk& disk, std::string path, std::shared_ptr<Inode> inode, bool writes)
      : disk_(disk),
        path_(std::move(path)),
        inode_(std::move(inode)),
        life_(disk.life),
        writes_(writes) {}

  Result<std::size_t> read_at(std::uint64_t offset, std::span<std::byte> out) const override {
    const std::lock_guard guard(disk_.mutex);
    if (auto alive = expect_alive(); !alive) return pass(alive.error());
    if (offset >= inode_->size) return std::size_t{0};
    const auto n =
        static_cast<std::size_t>(std::min<std::uint64_t>(out.size(), inode_->size - offset));
    inode_->read(offset, out.first(n));
    return n;
  }

  Result<> write_at(std::uint64_t offset, ByteView in) override {
    auto result = mutate([&](int error) -> Result<> {
      if (error != 0) {
        if (disk_.take(inode_->pages_new({offset, offset + in.size() / 2}))) {
          inode_->write(offset, in.first(in.size() / 2));
        }
        return fail_errno(error, path_);
      }
      if (inode_->region && offset + in.size() > kMapMax) return fail_errno(ENOSPC, path_);
      if (!disk_.take(inode_->pages_new({offset, offset + in.size()}))) {
        return fail_errno(ENOSPC, path_);
      }
      disk_.note_write(inode_, offset, in.size());
      inode_->write(offset, in);
      return {};
    });
    tell("write", offset, in.size());
    return result;
  }

  Result<std::uint64_t> size() const override {
    const std::lock_guard guard(disk_.mutex);
    if (auto alive = expect_alive(); !alive) return pass(alive.error());
    return inode_->size;
  }

  Result<> truncate(std::uint64_t size) override {
    auto result = mutate([&](int error) -> Result<> {
      if (error != 0) return fail_errno(error, path_);
      if (inode_->region && size > kMapMax) return fail_errno(EFBIG, path_);
      const auto before = inode_->used();
      inode_->cut(size);
      disk_.used = disk_.used + inode_->used() - before;
      return {};
    });
    tell("truncate", size, 0);
    return result;
  }

  Result<> allocate(std::uint64_t size) override {
    auto result = mutate([&](int error) -> Result<> {
      if (error != 0) return fail_errno(error, path_);
      if (inode_->region && size > kMapMax) return fail_errno(ENOSPC, path_);
      if (!disk_.take(inode_->pages_new({0, size}))) return fail_errno(ENOSPC, path_);
      if (!inode_->region) {
        for (std::uint64_t n = 0; n * kPage < size; ++n) {
          if (auto& page = inode_->pages[n]; !page) page = copy_of(nullptr);
        }
      }
      inode_->size = std::max(inode_->size, size);
      return {};
    });
    tell("allocate", size, 0);
    return result;
  }

  Result<> punch(Range range) override {
    auto result = mutate([&](int error) -> Result<> {
      if (error != 0) return fail_errno(error, path_);
      range.end = std::min(range.end, (inode_->size + kPage - 1) / kPage * kPage);
      const auto before = inode_->used();
      inode_->zero(range);
      disk_.used = disk_.used + inode_->used() - before;
      return {};
    });
    tell("punch", range.begin, range.size());
    return result;
  }

  Result<> sync() override {
    auto result = mutate([&](int error) -> Result<> {
      if (error != 0) {
        inode_->dirty.clear();  // as a kernel does: the pages are clean now, and not on disk
        return fail_errno(error, path_);
      }
      inode_->sync();
      if (disk_.last.inode == inode_) disk_.last = {};
      return {};
    });
    tell("sync", 0, 0);
    return result;
  }

  Result<std::span<std::byte>> map(std::uint64_t size) override {
    const std::lock_guard guard(disk_.mutex);
    if (auto alive = expect_alive(); !alive) return pass(alive.error());
    if (size > kMapMax) return fail_errno(ENOMEM, path_);
    if (!inode_->region) {
      auto region = std::make_unique<Region>();
      for (const auto& [n, page] : inode_->pages) {
        std::memcpy(region->data() + n * kPage, page->data(), kPage);
      }
      inode_->region = std::move(region);
      inode_->mapped = true;
      inode_->pages.clear();
      inode_->dirty.clear();
      disk_.count_used();
    }
    return std::span(inode_->region->data(), static_cast<std::size_t>(size));
  }

  int fd() const override { return -1; }

 private:
  Result<> expect_alive() const {
    if (life_ != disk_.life) return fail_errno(EIO, path_ + ": of a process that is gone");
    return {};
  }

  template <class Change>
  Result<> mutate(Change change) {
    const std::lock_guard guard(disk_.mutex);
    if (auto alive = expect_alive(); !alive) return alive;
    if (!writes_) return fail_errno(EBADF, path_);
    return change(disk_.count());
  }

  void tell(const char* what, std::uint64_t offset, std::uint64_t size) {
    if (!disk_.watch) return;
    disk_.tell(fmt::format("{} {} {}+{}", what, path_, offset, size));
  }

  Disk& disk_;
  const std::string path_;
  const std::shared_ptr<Inode> inode_;
  const std::uint64_t life_;
  const bool writes_;
};

FakeFileIo::FakeFileIo() : disk_(std::make_unique<Disk>()) {}
FakeFileIo::~FakeFileIo() = default;

Result<std::unique_ptr<File>> FakeFileIo::open(const std::string& path, OpenMode mode) {
  bool made = false;
  std::unique_ptr<File> file;
  {
    const std::lock_guard guard(disk_->mutex);
    if (disk_->folders.count(path) > 0) return fail_errno(EISDIR, path);
    auto it = disk_->names.find(path);
    const bool there = it != disk_->names.end();
    if (there && mode == OpenMode::create_new) return fail_errno(EEXIST, path);
    if (!there) {
      if (mode == OpenMode::read || mode == OpenMode::write) return fail_errno(ENOENT, path);
      if (disk_->folders.count(folder_of(path)) == 0) return fail_errno(ENOENT, path);
      if (const int error = disk_->count(); error != 0) return fail_errno(error, path);
      it = disk_->names.emplace(path, std::make_shared<Inode>()).first;
      made = true;
    }
    file = std::make_unique<Handle>(*disk_, path, it->second, mode != OpenMode::read);
  }
  if (made) disk_->tell("create " + path);
  return file;
}

Result<> FakeFileIo::make_folder(const std::string& path) {
  if (path.empty() || path == "/") {
    const std::lock_guard guard(disk_->mutex);
    disk_->folders.insert(path);
    disk_->synced_folders.insert(path);
    return {};
  }
  if (auto above = make_folder(folder_of(path)); !above) return above;
  {
    const std::lock_guard guard(disk_->mutex);
    if (disk_->folders.count(path) > 0) return {};
    if (disk_->names.count(path) > 0) return fail_errno(ENOTDIR, path);
    if (const int error = disk_->count(); error != 0) return fail_errno(error, path);
    disk_->folders.insert(path);
  }
  disk_->tell("make_folder " + path);
  return {};
}

Result<std::vector<std::string>> FakeFileIo::list(const std::string& folder) {
  const std::lock_guard guard(disk_->mutex);
  if (disk_->folders.count(folder) == 0) return fail_errno(ENOENT, folder);
  const std::string prefix = folder == "/" ? folder : folder + "/";
  std::set<std::string> names;
  const auto add = [&](const std::string& path) {
    if (path.size() > prefix.size() && path.compare(0, prefix.size(), prefix) == 0 &&
        path.find('/', prefix.size()) == std::string::npos) {
      names.insert(path.substr(prefix.size()));
    }
  };
  for (const auto& [path, inode] : disk_->names) add(path);
  for (const auto& path : disk_->folders) add(path);
  return std::vector<std::string>(names.begin(), names.end());
}

Result<> FakeFileIo::rename(const std::string& from, const std::string& to) {
  {
    const std::lock_guard guard(disk_->mutex);
    const auto it = disk_->names.find(from);
    if (it == disk_->names.end()) return fail_errno(ENOENT, from);
    if (disk_->folders.count(folder_of(to)) == 0) return fail_errno(ENOENT, to);
    if (disk_->folders.count(to) > 0) return fail_errno(EISDIR, to);
    if (const int error = disk_->count(); error != 0) return fail_errno(error, from);
    auto inode = it->second;
    if (from != to) {
      disk_->names.erase(it);
      disk_->names[to] = std::move(inode);
    }
    disk_->count_used();
  }
  disk_->tell("rename " + from + " " + to);
  return {};
}

Result<> FakeFileIo::remove(const std::string& path) {
  {
    const std::lock_guard guard(disk_->mutex);
    const auto it = disk_->names.find(path);
    if (it == disk_->names.end()) return fail_errno(ENOENT, path);
    if (const int error = disk_->count(); error != 0) return fail_errno(error, path);
    disk_->used -= std::min(disk_->used, it->second->used());
    disk_->names.erase(it);
  }
  disk_->tell("remove " + path);
  return {};
}

Result<bool> FakeFileIo::exists(const std::string& path) {
  const std::lock_guard guard(disk_->mutex);
  return disk_->names.count(path) > 0 || disk_->folders.count(path) > 0;
}

Result<> FakeFileIo::sync_folder(const std::string& folder) {
  {
    const std::lock_guard guard(disk_->mutex);
    if (disk_->folders.count(folder) == 0) return fail_errno(ENOENT, folder);
    if (const int error = disk_->count(); error != 0) return fail_errno(error, folder);
    auto& synced = disk_->synced_names;
    for (auto it = synced.begin(); it != synced.end();) {
      const bool gone = folder_of(it->first) == folder && disk_->names.count(it->first) == 0;
      it = gone ? synced.erase(it) : std::next(it);
    }
    for (const auto& [path, inode] : disk_->names) {
      if (folder_of(path) == folder) synced[path] = inode;
    }
    // A filesystem that syncs a folder has its own name on disk, too.
    for (auto path = folder; !path.empty() && path != "/"; path = folder_of(path)) {
      disk_->synced_folders.insert(path);
    }
    for (const auto& path : disk_->folders) {
      if (folder_of(path) == folder) disk_->synced_folders.insert(path);
    }
  }
  disk_->tell("sync_folder " + folder);
  return {};
}

Result<> FakeFileIo::sync_all(const std::string& folder) {
  {
    const std::lock_guard guard(disk_->mutex);
    if (const int error = disk_->count(); error != 0) return fail_errno(error, folder);
    for (const auto& [path, inode] : disk_->names) inode->sync();
    disk_->last = {};
    disk_->synced_names = disk_->names;
    disk_->synced_folders = disk_->folders;
  }
  disk_->tell("sync_all");
  return {};
}

Result<std::shared_ptr<void>> FakeFileIo::lock(const std::string& path, const std::string& holder) {
  const std::lock_guard guard(disk_->mutex);
  if (disk_->folders.count(folder_of(path)) == 0) return fail_errno(ENOENT, path);
  const auto [it, taken] = disk_->locks.try_emplace(path, Disk::Lock{disk_->life, holder});
  if (!taken) return fail_errno(EBUSY, path + ": held by process 1 (" + it->second.holder + ")");
  auto* disk = disk_.get();
  const auto life = disk->life;
  return std::shared_ptr<void>(disk, [disk, path, life](void*) {
    const std::lock_guard inner(disk->mutex);
    const auto held = disk->locks.find(path);
    if (held != disk->locks.end() && held->second.life == life) disk->locks.erase(held);
  });
}

std::string FakeFileIo::boot_id() {
  const std::lock_guard guard(disk_->mutex);
  return fmt::format("boot {}", disk_->boot);
}

Result<std::uint64_t> FakeFileIo::free_space(const std::string& /*folder*/) {
  const std::lock_guard guard(disk_->mutex);
  return disk_->capacity > disk_->used ? disk_->capacity - disk_->used : 0;
}

void FakeFileIo::fail_nth(std::uint64_t n, int error, bool for_good) {
  const std::lock_guard guard(disk_->mutex);
  disk_->fail_at = disk_->mutations + n;
  disk_->fail_errno_value = error;
  disk_->fail_for_good = for_good;
  disk_->fired = false;
}

void FakeFileIo::clear_faults() {
  const std::lock_guard guard(disk_->mutex);
  disk_->fail_at = std::numeric_limits<std::uint64_t>::max();
  disk_->fail_for_good = false;
}

bool FakeFileIo::fault_fired() const {
  const std::lock_guard guard(disk_->mutex);
  return disk_->fired;
}

void FakeFileIo::set_capacity(std::uint64_t bytes) {
  const std::lock_guard guard(disk_->mutex);
  disk_->capacity = bytes;
}

std::uint64_t FakeFileIo::used() const {
  const std::lock_guard guard(disk_->mutex);
  return disk_->used;
}

void FakeFileIo::kill_process() {
  const std::lock_guard guard(disk_->mutex);
  disk_->begin_life();
}

void FakeFileIo::crash(std::uint64_t seed, Crash mode) {
  const std::lock_guard guard(disk_->mutex);
  std::mt19937_64 random(seed);
  if (mode == Crash::tear_last) disk_->tear_last_write(random);
  std::map<const Inode*, std::shared_ptr<Inode>> fates;
  const auto fate = [&](const std::shared_ptr<Inode>& inode) {
    auto& after = fates[inode.get()];
    if (!after) after = inode->after_crash(random, mode);
    return after;
  };
  std::set<std::string> paths;
  for (const auto& [path, inode] : disk_->names) paths.insert(path);
  for (const auto& [path, inode] : disk_->synced_names) paths.insert(path);
  std::map<std::string, std::shared_ptr<Inode>> names;
  for (const auto& path : paths) {
    const auto now = disk_->names.find(path);
    const auto old = disk_->synced_names.find(path);
    bool take_new = mode != Crash::lose_unsynced && mode != Crash::keep_mapped;
    if (mode == Crash::torn) take_new = random() % 2 == 0;
    if (take_new ? now != disk_->names.end() : old != disk_->synced_names.end()) {
      names[path] = fate(take_new ? now->second : old->second);
    }
  }
  if (mode == Crash::lose_unsynced) disk_->folders = disk_->synced_folders;
  for (const auto& [path, inode] : names) {
    for (auto above = folder_of(path); !above.empty(); above = folder_of(above)) {
      disk_->folders.insert(above);
      if (above == "/") break;
    }
  }
  disk_->names = names;
  disk_->synced_names = std::move(names);
  disk_->synced_folders = disk_->folders;
  ++disk_->boot;
  disk_->begin_life();
}

std::unique_ptr<FakeFileIo> FakeFileIo::clone() const {
  const std::lock_guard guard(disk_->mutex);
  auto copy = std::make_unique<FakeFileIo>();
  std::map<const Inode*, std::shared_ptr<Inode>> twins;
  const auto twin = [&](const std::shared_ptr<Inode>& inode) {
    auto& other = twins[inode.get()];
    if (!other) other = inode->clone();
    return other;
  };
  auto& disk = *copy->disk_;
  for (const auto& [path, inode] : disk_->names) disk.names[path] = twin(inode);
  for (const auto& [path, inode] : disk_->synced_names) disk.synced_names[path] = twin(inode);
  disk.folders = disk_->folders;
  disk.synced_folders = disk_->synced_folders;
  if (const auto& last = disk_->last; last.inode) {
    disk.last = last;
    disk.last.inode = twin(last.inode);
  }
  disk.boot = disk_->boot;
  disk.capacity = disk_->capacity;
  disk.count_used();
  return copy;
}

void FakeFileIo::watch(Watch watch) {
  const std::lock_guard guard(disk_->mutex);
  disk_->watch = std::move(watch);
}

std::uint64_t FakeFileIo::mutations() const {
  const std::lock_guard guard(disk_->mutex);
  return disk_->mutations;
}

Bytes FakeFileIo::content(const std::string& path) const {
  const std::lock_guard guard(disk_->mutex);
  const auto it = disk_->names.find(path);
  if (it == disk_->names.end()) return {};
  Bytes out(static_cast<std::size_t>(it->second->size));
  it->second->read(0, out);
  return out;
}

void FakeFileIo::set_content(const std::string& path, ByteView bytes) {
  const std::lock_guard guard(disk_->mutex);
  auto inode = std::make_shared<Inode>();
  inode->write(0, bytes);
  inode->sync();
  for (auto above = folder_of(path); !above.empty(); above = folder_of(above)) {
    disk_->folders.insert(above);
    disk_->synced_folders.insert(above);
    if (above == "/") break;
  }
  disk_->names[path] = inode;
  disk_->synced_names[path] = std::move(inode);
  disk_->count_used();
}

std::vector<std::string> FakeFileIo::files() const {
  const std::lock_guard guard(disk_->mutex);
  std::vector<std::string> out;
  for (const auto& [path, inode] : disk_->names) out.push_back(path);
  return out;
}

}  // namespace ebb::test
