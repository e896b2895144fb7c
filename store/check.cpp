#include "store/check.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <unordered_map>
#include <utility>

#include <fmt/format.h>

#include "store/check_client.h"
#include "store/store_impl.h"

namespace ebb::store {

class Checker {
 public:
  explicit Checker(const Store& store)
      : impl_(*store.impl_),
        pages_(static_cast<std::size_t>(impl_.live.dirmap_used)),
        slots_(static_cast<std::size_t>(impl_.live.fname_used)),
        free_nodes_(static_cast<std::size_t>(impl_.live.mdt_used)) {}

  CheckReport run() {
    walk_tree(impl_.live.root, {}, {}, -1);
    free_pages();
    free_nodes();
    nodes();
    names();
    free_slots();
    expect(report_.nodes == impl_.live.nodes, "super: {} nodes counted, {} found", impl_.live.nodes,
           report_.nodes);
    expect(report_.names == impl_.live.names, "super: {} names counted, {} found", impl_.live.names,
           report_.names);
    return std::move(report_);
  }

 private:
  using Place = std::pair<std::uint64_t, std::uint64_t>;  // folder, cookie
  struct Seen {
    std::vector<Place> names;   // that have the node on a side
    std::vector<Place> listed;  // that its record and Table::links say
    std::uint64_t local = 0;
  };

  template <class... Args>
  void expect(bool good, fmt::format_string<Args...> text, Args&&... args) {
    if (good || report_.problems.size() >= kProblemsMax) return;
    report_.problems.push_back(fmt::format(text, std::forward<Args>(args)...));
  }
  template <class T>
  bool good(const Result<T>& result) {
    if (!result) expect(false, "{}", result.error().message());
    return result.has_value();
  }
  /// Marks a page or slot as used; false when it was already, or cannot be.
  static bool take(std::vector<bool>& marks, std::uint64_t index) {
    if (index >= marks.size() || marks[static_cast<std::size_t>(index)]) return false;
    marks[static_cast<std::size_t>(index)] = true;
    return true;
  }

  // Keys of a page lie in [lower, upper).
  void walk_tree(std::uint64_t number, std::optional<Key> lower, std::optional<Key> upper,
                 int level) {
    if (number == 0 || !take(pages_, number)) {
      return expect(false, "dirmap: page {} is in the tree twice, or not a page", number);
    }
    auto page = impl_.tree.page(number);
    if (!good(page)) return;
    expect(level < 0 || page->level == level, "dirmap: page {} is at the wrong level", number);
    if (level >= 0 && page->level != level) return;
    expect(!page->leaf || level < 0 || !page->cells.empty(), "dirmap: page {} is empty", number);
    const auto inside = [&](const Key& key) {
      return (!lower || *lower <= key) && (!upper || key < *upper);
    };
    std::optional<Key> last;
    for (const auto& [key, cell] : page->cells) {
      expect(inside(key) && (!last || *last < key), "dirmap: page {} is out of order", number);
      last = key;
      take_cell(key, cell);
    }
    for (std::size_t i = 0; i < page->children.size(); ++i) {
      const auto from = i == 0 ? lower : std::optional(page->children[i].first);
      const auto to =
          i + 1 < page->children.size() ? std::optional(page->children[i + 1].first) : upper;
      expect(!from || !to || *from < *to, "dirmap: page {} is out of order", number);
      expect(i == 0 || inside(*from), "dirmap: page {} is out of bounds", number);
      walk_tree(page->children[i].second, from, to, page->level - 1);
    }
  }

  void take_cell(const Key& key, const Cell& cell) {
    if (key.owner >> 63 == 0) {
      ++report_.names;
      NameCell name;
      std::memcpy(&name, cell.data(), sizeof name);
      const Place place{key.owner, key.item};
      const std::uint64_t local = name.local;
      const auto server = server_of(name);
      expect(local != 0 || server != 0, "dirmap: a name of {:x} has no side", key.owner);
      if (local != 0) ++seen_[local].local;
      if (local != 0) seen_[local].names.push_back(place);
      if (server != 0 && server != local) seen_[server].names.push_back(place);
      decode_.emplace_back(place, cell);
      return;
    }
    const auto table = (key.owner << 1) >> 49;
    if (table != static_cast<std::uint64_t>(Table::links)) {
      ++report_.cells;
      return;
    }
    LinkCell link;
    std::memcpy(&link, cell.data(), sizeof link);
    links_.emplace(key.owner & ((std::uint64_t{1} << 48) - 1), Place{link.folder, link.cookie});
  }

  void names() {
    for (const auto& [place, cell] : decode_) {
      const NodeId folder(place.first);
      auto record = impl_.nodes.record(folder);
      if (good(record)) {
        expect(kind_of(*record) == Kind::folder, "node {:x} holds a name and is no folder",
               place.first);
      }
      auto name = impl_.names.decode(folder, place.second, cell);
      if (!good(name)) continue;
      auto again = impl_.names.get(folder, name->text);
      expect(again && again->cookie == place.second, "folder {:x}: '{}' is not found by its name",
             place.first, name->text);
      NameCell packed;
      std::memcpy(&packed, cell.data(), sizeof packed);
      if (packed.local != 0) count_subfolder(folder, NodeId(packed.local));
      if (packed.length <= kNameInline) continue;
      Le<std::uint32_t> first;
      std::memcpy(&first, packed.text, sizeof first);
      take_chain(first);
    }
    for (const auto& [id, counted] : subfolders_) {
      expect(counted == 0, "folder {:x}: its count of folders in it is wrong by {}", id,
             static_cast<std::int64_t>(counted));
    }
    for (const auto& [id, seen] : seen_) {
      expect(impl_.nodes.record(NodeId(id)).has_value(), "a name has node {:x}, which is no more",
             id);
    }
  }

