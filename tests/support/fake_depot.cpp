#include "tests/support/fake_depot.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "base/conflict_name.h"
#include "proto/errors.h"

namespace ebb::test {

using proto::EntryKind;
using server::Facts;
using server::FolderRead;
using server::FolderRef;
using server::Identity;
using server::Landed;
using server::Spot;

namespace {

constexpr std::uint64_t kRoot = 1;
constexpr std::uint64_t kStaging = 2;
constexpr std::uint64_t kHistory = 3;

std::string numbered(std::uint64_t number) {
  return fmt::format("{:016x}", number);
}

tl::unexpected<Error> moved_on(const std::string& what) {
  return fail(proto::Errc::moved_on, what);
}

}  // namespace

class FakeServedFile final : public server::DepotFile {
 public:
  FakeServedFile(FakeDepot& depot, std::uint64_t ino) : depot_(depot), ino_(ino) {}

  Result<std::size_t> read_at(std::uint64_t offset, std::span<std::byte> out) override {
    std::size_t size = 0;
    {
      std::unique_lock lock(depot_.mutex_);
      if (auto ok = depot_.call(false); !ok) return pass(ok.error());
      const auto& data = depot_.now_.inodes[ino_].data;
      if (offset < data.size()) size = std::min<std::size_t>(out.size(), data.size() - offset);
      if (size != 0) std::memcpy(out.data(), data.data() + offset, size);
    }
    if (depot_.after_read) depot_.after_read();
    return size;
  }
  Result<Facts> facts() override {
    std::unique_lock lock(depot_.mutex_);
    return depot_.facts(ino_);
  }
  std::uint64_t ino() const { return ino_; }

 private:
  FakeDepot& depot_;
  std::uint64_t ino_;
};

class FakeStagedFile final : public server::StagedFile {
 public:
  FakeStagedFile(FakeDepot& depot, std::uint64_t ino) : depot_(depot), ino_(ino) {}

  Result<> write_at(std::uint64_t offset, ByteView in) override {
    std::unique_lock lock(depot_.mutex_);
    if (auto ok = depot_.call(true); !ok) return ok;
    auto& inode = depot_.now_.inodes[ino_];
    if (inode.data.size() < offset + in.size()) inode.data.resize(offset + in.size());
    std::copy(in.begin(), in.end(), inode.data.begin() + static_cast<std::ptrdiff_t>(offset));
    touch(inode);
    return {};
  }
  Result<std::size_t> read_at(std::uint64_t offset, std::span<std::byte> out) override {
    return FakeServedFile(depot_, ino_).read_at(offset, out);
  }
  Result<> copy_from(server::DepotFile& file, Range range, std::uint64_t at) override {
    Bytes bytes(range.size());
    auto n = file.read_at(range.begin, bytes);
    if (!n) return pass(n.error());
    return write_at(at, ByteView(bytes).first(*n));
  }
  Result<> resize(std::uint64_t size) override {
    std::unique_lock lock(depot_.mutex_);
    if (auto ok = depot_.call(true); !ok) return ok;
    auto& inode = depot_.now_.inodes[ino_];
    inode.data.resize(size);
    touch(inode);
    return {};
  }
  Result<> inherit(server::DepotFile& file) override {
    auto& from = dynamic_cast<FakeServedFile&>(file);
    std::unique_lock lock(depot_.mutex_);
    if (auto ok = depot_.call(true); !ok) return ok;
    const auto attributes = depot_.now_.inodes[from.ino()].attributes;
    depot_.set(ino_, proto::kMode | proto::kOwner | proto::kXattrs, attributes);
    return {};
  }
  Result<> set_attributes(std::uint8_t bits, const proto::Attributes& attributes) override {
    std::unique_lock lock(depot_.mutex_);
    if (auto ok = depot_.call(true); !ok) return ok;
    depot_.set(ino_, bits, attributes);
    return {};
  }
  Result<> sync() override {
    std::unique_lock lock(depot_.mutex_);
    if (auto ok = depot_.call(true); !ok) return ok;
    depot_.flush();
    depot_.sync_data(ino_);
    return {};
  }
  Result<Facts> facts() override {
    std::unique_lock lock(depot_.mutex_);
    return depot_.facts(ino_);
  }

 private:
  template <class Inode>
  void touch(Inode& inode) {
    inode.attributes.mtime = inode.ctime = ++depot_.tick_;
    depot_.dirty_.insert(ino_);
  }

