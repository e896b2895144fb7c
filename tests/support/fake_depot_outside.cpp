// FakeDepot: what other programs do on the disk, and what a test sees there.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "tests/support/fake_depot.h"

namespace ebb::test {

using proto::EntryKind;
using server::Facts;

namespace {

constexpr std::uint64_t kRoot = 1;
constexpr std::uint64_t kStaging = 2;
constexpr std::uint64_t kHistory = 3;

}  // namespace

// ---- another program

Result<> FakeDepot::watch(const server::FolderRef& folder, std::uint64_t tag) {
  std::unique_lock lock(mutex_);
  auto where = resolve({folder, ""});
  if (!where) return pass(where.error());
  watched_[where->ino] = tag;
  return {};
}

server::Notices FakeDepot::take_notices() {
  std::unique_lock lock(mutex_);
  if (notices_.all) notices_.changed.clear();
  return std::exchange(notices_, {});
}

void FakeDepot::notice(const Where& where, bool being_written) {
  const auto it = watched_.find(where.folder);
  if (it != watched_.end()) notices_.changed.push_back({it->second, where.name, being_written});
}

void FakeDepot::make_folder(const std::string& path) {
  std::unique_lock lock(mutex_);
  const auto where = at(path);
  if (where.ino != 0) return;
  const Ino ino = make(EntryKind::folder);
  bind(where.folder, where.name, ino);
  notice(where);
  flush();
}

void FakeDepot::write(const std::string& path, const std::string& content) {
  std::unique_lock lock(mutex_);
  auto where = at(path);
  if (where.ino == 0) {
    where.ino = make(EntryKind::file);
    bind(where.folder, where.name, where.ino);
  }
  const WallNs when = ++tick_;
  outside([=](Tree& tree) {
    auto& inode = tree.inodes[where.ino];
    const auto bytes = as_bytes(content);
    inode.data.assign(bytes.begin(), bytes.end());
    inode.attributes.mtime = inode.ctime = when;
  });
  notice(where);
}

void FakeDepot::replace(const std::string& path, const std::string& content) {
  {
    std::unique_lock lock(mutex_);
    const auto where = at(path);
    if (where.ino != 0) bind(where.folder, where.name, 0);
  }
  write(path, content);
}

void FakeDepot::make_symlink(const std::string& path, const std::string& target) {
  std::unique_lock lock(mutex_);
  const auto where = at(path);
  const Ino ino = make(EntryKind::symlink);
  step([=](Tree& tree) { tree.inodes[ino].target = target; });
  bind(where.folder, where.name, ino);
  notice(where);
  flush();
}

void FakeDepot::hard_link(const std::string& from, const std::string& to) {
  std::unique_lock lock(mutex_);
  const auto where = at(to);
  bind(where.folder, where.name, at(from).ino);
  notice(where);
  flush();
}

void FakeDepot::move(const std::string& from, const std::string& to) {
  std::unique_lock lock(mutex_);
  const auto old = at(from);
  const auto where = at(to);
  bind(where.folder, where.name, old.ino);
  bind(old.folder, old.name, 0);
  notice(old);
  notice(where);
  flush();
}

void FakeDepot::erase(const std::string& path) {
  std::unique_lock lock(mutex_);
  const auto where = at(path);
  bind(where.folder, where.name, 0);
  notice(where);
  flush();
}

void FakeDepot::chown(const std::string& path, std::uint32_t uid) {
  std::unique_lock lock(mutex_);
  const auto where = at(path);
  const WallNs when = ++tick_;
  outside([=](Tree& tree) {
    tree.inodes[where.ino].attributes.uid = uid;
    tree.inodes[where.ino].ctime = when;
  });
  notice(where);
}

void FakeDepot::chmod(const std::string& path, std::uint32_t mode) {
  std::unique_lock lock(mutex_);
  proto::Attributes attributes;
  attributes.mode = mode;
  set(at(path).ino, proto::kMode, attributes);
  notice(at(path));
  flush();
}

// ---- looking

std::optional<std::string> FakeDepot::content(const std::string& path) const {
  std::unique_lock lock(mutex_);
  const auto where = at(path);
  if (where.ino == 0) return std::nullopt;
  return std::string(as_text(now_.inodes.at(where.ino).data));
}

std::optional<Facts> FakeDepot::facts_of(const std::string& path) const {
  std::unique_lock lock(mutex_);
  const auto where = at(path);
  if (where.ino == 0) return std::nullopt;
  return facts(where.ino);
}

std::vector<std::string> FakeDepot::names(const std::string& path) const {
  std::unique_lock lock(mutex_);
  std::vector<std::string> out;
  const auto where = at(path);
  if (where.ino == 0) return out;
  for (const auto& [name, ino] : now_.inodes.at(where.ino).names) out.push_back(name);
  return out;
}

std::map<std::string, std::string> FakeDepot::tree() const {
  std::unique_lock lock(mutex_);
  std::map<std::string, std::string> out;
  std::function<void(Ino, const std::string&)> walk = [&](Ino folder, const std::string& prefix) {
    for (const auto& [name, ino] : now_.inodes.at(folder).names) {
      const auto& inode = now_.inodes.at(ino);
      const std::string path = prefix + name;
      if (inode.kind == EntryKind::folder) {
        out[path] = "/";
        walk(ino, path + "/");
      } else if (inode.kind == EntryKind::symlink) {
        out[path] = "-> " + inode.target;
      } else {
        out[path] = std::string(as_text(inode.data));
      }
    }
  };
  walk(kRoot, "");
  return out;
}

std::vector<std::string> FakeDepot::history_contents() const {
  std::unique_lock lock(mutex_);
  std::vector<std::string> out;
  for (const auto& [name, ino] : now_.inodes.at(kHistory).names) {
    out.emplace_back(as_text(now_.inodes.at(ino).data));
  }
  return out;
}

std::size_t FakeDepot::staged_count() const {
  std::unique_lock lock(mutex_);
  return now_.inodes.at(kStaging).names.size();
}

}  // namespace ebb::test