  void count_subfolder(NodeId folder, NodeId node) {
    const auto record = impl_.nodes.record(node);
    if (record && kind_of(*record) == Kind::folder) --subfolders_[folder.value];
  }

  void nodes() {
    for (std::uint64_t index = 1; index < impl_.live.mdt_used; ++index) {
      auto record = impl_.nodes.at(index);
      if (!good(record)) continue;
      const bool free = free_nodes_[static_cast<std::size_t>(index)];
      if (kind_of(*record) == Kind::none) {
        const bool retired = generation_of(*record) == (1u << NodeId::kGenerationBits) - 1;
        expect(free || retired, "mdt: record {} is lost", index);
        continue;
      }
      expect(!free, "mdt: record {} is in use and free", index);
      ++report_.nodes;
      node(NodeId::make(index, generation_of(*record)), *record);
    }
  }

  void node(NodeId id, const NodeRecord& record) {
    auto texts = impl_.nodes.texts(record);
    if (good(texts)) {
      for (const auto first : *texts) take_chain(first);
    }
    if (kind_of(record) == Kind::folder) subfolders_[id.value] += record.size;
    auto& seen = seen_[id.value];
    expect(record.links == seen.local, "node {:x}: {} links counted, {} found", id.value,
           static_cast<std::uint16_t>(record.links), seen.local);
    if (record.parent_cookie != 0) seen.listed.emplace_back(record.parent, record.parent_cookie);
    const auto [begin, end] = links_.equal_range(id.index());
    for (auto it = begin; it != end; ++it) seen.listed.push_back(it->second);
    expect(record.parent_cookie != 0 || begin == end, "node {:x}: further names and no first",
           id.value);
    std::sort(seen.names.begin(), seen.names.end());
    std::sort(seen.listed.begin(), seen.listed.end());
    expect(seen.names == seen.listed, "node {:x}: {} names listed, {} found, or others", id.value,
           seen.listed.size(), seen.names.size());
    if (record.links > 0 && record.parent_cookie != 0) {
      auto first = impl_.names.at(NodeId(record.parent), record.parent_cookie);
      expect(first && first->local == id, "node {:x}: its first name is not a local one", id.value);
    }
    links_.erase(begin, end);
  }

  void free_pages() {
    auto page = impl_.live.dirmap_free;
    while (page != 0) {
      if (!take(pages_, page)) {
        expect(false, "dirmap: page {} is free and in use, or free twice", page);
        break;
      }
      auto head = impl_.pages.get<TreePageHead>(FileNo::dirmap, page * kPageSize);
      if (!good(head)) break;
      expect(head->type == static_cast<std::uint8_t>(TreePageType::free),
             "dirmap: free page {} is not marked so", page);
      page = head->next;
    }
    expect_all(pages_, 1, "dirmap: page");
  }

  void free_nodes() {
    auto index = impl_.live.mdt_free;
    while (index != 0) {
      if (!take(free_nodes_, index)) {
        return expect(false, "mdt: record {} is free twice, or not a record", index);
      }
      auto record = impl_.nodes.at(index);
      if (!good(record)) return;
      index = record->parent;
    }
  }

  void take_chain(std::uint32_t first) {
    auto chain = impl_.heap.slots(first);
    if (!good(chain)) return;
    for (const auto slot : *chain) {
      expect(take(slots_, slot), "fname: slot {} is in two chains", slot);
    }
  }

  void free_slots() {
    auto slot = impl_.live.fname_free;
    while (slot != 0) {
      if (!take(slots_, slot)) {
        expect(false, "fname: slot {} is free and in use, or free twice", slot);
        break;
      }
      auto now = impl_.pages.get<TextSlot>(FileNo::fname, slot * sizeof(TextSlot));
      if (!good(now)) break;
      expect(now->left == kTextFree, "fname: free slot {} is not marked so", slot);
      slot = now->next;
    }
    expect_all(slots_, kTextSlotsInPage, "fname: slot");
    for (const auto& [index, place] : links_) {
      expect(false, "dirmap: record {} has a further name and no node", index);
    }
  }

  void expect_all(const std::vector<bool>& marks, std::size_t from, const char* what) {
    for (auto i = from; i < marks.size(); ++i) expect(marks[i], "{} {} is lost", what, i);
  }

  Store::Impl& impl_;
  CheckReport report_;
  std::vector<bool> pages_;
  std::vector<bool> slots_;
  std::vector<bool> free_nodes_;
  std::unordered_map<std::uint64_t, Seen> seen_;         // by NodeId
  std::unordered_multimap<std::uint64_t, Place> links_;  // by record
  std::vector<std::pair<Place, Cell>> decode_;
  std::unordered_map<std::uint64_t, std::uint64_t> subfolders_;  // by folder: counted less found
};

CheckReport check(const Store& store) {
  return Checker(store).run();
}

namespace {

Result<std::unique_ptr<Store>> open_for_check(FileIo& io, const std::string& folder) {
  StoreOptions options;
  options.create = false;
  options.purpose = "ebb check";
  return Store::open(io, folder, options);
}

}  // namespace

Result<CheckReport> check(FileIo& io, const std::string& folder) {
  auto store = open_for_check(io, folder);
  if (!store) return pass(store.error());
  return check(**store);
}

Result<CheckReport> check(FileIo& io, const std::string& folder, const std::string& content) {
  auto store = open_for_check(io, folder);
  if (!store) return pass(store.error());
  auto report = check(**store);
  // A damaged tree says the same thing of each name once more.
  if (report.clean()) check_client(io, **store, content, report);
  return report;
}

}  // namespace ebb::store
