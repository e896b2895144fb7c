#include "store/fsmap_tree.h"

#include <algorithm>

#include "store/fsmap.h"

namespace ebb::store {

FsmapTree::FsmapTree(DigestKind kind, std::vector<std::pair<std::string, FsmapFile>> files)
    : kind_(kind) {
  std::sort(files.begin(), files.end(),
            [](const auto& a, const auto& b) { return fsmap_before(a.first, b.first); });
  std::vector<std::pair<std::string, std::uint32_t>> open{{"", 0}};  // each with its path and '/'
  for (auto& [path, file] : files) {
    while (!path.starts_with(open.back().first)) open.pop_back();
    for (;;) {
      const std::size_t from = open.back().first.size();
      const std::size_t slash = path.find('/', from);
      if (slash == path.npos) break;
      const auto name = std::string_view(path).substr(from, slash - from);
      open.emplace_back(path.substr(0, slash + 1), add_folder(open.back().second, name));
    }
    Folder& folder = folders_[open.back().second];
    const auto name = std::string_view(path).substr(open.back().first.size());
    file.name = static_cast<std::uint32_t>(folder.names.size());
    file.name_size = static_cast<std::uint16_t>(name.size());
    folder.names += name;
    folder.files.push_back(file);
  }
  finish();
}

std::uint32_t FsmapTree::add_folder(std::uint32_t parent, std::string_view name) {
  const auto number = static_cast<std::uint32_t>(folders_.size());
  Folder& above = folders_[parent];
  Folder made;
  made.parent = parent;
  made.name = static_cast<std::uint32_t>(above.names.size());
  made.name_size = static_cast<std::uint16_t>(name.size());
  above.names += name;
  above.folders.push_back(number);
  folders_.push_back(std::move(made));
  return number;
}

void FsmapTree::finish() {
  Summary summary(kind_);
  each_place([&](std::uint32_t folder, std::uint32_t number) {
    const FsmapFile& file = folders_[folder].files[number];
    summary.add(file.digest);
    ++counts_.files;
    counts_.bytes += file.size;
  });
  summary_ = summary.finish();
}

std::string_view FsmapTree::name_of(const Folder& folder, const FsmapFile& file) const {
  return std::string_view(folder.names).substr(file.name, file.name_size);
}

std::string FsmapTree::path_of(std::uint32_t number) const {
  std::string path;
  while (number != 0) {
    const Folder& folder = folders_[number];
    const auto name =
        std::string_view(folders_[folder.parent].names).substr(folder.name, folder.name_size);
    path.insert(0, path.empty() ? std::string(name) : std::string(name) + "/");
    number = folder.parent;
  }
  return path;
}

void FsmapTree::each_place(const std::function<void(std::uint32_t, std::uint32_t)>& take) const {
  struct Place {
    std::uint32_t folder;
    std::uint32_t file = 0;
    std::size_t below = 0;
  };
  std::vector<Place> stack{{0}};
  while (!stack.empty()) {
    Place& at = stack.back();
    const Folder& folder = folders_[at.folder];
    const bool more_files = at.file < folder.files.size();
    const bool more_folders = at.below < folder.folders.size();
    if (!more_files && !more_folders) {
      stack.pop_back();
      continue;
    }
    std::string_view below;
    if (more_folders) {
      const Folder& next = folders_[folder.folders[at.below]];
      below = std::string_view(folder.names).substr(next.name, next.name_size);
    }
    if (more_files && (!more_folders || name_of(folder, folder.files[at.file]) < below)) {
      take(at.folder, at.file++);
    } else {
      stack.push_back({folder.folders[at.below++]});
    }
  }
}

void FsmapTree::each(const std::function<void(std::string_view, const FsmapFile&)>& file) const {
  std::string path;
  std::size_t prefix = 0;
  std::uint32_t last = 0;
  each_place([&](std::uint32_t number, std::uint32_t at) {
    if (number != last) {
      last = number;
      path = path_of(number);
      if (!path.empty()) path += '/';
      prefix = path.size();
    }
    const Folder& folder = folders_[number];
    path.resize(prefix);
    path += name_of(folder, folder.files[at]);
    file(path, folder.files[at]);
  });
}

FsmapIndex::FsmapIndex(FsmapTree tree) : tree_(std::move(tree)) {
  places_.reserve(tree_.size());
  tree_.each_place([this](std::uint32_t folder, std::uint32_t file) {
    places_.push_back({folder, file});
  });
}

const FsmapFile& FsmapIndex::file(std::uint64_t index) const {
  const Place& at = places_[index];
  return tree_.folders_[at.folder].files[at.file];
}

std::string FsmapIndex::path(std::uint64_t index) const {
  const Place& at = places_[index];
  const auto& folder = tree_.folders_[at.folder];
  const std::string above = tree_.path_of(at.folder);
  return (above.empty() ? above : above + "/") +
         std::string(tree_.name_of(folder, folder.files[at.file]));
}

}  // namespace ebb::store
