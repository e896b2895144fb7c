#include "store/check_client.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <unordered_map>
#include <unordered_set>

#include <fmt/format.h>

#include "store/content.h"

namespace ebb::store {
namespace {

/// A flag of a node and the table that lists the nodes with it.
struct Listing {
  NodeFlag flag;
  Table table;
  std::uint64_t argument;
  const char* name;
};
constexpr Listing kListings[] = {
    {kQueued, Table::queue, 0, "the queue"},
    {kPulling, Table::pulls, 0, "wanted contents"},
    {kVolatile, Table::unsettled, 0, "unsettled contents"},
    {kOpenForWrite, Table::unsettled, 1, "contents open for writing"},
    {kUnsure, Table::unsettled, 2, "entries to be asked for"},
    {kInDoubt, Table::unsettled, 3, "folders to be listed again"},
    {kOrphan, Table::orphans, 0, "open files without a name"},
};

NodeId node_in(const Cell& cell) {
  Le<std::uint64_t> id;
  std::memcpy(&id, cell.data(), sizeof id);
  return NodeId(id);
}

Cell cell_with(NodeId id) {
  const Le<std::uint64_t> number = id.value;
  Cell cell{};
  std::memcpy(cell.data(), &number, sizeof number);
  return cell;
}

std::uint64_t key_in(const Listing& listing, NodeId id, const Node& node) {
  return listing.table == Table::queue ? node.queue_seq : id.index();
}

bool is_listed(const Store& store, Table table, std::uint64_t argument, std::uint64_t key,
               NodeId id) {
  const auto cell = store.cell(table, argument, key);
  return cell && *cell && node_in(**cell) == id;
}

/// Nodes that the root leads to by names, and those that the tables name.
class Known {
 public:
  explicit Known(const Store& store) : store_(store) {
    add(kRootNode);
    walk();
    for (const auto& listing : kListings) add_table(listing.table, listing.argument);
    add_table(Table::entries, 0);
    walk();
  }
  const std::vector<NodeId>& nodes() const { return nodes_; }

 private:
  void add(NodeId id) {
    if (id && seen_.insert(id.value).second) nodes_.push_back(id);
  }
  void add_table(Table table, std::uint64_t argument) {
    (void)store_.scan(table, argument, 0, [&](std::uint64_t, const Cell& cell) {
      if (store_.node(node_in(cell))) add(node_in(cell));
      return true;
    });
  }
  void walk() {
    for (; next_ < nodes_.size(); ++next_) {
      const auto node = store_.node(nodes_[next_]);
      if (!node || !node->is_folder()) continue;
      (void)store_.list(nodes_[next_], 0, [&](const Name& name) {
        add(name.local);
        add(name.server);
        return true;
      });
    }
  }

  const Store& store_;
  std::vector<NodeId> nodes_;
  std::unordered_set<std::uint64_t> seen_;
  std::size_t next_ = 0;
};

class ClientChecker {
 public:
  ClientChecker(const Store& store, CheckReport& report) : store_(store), report_(report) {}

  void run(FileIo& io, const std::string& content) {
    const Known known(store_);
    for (const auto id : known.nodes()) {
      const auto node = store_.node(id);
      if (node) look(id, *node);
    }
    for (const auto& listing : kListings) look(listing);
    (void)store_.scan(Table::entries, 0, 0, [&](std::uint64_t key, const Cell& cell) {
      const auto node = store_.node(node_in(cell));
      expect(node && node->entry.value == key,
             "entries: entry {:x} leads to node {:x}, which is not it", key, node_in(cell).value);
      return true;
    });
    contents(io, content);
  }

 private:
  template <class... Args>
  void expect(bool good, fmt::format_string<Args...> text, Args&&... args) {
    if (good || report_.problems.size() >= kProblemsMax) return;
    report_.problems.push_back(fmt::format(text, std::forward<Args>(args)...));
  }

  void look(NodeId id, const Node& node) {
    for (const auto& listing : kListings) {
      if (!node.has(listing.flag)) continue;
      expect(is_listed(store_, listing.table, listing.argument, key_in(listing, id, node), id),
             "{}: node {:x} is missing", listing.name, id.value);
    }
    expect(!node.entry || is_listed(store_, Table::entries, 0, node.entry.value, id),
           "entries: node {:x} is missing", id.value);
    const auto text = store_.text(id, Text::extents);
    expect(text && unpack_extents(*text), "node {:x}: its ranges cannot be read", id.value);
    if (node.is_folder() || node.content == 0) return;
    const auto [other, fresh] = owners_.emplace(node.content, id);
    expect(fresh, "content {:x} belongs to nodes {:x} and {:x}", node.content, other->second.value,
           id.value);
  }

  void look(const Listing& listing) {
    (void)store_.scan(listing.table, listing.argument, 0, [&](std::uint64_t key, const Cell& cell) {
      const auto id = node_in(cell);
      const auto node = store_.node(id);
      expect(node && node->has(listing.flag) && key_in(listing, id, *node) == key,
             "{}: node {:x} does not belong there", listing.name, id.value);
      return true;
    });
  }

  void contents(FileIo& io, const std::string& folder) {
    std::unordered_set<std::uint64_t> there;
    if (const auto exists = io.exists(folder); exists && *exists) {
      auto numbers = ContentFolder(io, folder).list();
      expect(numbers.has_value(), "{}: cannot be listed", folder);
      if (numbers) there.insert(numbers->begin(), numbers->end());
    }
    for (const auto& [number, id] : owners_) {
      expect(there.contains(number), "node {:x}: its content file {} is missing", id.value,
             ContentFolder(io, folder).path(number));
    }
    for (const auto number : there) {
      if (owners_.contains(number)) continue;
      report_.notes.push_back("no entry has the content file " +
                              ContentFolder(io, folder).path(number));
    }
    std::sort(report_.notes.begin(), report_.notes.end());
  }

