#include "tests/support/fake_depot.h"

namespace ebb::test {

using proto::EntryKind;

Result<store::FsmapTree> FakeDepot::map(const server::FolderRef& folder,
                                        const store::FsmapOptions& options) {
  std::unique_lock lock(mutex_);
  if (auto ok = call(false); !ok) return pass(ok.error());
  auto top = resolve({folder, ""});
  if (!top) return pass(top.error());
  std::vector<std::pair<std::string, store::FsmapFile>> files;
  std::vector<std::pair<std::string, Ino>> open{{"", top->ino}};
  while (!open.empty()) {
    const auto [path, ino] = open.back();
    open.pop_back();
    for (const auto& [name, child] : now_.inodes[ino].names) {
      const auto& inode = now_.inodes[child];
      if (inode.kind == EntryKind::folder) open.emplace_back(path + name + "/", child);
      if (inode.kind != EntryKind::file) continue;
      DigestStream digest(options.kind);
      digest.update(as_bytes(path + name));
      digest.update(inode.data);
      files.emplace_back(path + name,
                         store::FsmapFile{digest.finish(), 1, child, inode.data.size(),
                                          inode.attributes.mtime, inode.ctime, 0, 0, 1});
    }
  }
  return store::FsmapTree(options.kind, std::move(files));
}

}  // namespace ebb::test
