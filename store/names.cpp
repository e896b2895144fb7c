#include "store/names.h"

#include <algorithm>
#include <bitset>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "base/check.h"
#include "base/hash.h"
#include "store/store.h"

namespace ebb::store {
namespace {

constexpr int kOrdinalBits = 7;
constexpr std::uint64_t kOrdinals = std::uint64_t{1} << kOrdinalBits;
constexpr std::uint64_t kHashMask = (std::uint64_t{1} << 56) - 1;
constexpr std::uint16_t kNameFlags = kOneNode - 1;
constexpr std::uint32_t kLinksMax = 65000;

NameCell name_cell(const Cell& cell) {
  NameCell out;
  std::memcpy(&out, cell.data(), sizeof out);
  return out;
}

template <class T>
Cell packed(const T& value) {
  Cell cell;
  static_assert(sizeof value == sizeof cell);
  std::memcpy(cell.data(), &value, sizeof value);
  return cell;
}

std::uint32_t chain_of(const NameCell& cell) {
  Le<std::uint32_t> first;
  std::memcpy(&first, cell.text, sizeof first);
  return first;
}

NodeId node_at(const NameCell& cell, Side side) {
  return NodeId(side == Side::local ? std::uint64_t{cell.local} : server_of(cell));
}

/// Where both sides are one node it is written once.
void set_sides(NameCell& cell, NodeId local, NodeId server) {
  const bool one = local && local == server;
  cell.local = local.value;
  cell.server = one ? 0 : server.value;
  cell.flags = static_cast<std::uint16_t>(one ? cell.flags | kOneNode : cell.flags & ~kOneNode);
}

bool good_name(std::string_view name) {
  return !name.empty() && name.size() <= kNameMax && name != "." && name != ".." &&
         name.find('/') == std::string_view::npos && name.find('\0') == std::string_view::npos;
}

tl::unexpected<Error> missing(std::string_view name) {
  return fail_errno(ENOENT, std::string(name));
}

}  // namespace

// Never 0, so that cookies start past the few that a caller keeps for itself.
std::uint64_t Names::hash(ByteView bytes) const {
  const auto value = xxh3(bytes, secret_) & kHashMask;
  return value == 0 ? 1 : value;
}

Result<bool> Names::same(const NameCell& cell, std::string_view name) const {
  if (cell.length != name.size()) return false;
  if (name.size() <= kNameInline) return std::memcmp(cell.text, name.data(), name.size()) == 0;
  auto text = heap_.read(chain_of(cell));
  if (!text) return pass(text.error());
  return as_text(*text) == name;
}

Result<Names::Found> Names::find(NodeId folder, std::string_view name) const {
  const auto first = hash(as_bytes(name)) << kOrdinalBits;
  std::bitset<kOrdinals> taken;
  for (auto cookie = first; cookie < first + kOrdinals; ++cookie) {
    auto cell = tree_.seek({folder.value, cookie});
    if (!cell) return pass(cell.error());
    if (!*cell || (*cell)->first.owner != folder.value) break;
    cookie = (*cell)->first.item;
    if (cookie >= first + kOrdinals) break;
    const auto candidate = name_cell((*cell)->second);
    auto equal = same(candidate, name);
    if (!equal) return pass(equal.error());
    if (*equal) return Found{cookie, candidate};
    taken.set(cookie - first);
  }
  std::uint64_t ordinal = 0;
  while (ordinal < kOrdinals && taken.test(ordinal)) ++ordinal;
  if (ordinal == kOrdinals) return fail_errno(ENOSPC, "too many names of one hash");
  return Found{first + ordinal, std::nullopt};
}

Result<Name> Names::decode(NodeId folder, std::uint64_t cookie, const Cell& cell) const {
  const auto packed_name = name_cell(cell);
  Name name;
  name.folder = folder;
  name.cookie = cookie;
  name.local = NodeId(packed_name.local);
  name.server = node_at(packed_name, Side::server);
  name.flags = packed_name.flags & kNameFlags;
  const std::size_t length = packed_name.length;
  if (length <= kNameInline) {
    name.text.assign(reinterpret_cast<const char*>(packed_name.text), length);
  } else {
    auto text = heap_.read(chain_of(packed_name));
    if (!text) return pass(text.error());
    name.text = as_text(*text);
  }
  if (name.text.size() != length || !good_name(name.text)) {
    return fail(Errc::corrupt, fmt::format("dirmap, folder {:x}: bad name", folder.value));
  }
  return name;
}

Result<Name> Names::get(NodeId folder, std::string_view name) const {
  if (name.empty() || name.size() > kNameMax) return missing(name);
  auto found = find(folder, name);
  if (!found) return pass(found.error());
  if (!found->cell) {  // a folder that is no more has no names
    if (auto r = expect_folder(folder); !r) return pass(r.error());
    return missing(name);
  }
  Name out;
  out.folder = folder;
  out.cookie = found->cookie;
  out.text = name;
  out.local = NodeId(found->cell->local);
  out.server = node_at(*found->cell, Side::server);
  out.flags = found->cell->flags & kNameFlags;
  return out;
}

Result<Name> Names::at(NodeId folder, std::uint64_t cookie) const {
  auto cell = tree_.find({folder.value, cookie});
  if (!cell) return pass(cell.error());
  if (!*cell) return missing(fmt::format("name {:x}", cookie));
  return decode(folder, cookie, **cell);
}

Result<bool> Names::any_in(NodeId folder) const {
  bool any = false;
  auto r = tree_.scan({folder.value, 0}, [&](std::uint64_t, const Cell&) {
    any = true;
    return false;
  });
  if (!r) return pass(r.error());
  return any;
}

Result<> Names::expect_folder(NodeId folder) const {
  auto record = nodes_.record(folder);
  if (!record) return pass(record.error());
  if (kind_of(*record) != Kind::folder) return fail_errno(ENOTDIR, "a name is in a folder");
  return {};
}

// ---------------------------------------------------------------------------------------- changing

Result<NameCell> Names::new_cell(std::string_view name) {
  NameCell cell{};
  cell.length = static_cast<std::uint16_t>(name.size());
  if (name.size() <= kNameInline) {
    std::memcpy(cell.text, name.data(), name.size());
    return cell;
  }
  auto first = heap_.write(as_bytes(name));
  if (!first) return pass(first.error());
  const Le<std::uint32_t> chain = *first;
  std::memcpy(cell.text, &chain, sizeof chain);
  return cell;
}

/// Writes the cell, or removes it when both sides are none.
Result<> Names::store_cell(NodeId folder, const Found& found) {
  const Key key{folder.value, found.cookie};
  if (found.cell->local != 0 || server_of(*found.cell) != 0)
    return tree_.put(key, packed(*found.cell));
  --live_.names;
  if (found.cell->length > kNameInline) {
    if (auto r = heap_.free(chain_of(*found.cell)); !r) return r;
  }
  auto erased = tree_.erase(key);
  if (!erased) return pass(erased.error());
  return {};
}

Result<> Names::bind(NodeId folder, std::string_view name, Side side, NodeId node) {
  CHECK(good_name(name));
  if (auto r = expect_folder(folder); !r) return r;
  if (node) {
    auto record = nodes_.record(node);
    if (!record) return pass(record.error());
    if (side == Side::local && record->links >= kLinksMax) return fail_errno(EMLINK);
  }
  auto found = find(folder, name);
  if (!found) return pass(found.error());
  if (!found->cell) {
    if (!node) return {};
    auto cell = new_cell(name);
    if (!cell) return pass(cell.error());
    found->cell = *cell;
    ++live_.names;
  }
  const auto old = node_at(*found->cell, side);
  const auto other = node_at(*found->cell, side == Side::local ? Side::server : Side::local);
  if (old == node) return {};
  set_sides(*found->cell, side == Side::local ? node : other, side == Side::local ? other : node);
  if (auto r = store_cell(folder, *found); !r) return r;
  const Place place{folder.value, found->cookie};
  if (old) {
    if (auto r = lose(old, place, side, other == old); !r) return r;
  }
  if (node) {
    if (auto r = gain(node, place, side, other == node); !r) return r;
  }
  return side == Side::local ? count_subfolders(folder, old, node) : Result<>();
}

/// A local name of the folder was `from` and is `to`.
Result<> Names::count_subfolders(NodeId folder, NodeId from, NodeId to) {
  std::uint64_t change = 0;
  for (const auto& [node, by] :
       {std::pair{from, ~std::uint64_t{0}}, std::pair{to, std::uint64_t{1}}}) {
    if (!node) continue;
    auto record = nodes_.record(node);
    if (!record) return pass(record.error());
    if (kind_of(*record) == Kind::folder) change += by;
  }
  if (change == 0) return {};
  auto record = nodes_.record(folder);
  if (!record) return pass(record.error());
  record->size = record->size + change;
  return nodes_.write(folder, *record);
}

Result<> Names::set_flags(NodeId folder, std::string_view name, std::uint16_t flags) {
  CHECK((flags & ~kNameFlags) == 0);
  if (auto r = expect_folder(folder); !r) return r;
  auto found = find(folder, name);
  if (!found) return pass(found.error());
  if (!found->cell) return missing(name);
  const std::uint16_t ours = found->cell->flags & kOneNode;
  found->cell->flags = static_cast<std::uint16_t>(ours | flags);
  return tree_.put({folder.value, found->cookie}, packed(*found->cell));
}

// ---------------------------------------------------------------------------------------- names of
// a node

/// The node is no longer on this side of the name; `listed`: it still is on the other.
Result<> Names::lose(NodeId node, Place place, Side side, bool listed) {
  auto record = nodes_.record(node);
  if (!record) return pass(record.error());
  if (side == Side::local) {
    if (record->links == 0) return pages_.corrupt(FileNo::mdt, node.index(), "links");
    record->links = static_cast<std::uint16_t>(record->links - 1);
  }
  const bool first = Place{record->parent, record->parent_cookie} == place;
  if (!listed && first) {
    record->parent = 0;
    record->parent_cookie = 0;
    if (auto r = take_first_from_links(node, *record); !r) return r;
  } else if (!listed) {
    if (auto r = remove_link(node, place); !r) return r;
  }
  if (first && record->links > 0) {
    if (auto r = prefer_local(node, *record); !r) return r;
  }
  return nodes_.write(node, *record);
}

/// The node is now on this side of the name; `listed`: it was on the other already.
Result<> Names::gain(NodeId node, Place place, Side side, bool listed) {
  auto record = nodes_.record(node);
  if (!record) return pass(record.error());
  if (side == Side::local) record->links = static_cast<std::uint16_t>(record->links + 1);
  if (record->parent_cookie == 0) {
    record->parent = place.folder;
    record->parent_cookie = place.cookie;
    return nodes_.write(node, *record);
  }
  if (!listed) {
    if (auto r = add_link(node, place); !r) return r;
  }
  if (side == Side::local) {
    if (auto r = prefer_local(node, *record); !r) return r;
  }
  return nodes_.write(node, *record);
}

Result<bool> Names::is_local(Place place, NodeId node) const {
  auto cell = tree_.find({place.folder, place.cookie});
  if (!cell) return pass(cell.error());
  return *cell && name_cell(**cell).local == node.value;
}

Result<> Names::take_first_from_links(NodeId node, NodeRecord& record) {
  auto links = links_of(node);
  if (!links) return pass(links.error());
  if (links->empty()) return {};
  record.parent = links->front().folder;
  record.parent_cookie = links->front().cookie;
  return remove_link(node, links->front());
}

/// Makes a name with the node on its local side the first one.
Result<> Names::prefer_local(NodeId node, NodeRecord& record) {
  const Place first{record.parent, record.parent_cookie};
  auto local = is_local(first, node);
  if (!local) return pass(local.error());
  if (*local) return {};
  auto links = links_of(node);
  if (!links) return pass(links.error());
  for (const auto& place : *links) {
    local = is_local(place, node);
    if (!local) return pass(local.error());
    if (!*local) continue;
    if (auto r = remove_link(node, place); !r) return r;
    record.parent = place.folder;
    record.parent_cookie = place.cookie;
    return add_link(node, first);
  }
  return {};
}

Result<std::vector<Names::Place>> Names::links_of(NodeId node) const {
  std::vector<Place> out;
  auto r =
      tree_.scan({owner_of(Table::links, node.index()), 0}, [&](std::uint64_t, const Cell& cell) {
        LinkCell link;
        std::memcpy(&link, cell.data(), sizeof link);
        out.push_back({link.folder, link.cookie});
        return true;
      });
  if (!r) return pass(r.error());
  return out;
}

// As names: hash of the place and an ordinal, so that one of many links is found at once.
Result<> Names::add_link(NodeId node, Place place) {
  LinkCell link{};
  link.folder = place.folder;
  link.cookie = place.cookie;
  const auto owner = owner_of(Table::links, node.index());
  auto item = hash(bytes_of(link).first(16)) << kOrdinalBits;
  for (const auto end = item + kOrdinals; item < end; ++item) {
    auto there = tree_.find({owner, item});
    if (!there) return pass(there.error());
    if (!*there) return tree_.put({owner, item}, packed(link));
  }
  return fail_errno(EMLINK);
}

Result<> Names::remove_link(NodeId node, Place place) {
  LinkCell link{};
  link.folder = place.folder;
  link.cookie = place.cookie;
  const auto wanted = packed(link);
  const auto owner = owner_of(Table::links, node.index());
  auto item = hash(bytes_of(link).first(16)) << kOrdinalBits;
  for (const auto end = item + kOrdinals; item < end; ++item) {
    auto there = tree_.find({owner, item});
    if (!there) return pass(there.error());
    if (!*there || **there != wanted) continue;
    auto erased = tree_.erase({owner, item});
    if (!erased) return pass(erased.error());
    return {};
  }
  return fail(Errc::corrupt, fmt::format("dirmap: node {:x} lacks a name in its list", node.value));
}

Result<std::vector<Name>> Names::of(NodeId node) const {
  auto record = nodes_.record(node);
  if (!record) return pass(record.error());
  std::vector<Name> names;
  if (record->parent_cookie == 0) return names;
  auto places = links_of(node);
  if (!places) return pass(places.error());
  places->insert(places->begin(), Place{record->parent, record->parent_cookie});
  for (const auto& place : *places) {
    auto name = at(NodeId(place.folder), place.cookie);
    if (!name) {
      if (!is_errno(name.error(), ENOENT)) return pass(name.error());
      return fail(Errc::corrupt,
                  fmt::format("dirmap: node {:x} lists a name that is not there", node.value));
    }
    names.push_back(std::move(*name));
  }
  return names;
}

}  // namespace ebb::store