  const Store& store_;
  CheckReport& report_;
  std::unordered_map<std::uint64_t, NodeId> owners_;  // by content number
};

// -------------------------------------------------------------------------------------- mending

/// One transaction of its own for each thing that is mended: few are.
class Mender {
 public:
  Mender(Store& store, std::vector<std::string>& done) : store_(store), done_(done) {}

  Result<> run(const std::vector<NodeId>& others) {
    for (const auto& listing : kListings) {
      if (auto r = drop_strays(listing); !r) return r;
    }
    if (auto r = drop_stray_entries(); !r) return r;
    const Known known(store_);
    std::unordered_set<std::uint64_t> reached;
    for (const auto id : known.nodes()) reached.insert(id.value);
    for (const auto id : known.nodes()) {
      if (auto r = list_again(id); !r) return r;
    }
    for (const auto id : others) {
      if (reached.contains(id.value)) continue;
      if (auto r = keep_unreachable(id); !r) return r;
    }
    return {};
  }

 private:
  using Change = std::function<Result<>(Transaction&)>;
  Result<> change(const Change& make, std::string what) {
    Transaction t(store_);
    if (auto r = make(t); !r) return r;
    if (auto r = t.commit(); !r) return r;
    done_.push_back(std::move(what));
    return {};
  }

  Result<> erase(Table table, std::uint64_t argument, const std::vector<std::uint64_t>& keys,
                 const char* name) {
    for (const auto key : keys) {
      auto r = change([&](Transaction& t) { return t.erase_cell(table, argument, key); },
                      fmt::format("{}: {:x} did not belong there", name, key));
      if (!r) return r;
    }
    return {};
  }

  Result<> drop_strays(const Listing& listing) {
    std::vector<std::uint64_t> strays;
    auto r =
        store_.scan(listing.table, listing.argument, 0, [&](std::uint64_t key, const Cell& cell) {
          const auto id = node_in(cell);
          const auto node = store_.node(id);
          const bool good = node && node->has(listing.flag) && key_in(listing, id, *node) == key;
          if (!good) strays.push_back(key);
          return true;
        });
    if (!r) return r;
    return erase(listing.table, listing.argument, strays, listing.name);
  }

  Result<> drop_stray_entries() {
    std::vector<std::uint64_t> strays;
    auto r = store_.scan(Table::entries, 0, 0, [&](std::uint64_t key, const Cell& cell) {
      const auto node = store_.node(node_in(cell));
      if (!node || node->entry.value != key) strays.push_back(key);
      return true;
    });
    if (!r) return r;
    return erase(Table::entries, 0, strays, "entries");
  }

  Result<> list_again(NodeId id) {
    auto node = store_.node(id);
    if (!node) return {};
    for (const auto& listing : kListings) {
      if (!node->has(listing.flag)) continue;
      if (is_listed(store_, listing.table, listing.argument, key_in(listing, id, *node), id)) {
        continue;
      }
      const auto put = [&](Transaction& t) -> Result<> {
        if (listing.table == Table::queue) {  // at the end of the queue, as a change of long ago
          node->queue_seq = t.next_sequence();
          if (auto r = t.put(id, *node); !r) return r;
        }
        return t.put_cell(listing.table, listing.argument, key_in(listing, id, *node),
                          cell_with(id));
      };
      auto r = change(put, fmt::format("{}: node {:x} was missing", listing.name, id.value));
      if (!r) return r;
    }
    const auto entry = node->entry.value;
    if (entry == 0 || is_listed(store_, Table::entries, 0, entry, id)) return {};
    return change(
        [&](Transaction& t) { return t.put_cell(Table::entries, 0, entry, cell_with(id)); },
        fmt::format("entries: node {:x} was missing", id.value));
  }

  /// What is on this machine alone gets a name where its user finds it, and stays on this machine.
  Result<> keep_unreachable(NodeId id) {
    auto node = store_.node(id);
    if (!node || node->is_folder() || node->content == 0) return {};
    if (node->entry && !node->has(kContentDirty)) return {};
    auto names = store_.names_of(id);
    if (!names) return pass(names.error());
    const auto text = fmt::format("found-{:x}", id.value);
    node->status = Status::local;
    node->entry = {};
    node->flags &= static_cast<std::uint32_t>(kWhole | kVolatile);
    const auto put = [&](Transaction& t) -> Result<> {
      for (const auto& name : *names) {
        for (const auto side : {Side::local, Side::server}) {
          if (name.at(side) != id) continue;
          if (auto r = t.bind(name.folder, name.text, side, {}); !r) return r;
        }
      }
      if (auto r = t.put(id, *node); !r) return r;
      return t.bind(kRootNode, text, Side::local, id);
    };
    if (auto r = change(put, fmt::format("a file that lost its name is now /{}, local", text));
        !r) {
      return r;
    }
    return list_again(id);
  }

  Store& store_;
  std::vector<std::string>& done_;
};

}  // namespace

void check_client(FileIo& io, const Store& store, const std::string& content, CheckReport& report) {
  ClientChecker(store, report).run(io, content);
}

Result<> mend_client(Store& store, const std::vector<NodeId>& others,
                     std::vector<std::string>& done) {
  return Mender(store, done).run(others);
}

}  // namespace ebb::store