  FakeDepot& depot_;
  std::uint64_t ino_;
};

FakeDepot::FakeDepot() {
  for (auto ino : {kRoot, kStaging, kHistory}) {
    Inode folder;
    folder.kind = EntryKind::folder;
    folder.attributes.mode = 0755;
    now_.inodes[ino] = folder;
  }
  disk_ = now_;
}

// ---- trouble

Result<> FakeDepot::call(bool changes) {
  ++calls_;
  if (changes) ++changes_;
  if (fail_at_ != 0 && calls_ == fail_at_) {
    fault_fired_ = true;
    fail_at_ = 0;
    return fail_errno(fail_error_, "armed fault");
  }
  if (die_at_ != 0 && changes && changes_ >= die_at_) {
    fault_fired_ = true;
    return fail_errno(EIO, "the process is dead");
  }
  return {};
}

void FakeDepot::fail_nth(std::uint64_t n, int error) {
  std::unique_lock lock(mutex_);
  fail_at_ = calls_ + n;
  fail_error_ = error;
  fault_fired_ = false;
}

void FakeDepot::die_at(std::uint64_t n) {
  std::unique_lock lock(mutex_);
  die_at_ = changes_ + n;
  fault_fired_ = false;
}

void FakeDepot::clear_faults() {
  std::unique_lock lock(mutex_);
  fail_at_ = 0;
  die_at_ = 0;
  fault_fired_ = false;
}

void FakeDepot::crash(std::uint64_t seed) {
  clear_faults();
  std::unique_lock lock(mutex_);
  std::mt19937_64 random(seed);
  const std::size_t stays = unsynced_.empty() ? 0 : random() % (unsynced_.size() + 1);
  for (std::size_t i = 0; i < stays; ++i) unsynced_[i](disk_);
  for (auto ino : dirty_) {
    auto old = disk_.inodes.find(ino);
    if (old == disk_.inodes.end()) continue;
    const auto& written = now_.inodes[ino].data;
    switch (random() % 3) {
      case 0:
        break;
      case 1:
        old->second.data = written;
        break;
      default: {
        const std::size_t part = written.empty() ? 0 : random() % written.size();
        old->second.data.resize(written.size());
        std::copy_n(written.begin(), part, old->second.data.begin());
      }
    }
  }
  unsynced_.clear();
  dirty_.clear();
  now_ = disk_;
}

// ---- the two trees

void FakeDepot::step(Step step) {
  step(now_);
  unsynced_.push_back(std::move(step));
}

void FakeDepot::flush() {
  for (auto& step : unsynced_) step(disk_);
  unsynced_.clear();
}

void FakeDepot::sync_data(Ino ino) {
  auto& to = disk_.inodes[ino];
  const auto& from = now_.inodes[ino];
  to.data = from.data;
  to.attributes = from.attributes;
  to.ctime = from.ctime;
  dirty_.erase(ino);
}

void FakeDepot::outside(Step step) {
  flush();
  step(now_);
  step(disk_);
}

FakeDepot::Where FakeDepot::at(const std::string& path) const {
  Where where{kRoot, "", kRoot};
  std::size_t begin = 0;
  while (begin < path.size()) {
    const auto end = std::min(path.find('/', begin), path.size());
    where.folder = where.ino;
    where.name = path.substr(begin, end - begin);
    where.ino = 0;
    if (auto folder = now_.inodes.find(where.folder); folder != now_.inodes.end()) {
      if (auto it = folder->second.names.find(where.name); it != folder->second.names.end()) {
        where.ino = it->second;
      }
    }
    begin = end + 1;
  }
  return where;
}

Result<FakeDepot::Where> FakeDepot::resolve(const Spot& spot) const {
  if (auto ok = server::check_spot(spot); !ok) return pass(ok.error());
  const auto folder = at(spot.folder.path);
  auto inode = now_.inodes.find(folder.ino);
  if (folder.ino == 0 || inode == now_.inodes.end()) return fail_errno(ENOENT, spot.folder.path);
  if (inode->second.kind != EntryKind::folder) return fail_errno(ENOTDIR, spot.folder.path);
  if (!spot.folder.identity.empty() && facts(folder.ino).identity != spot.folder.identity) {
    return fail_errno(ENOENT, spot.folder.path);
  }
  if (spot.name.empty()) return folder;
  const auto name = inode->second.names.find(spot.name);
  return Where{folder.ino, spot.name, name == inode->second.names.end() ? 0 : name->second};
}

Facts FakeDepot::facts(Ino ino) const {
  Facts out;
  const auto it = now_.inodes.find(ino);
  if (it == now_.inodes.end()) return out;
  const auto& inode = it->second;
  out.kind = inode.kind;
  out.identity = fmt::format("H{}", ino);
  out.size = inode.kind == EntryKind::symlink ? inode.target.size() : inode.data.size();
  out.links = inode.kind == EntryKind::folder ? 1 : links(ino);
  out.ctime = inode.ctime;
  out.allocated = out.size;
  out.attributes = inode.attributes;
  out.target = inode.target;
  return out;
}

std::uint32_t FakeDepot::links(Ino ino) const {
  std::uint32_t count = 0;
  for (const auto& [number, inode] : now_.inodes) {
    for (const auto& [name, target] : inode.names) count += target == ino ? 1 : 0;
  }
  return count;
}

FakeDepot::Ino FakeDepot::make(EntryKind kind) {
  const Ino ino = next_ino_++;
  const WallNs when = ++tick_;
  step([=](Tree& tree) {
    Inode inode;
    inode.kind = kind;
    inode.ctime = when;
    inode.attributes.mtime = when;
    inode.attributes.mode = kind == EntryKind::folder ? 0755
                            : kind == EntryKind::file ? 0644
                                                      : 0777;
    tree.inodes[ino] = inode;
  });
  return ino;
}

void FakeDepot::set(Ino ino, std::uint8_t bits, const proto::Attributes& attributes) {
  const WallNs when = ++tick_;
  step([=, owners = owners_](Tree& tree) {
    auto& inode = tree.inodes[ino];
    if (bits & proto::kMode) inode.attributes.mode = attributes.mode;
    if (bits & proto::kMtime) inode.attributes.mtime = attributes.mtime;
    if ((bits & proto::kOwner) && owners) {
      inode.attributes.uid = attributes.uid;
      inode.attributes.gid = attributes.gid;
    }
    if (bits & proto::kXattrs) inode.attributes.xattrs = attributes.xattrs;
    inode.ctime = when;
  });
}

void FakeDepot::bind(Ino folder, const std::string& name, Ino ino) {
  const WallNs when = ++tick_;
  step([=](Tree& tree) {
    auto& names = tree.inodes[folder].names;
    if (auto it = names.find(name); it != names.end()) tree.inodes[it->second].ctime = when;
    if (ino == 0) {
      names.erase(name);
    } else {
      names[name] = ino;
      tree.inodes[ino].ctime = when;
    }
    tree.inodes[folder].attributes.mtime = tree.inodes[folder].ctime = when;
  });
}

void FakeDepot::swap(Ino folder_a, const std::string& a, Ino folder_b, const std::string& b) {
  const WallNs when = ++tick_;
  step([=](Tree& tree) {
    auto& one = tree.inodes[folder_a].names[a];
    auto& two = tree.inodes[folder_b].names[b];
    std::swap(one, two);
    tree.inodes[one].ctime = tree.inodes[two].ctime = when;
    for (auto folder : {folder_a, folder_b}) {
      tree.inodes[folder].attributes.mtime = tree.inodes[folder].ctime = when;
    }
  });
}

void FakeDepot::window(std::unique_lock<std::mutex>& lock) {
  if (!in_window) return;
  lock.unlock();
  in_window();
  lock.lock();
}

bool FakeDepot::reaches(Ino from, Ino folder) const {
  if (from == folder) return true;
  const auto it = now_.inodes.find(from);
  if (it == now_.inodes.end()) return false;
  return std::any_of(it->second.names.begin(), it->second.names.end(),
                     [&](const auto& name) { return reaches(name.second, folder); });
}

// ---- reading

Result<FolderRead> FakeDepot::read_folder(const FolderRef& folder) {
  std::unique_lock lock(mutex_);
  if (auto ok = call(false); !ok) return pass(ok.error());
  auto where = resolve({folder, ""});
  if (!where) return pass(where.error());
  FolderRead out;
  out.self = facts(where->ino);
  for (const auto& [name, ino] : now_.inodes.at(where->ino).names) {
    out.entries.push_back({name, facts(ino)});
  }
  return out;
}

Result<Facts> FakeDepot::stat(const Spot& spot) {
  std::unique_lock lock(mutex_);
  if (auto ok = call(false); !ok) return pass(ok.error());
  auto where = resolve(spot);
  if (!where) return pass(where.error());
  if (where->ino == 0) return fail_errno(ENOENT, spot.name);
  return facts(where->ino);
}

Result<std::unique_ptr<server::DepotFile>> FakeDepot::open(const Spot& spot) {
  std::unique_lock lock(mutex_);
  if (auto ok = call(false); !ok) return pass(ok.error());
  auto where = resolve(spot);
  if (!where) return pass(where.error());
  if (where->ino == 0) return fail_errno(ENOENT, spot.name);
  if (now_.inodes.at(where->ino).kind != EntryKind::file) {
    return fail(proto::Errc::not_regular, spot.name);
  }
  return std::make_unique<FakeServedFile>(*this, where->ino);
}

// ---- staging

Result<std::unique_ptr<server::StagedFile>> FakeDepot::stage_file(std::uint64_t number) {
  auto made = stage(number, EntryKind::file, "", 0, {});
  if (!made) return pass(made.error());
  std::unique_lock lock(mutex_);
  return std::make_unique<FakeStagedFile>(*this,
                                          now_.inodes.at(kStaging).names.at(numbered(number)));
}

Result<Facts> FakeDepot::stage(std::uint64_t number, EntryKind kind, const std::string& target,
                               std::uint8_t bits, const proto::Attributes& attributes) {
  std::unique_lock lock(mutex_);
  if (auto ok = call(true); !ok) return pass(ok.error());
  if (now_.inodes.at(kStaging).names.count(numbered(number)) != 0) {
    return fail_errno(EEXIST, numbered(number));
  }
  const Ino ino = make(kind);
  if (!target.empty()) step([=](Tree& tree) { tree.inodes[ino].target = target; });
  if (bits != 0) set(ino, bits, attributes);
  bind(kStaging, numbered(number), ino);
  return facts(ino);
}

Result<Facts> FakeDepot::stage_folder(std::uint64_t number, std::uint8_t bits,
                                      const proto::Attributes& attributes) {
  return stage(number, EntryKind::folder, "", bits, attributes);
}

Result<Facts> FakeDepot::stage_symlink(std::uint64_t number, const std::string& target,
                                       std::uint8_t bits, const proto::Attributes& attributes) {
  return stage(number, EntryKind::symlink, target, bits, attributes);
}

Result<Facts> FakeDepot::staged(std::uint64_t number) {
  std::unique_lock lock(mutex_);
  if (auto ok = call(false); !ok) return pass(ok.error());
  const auto& names = now_.inodes.at(kStaging).names;
  const auto it = names.find(numbered(number));
  if (it == names.end()) return fail_errno(ENOENT, numbered(number));
  return facts(it->second);
}

Result<> FakeDepot::unstage(std::uint64_t number) {
  std::unique_lock lock(mutex_);
  if (auto ok = call(true); !ok) return ok;
  if (now_.inodes.at(kStaging).names.count(numbered(number)) != 0) {
    bind(kStaging, numbered(number), 0);
  }
  return {};
}

Result<std::vector<std::uint64_t>> FakeDepot::list_staged() {
  std::unique_lock lock(mutex_);
  if (auto ok = call(false); !ok) return pass(ok.error());
  std::vector<std::uint64_t> out;
  for (const auto& [name, ino] : now_.inodes.at(kStaging).names) {
    out.push_back(std::stoull(name, nullptr, 16));
  }
  return out;
}

// ---- history

Result<std::unique_ptr<server::DepotFile>> FakeDepot::open_kept(const std::string& name) {
  std::unique_lock lock(mutex_);
  if (auto ok = call(false); !ok) return pass(ok.error());
  const auto& names = now_.inodes.at(kHistory).names;
  const auto it = names.find(name);
  if (it == names.end()) return fail_errno(ENOENT, name);
  return std::make_unique<FakeServedFile>(*this, it->second);
}

// ---- landing

Result<Landed> FakeDepot::land_new(std::uint64_t number, const Spot& spot) {
  std::unique_lock lock(mutex_);
  if (auto ok = call(true); !ok) return pass(ok.error());
  auto where = resolve(spot);
  if (!where) return pass(where.error());
  if (where->ino != 0) return fail_errno(EEXIST, spot.name);
  const auto& names = now_.inodes.at(kStaging).names;
  const auto it = names.find(numbered(number));
  if (it == names.end()) return fail_errno(ENOENT, numbered(number));
  const Ino ino = it->second;
  const WallNs when = ++tick_;
  step([=, folder = where->folder](Tree& tree) {
    tree.inodes[folder].names[spot.name] = ino;
    tree.inodes[kStaging].names.erase(numbered(number));
    tree.inodes[ino].ctime = tree.inodes[folder].ctime = when;
    tree.inodes[folder].attributes.mtime = when;
  });
  Landed landed;
  landed.after = facts(ino);
  return landed;
}

/// What an exchange brought into staging: history, or beside the name when it is not what was seen.
Result<> FakeDepot::settle_out(std::uint64_t number, const Facts& before, const Where& beside,
                               std::uint64_t history, Landed& landed) {
  const Ino out = now_.inodes.at(kStaging).names.at(numbered(number));
  if (auto ok = call(true); !ok) return ok;
  if (server::same_content(facts(out), before)) {
    bind(kHistory, numbered(history), out);
    landed.kept = true;
    landed.kept_as = numbered(history);
    landed.kept_bytes = facts(out).allocated;
  } else {
    landed.conflict_name = conflict_name(beside.name, "server", tick_, 1);
    bind(beside.folder, landed.conflict_name, out);
  }
  bind(kStaging, numbered(number), 0);
  return {};
}

Result<Landed> FakeDepot::land_over(std::uint64_t number, const Spot& spot, const Facts& seen,
                                    std::uint64_t history) {
  std::unique_lock lock(mutex_);
  if (auto ok = call(true); !ok) return pass(ok.error());
  auto where = resolve(spot);
  if (!where) return pass(where.error());
  if (where->ino == 0) return moved_on(spot.name);
  Landed landed;
  landed.before = facts(where->ino);
  if (!server::untouched(landed.before, seen)) return moved_on(spot.name);
  window(lock);
  where = resolve(spot);
  if (!where || where->ino == 0) return moved_on(spot.name);
  const Ino ino = now_.inodes.at(kStaging).names.at(numbered(number));
  swap(kStaging, numbered(number), where->folder, spot.name);
  landed.after = facts(ino);
  if (auto ok = settle_out(number, landed.before, *where, history, landed); !ok) {
    return pass(ok.error());
  }
  return landed;
}

Result<Landed> FakeDepot::land_link(const Spot& landed_at, const Spot& other, const Facts& seen,
                                    std::uint64_t number, std::uint64_t history) {
  std::unique_lock lock(mutex_);
  if (auto ok = call(true); !ok) return pass(ok.error());
  auto from = resolve(landed_at);
  auto to = resolve(other);
  if (!from) return pass(from.error());
  if (!to) return pass(to.error());
  if (from->ino == 0 || to->ino == 0) return moved_on(other.name);
  Landed landed;
  landed.before = facts(to->ino);
  landed.after = facts(from->ino);
  if (from->ino == to->ino) return landed;
  if (!server::same_content(landed.before, seen)) return moved_on(other.name);
  bind(kStaging, numbered(number), from->ino);
  swap(kStaging, numbered(number), to->folder, other.name);
  landed.after = facts(from->ino);
  if (auto ok = settle_out(number, landed.before, *to, history, landed); !ok) {
    return pass(ok.error());
  }
  return landed;
}

// ---- names

Result<Landed> FakeDepot::link(const Spot& from, const Identity& identity, const Spot& to) {
  std::unique_lock lock(mutex_);
  if (auto ok = call(true); !ok) return pass(ok.error());
  auto old = resolve(from);
  if (!old) return pass(old.error());
  auto where = resolve(to);
  if (!where) return pass(where.error());
  Landed landed;
  landed.before = facts(old->ino);
  if (old->ino == 0 || landed.before.identity != identity) return fail_errno(ENOENT, from.name);
  if (where->ino != 0) return fail_errno(EEXIST, to.name);
  bind(where->folder, to.name, old->ino);
  landed.after = facts(old->ino);
  return landed;
}

Result<Landed> FakeDepot::rename(const Spot& from, const Identity& identity, const Spot& to) {
  std::unique_lock lock(mutex_);
  if (auto ok = call(true); !ok) return pass(ok.error());
  auto old = resolve(from);
  if (!old) return pass(old.error());
  auto where = resolve(to);
  if (!where) return pass(where.error());
  Landed landed;
  landed.before = facts(old->ino);
  if (old->ino == 0 || landed.before.identity != identity) return fail_errno(ENOENT, from.name);
  if (where->ino != 0) return fail_errno(EEXIST, to.name);
  if (reaches(old->ino, where->folder)) return fail_errno(EINVAL, to.name);
  const WallNs when = ++tick_;
  step([=, a = *old, b = *where](Tree& tree) {
    tree.inodes[a.folder].names.erase(a.name);
    tree.inodes[b.folder].names[b.name] = a.ino;
    for (auto ino : {a.ino, a.folder, b.folder}) tree.inodes[ino].ctime = when;
    for (auto ino : {a.folder, b.folder}) tree.inodes[ino].attributes.mtime = when;
  });
  landed.after = facts(old->ino);
  return landed;
}

Result<Landed> FakeDepot::exchange(const Spot& a, const Identity& identity, const Spot& b,
                                   const Identity& other) {
  std::unique_lock lock(mutex_);
  if (auto ok = call(true); !ok) return pass(ok.error());
  auto one = resolve(a);
  if (!one) return pass(one.error());
  auto two = resolve(b);
  if (!two) return pass(two.error());
  if (one->ino == 0 || facts(one->ino).identity != identity) return fail_errno(ENOENT, a.name);
  if (two->ino == 0 || facts(two->ino).identity != other) return fail_errno(ENOENT, b.name);
  if (reaches(one->ino, two->folder) || reaches(two->ino, one->folder)) {
    return fail_errno(EINVAL, a.name);
  }
  Landed landed;
  landed.before = facts(one->ino);
  swap(one->folder, a.name, two->folder, b.name);
  landed.after = facts(one->ino);
  landed.other = facts(two->ino);
  return landed;
}

Result<Landed> FakeDepot::remove(const Spot& spot, const Facts& seen, std::uint64_t history) {
  std::unique_lock lock(mutex_);
  if (auto ok = call(true); !ok) return pass(ok.error());
  auto where = resolve(spot);
  if (!where) return pass(where.error());
  if (where->ino == 0) return fail_errno(ENOENT, spot.name);
  Landed landed;
  landed.before = facts(where->ino);
  const bool folder = landed.before.kind == EntryKind::folder;
  if (landed.before.identity != seen.identity) return moved_on(spot.name);
  if (!folder && !server::removable(landed.before, seen)) return moved_on(spot.name);
  if (folder && !now_.inodes.at(where->ino).names.empty()) return fail_errno(ENOTEMPTY, spot.name);
  if (folder || landed.before.links > 1) {
    bind(where->folder, spot.name, 0);
    return landed;
  }
  const WallNs when = ++tick_;
  step([=, w = *where](Tree& tree) {
    tree.inodes[w.folder].names.erase(w.name);
    tree.inodes[kHistory].names[numbered(history)] = w.ino;
    tree.inodes[w.folder].attributes.mtime = tree.inodes[w.folder].ctime = when;
  });
  landed.kept = true;
  landed.kept_as = numbered(history);
  landed.kept_bytes = landed.before.allocated;
  return landed;
}

Result<Landed> FakeDepot::set_attributes(const Spot& spot, const Identity& identity,
                                         std::uint8_t bits, const proto::Attributes& attributes) {
  std::unique_lock lock(mutex_);
  if (auto ok = call(true); !ok) return pass(ok.error());
  auto where = resolve(spot);
  if (!where) return pass(where.error());
  Landed landed;
  landed.before = facts(where->ino);
  if (where->ino == 0 || landed.before.identity != identity) return fail_errno(ENOENT, spot.name);
  if (!xattrs_ && (bits & proto::kXattrs) != 0) {
    set(where->ino, bits & proto::kMode, attributes);
    return fail_errno(ENOSPC, "xattrs");
  }
  set(where->ino, bits, attributes);
  landed.after = facts(where->ino);
  return landed;
}

// ---- durability

Result<> FakeDepot::sync_staged() {
  std::unique_lock lock(mutex_);
  if (auto ok = call(true); !ok) return ok;
  flush();
  return {};
}

Result<> FakeDepot::sync_folder(const FolderRef&) {
  return sync_staged();
}

Result<> FakeDepot::sync_all() {
  std::unique_lock lock(mutex_);
  if (auto ok = call(true); !ok) return ok;
  flush();
  const auto dirty = dirty_;
  for (auto ino : dirty) sync_data(ino);
  return {};
}

}  // namespace ebb::test
