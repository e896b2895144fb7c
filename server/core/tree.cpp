#include "server/core/tree.h"

#include <algorithm>
#include <cerrno>

#include "base/check.h"
#include "base/hash.h"
#include "server/core/cells.h"

namespace ebb::server {

using proto::EntryKind;
using store::Cell;
using store::Name;
using store::Node;
using store::Side;
using store::Table;
using store::Text;

namespace {

constexpr int kDepthMax = 1 << 16;  // a record gone wrong must not make a walk up endless
constexpr std::uint64_t kByIdentity = 1;
constexpr std::uint64_t kOwners = 2;

struct OwnerCell {
  Le<std::uint64_t> node;  // 0
  Le<std::uint32_t> uid;   // 8
  Le<std::uint32_t> gid;   // 12
};

std::uint64_t index_key(const Identity& identity) {
  return xxh3(as_bytes(identity)) >> 1;
}

tl::unexpected<Error> no_entry(NodeId id) {
  return fail_errno(ENOENT, "entry " + hex16(id.value));
}

Result<std::string> text(const store::Store& store, NodeId id, Text which) {
  auto bytes = store.text(id, which);
  if (!bytes) return pass(bytes.error());
  return std::string(as_text(*bytes));
}

}  // namespace

// ---- reading

Result<Facts> Tree::facts(NodeId id) const {
  auto node = store_.node(id);
  if (!node) return no_entry(id);
  Facts out;
  out.kind = static_cast<EntryKind>(node->kind);
  out.size = node->size;
  out.links = node->content_local;
  out.ctime = node->ctime;
  out.attributes.mode = node->mode;
  out.attributes.uid = node->uid;
  out.attributes.gid = node->gid;
  out.attributes.mtime = node->mtime;
  auto identity = text(store_, id, Text::extra);
  if (!identity) return pass(identity.error());
  out.identity = std::move(*identity);
  auto xattrs = store_.text(id, Text::xattrs);
  if (!xattrs) return pass(xattrs.error());
  out.attributes.xattrs = std::move(*xattrs);
  if (out.kind == EntryKind::symlink) {
    auto target = text(store_, id, Text::target);
    if (!target) return pass(target.error());
    out.target = std::move(*target);
  }
  return out;
}

Result<proto::Entry> Tree::entry(NodeId id) const {
  auto node = store_.node(id);
  if (!node) return no_entry(id);
  auto seen = facts(id);
  if (!seen) return pass(seen.error());
  proto::Entry out;
  out.id = EntryId{id.value};
  out.kind = seen->kind;
  out.size = seen->size;
  out.links = std::max<std::uint32_t>(1, seen->links);
  out.content_version = node->content_server;
  out.attributes_version = node->attributes_server;
  out.attributes = std::move(seen->attributes);
  out.target = std::move(seen->target);
  if (const auto kept = owner(id)) {
    out.attributes.uid = kept->first;
    out.attributes.gid = kept->second;
  }
  return out;
}

Result<FolderRef> Tree::folder(NodeId id) const {
  FolderRef out;
  auto identity = text(store_, id, Text::extra);
  if (!identity) return no_entry(id);
  out.identity = std::move(*identity);
  int depth = 0;
  for (NodeId at = id; at != kRootNode;) {
    auto node = store_.node(at);
    if (!node || !node->parent || ++depth > kDepthMax) return no_entry(id);
    auto name = store_.name_at(node->parent, node->parent_cookie);
    if (!name) return no_entry(id);
    out.path = out.path.empty() ? name->text : name->text + "/" + out.path;
    at = node->parent;
  }
  return out;
}

Result<Spot> Tree::spot(NodeId parent, const std::string& name) const {
  auto ref = folder(parent);
  if (!ref) return pass(ref.error());
  return Spot{std::move(*ref), name};
}

Result<std::vector<Spot>> Tree::spots(NodeId id) const {
  std::vector<Spot> out;
  if (id == kRootNode) {
    auto root = folder(id);
    if (!root) return pass(root.error());
    out.push_back({std::move(*root), ""});
    return out;
  }
  auto names = store_.names_of(id);
  if (!names) return no_entry(id);
  for (const auto& name : *names) {
    auto where = spot(name.folder, name.text);
    if (where) out.push_back(std::move(*where));
  }
  return out;
}

Result<NodeId> Tree::child(NodeId parent, const std::string& name) const {
  auto found = store_.name(parent, name);
  if (found) return found->local;
  if (is_errno(found.error(), ENOENT)) return NodeId{};
  return pass(found.error());
}

bool Tree::listed(NodeId id) const {
  auto node = store_.node(id);
  return node && node->has(store::kListed);
}

bool Tree::named(NodeId id) const {
  if (id == kRootNode) return true;
  auto names = store_.names_of(id);
  return names && !names->empty();
}

bool Tree::within(NodeId folder, NodeId id) const {
  auto names = store_.names_of(id);
  if (!names) return false;
  return std::any_of(names->begin(), names->end(), [&](const Name& name) {
    NodeId at = name.folder;
    for (int depth = 0; at && depth < kDepthMax; ++depth) {
      if (at == folder) return true;
      auto node = store_.node(at);
      if (!node || at == kRootNode) return false;
      at = node->parent;
    }
    return false;
  });
}

// ---- records

Result<NodeId> Tree::by_identity(const Facts& seen) const {
  if (!lasting(seen.identity)) return NodeId{};
  auto cell = store_.cell(Table::entries, kByIdentity, index_key(seen.identity));
  if (!cell) return pass(cell.error());
  if (!*cell) return NodeId{};
  const NodeId id{from_cell<Le<std::uint64_t>>(**cell)};
  auto node = store_.node(id);
  if (!node || static_cast<EntryKind>(node->kind) != seen.kind) return NodeId{};
  auto identity = text(store_, id, Text::extra);
  return identity && *identity == seen.identity ? id : NodeId{};
}

Result<> Tree::index(store::Transaction& tx, NodeId id, const Identity& identity) {
  if (!lasting(identity)) return {};
  return tx.put_cell(Table::entries, kByIdentity, index_key(identity),
                     to_cell(Le<std::uint64_t>(id.value)));
}

Result<> Tree::unindex(store::Transaction& tx, NodeId id) {
  auto identity = text(store_, id, Text::extra);
  if (!identity || !lasting(*identity)) return {};
  const auto key = index_key(*identity);
  auto cell = store_.cell(Table::entries, kByIdentity, key);
  if (!cell) return pass(cell.error());
  if (!*cell || from_cell<Le<std::uint64_t>>(**cell) != id.value) return {};
  return tx.erase_cell(Table::entries, kByIdentity, key);
}

Result<NodeId> Tree::add(store::Transaction& tx, const Facts& seen, Version version) {
  auto id = tx.make_node(static_cast<store::Kind>(seen.kind));
  if (!id) return id;
  if (auto ok = put(tx, *id, seen, version, version); !ok) return pass(ok.error());
  return id;
}

Result<> Tree::put(store::Transaction& tx, NodeId id, const Facts& seen, Version content,
                   Version attributes) {
  auto node = store_.node(id);
  if (!node) return no_entry(id);
  auto old = facts(id);
  if (!old) return pass(old.error());
  node->size = seen.size;
  node->mode = seen.attributes.mode;
  node->uid = seen.attributes.uid;
  node->gid = seen.attributes.gid;
  node->mtime = seen.attributes.mtime;
  node->ctime = seen.ctime;
  node->content_local = seen.links;
  if (content) {
    node->content_server = content;
    node->hash_known = false;
  }
  if (attributes) node->attributes_server = attributes;
  if (auto ok = tx.put(id, *node); !ok) return ok;
  if (old->identity != seen.identity) {
    if (auto ok = unindex(tx, id); !ok) return ok;
    if (auto ok = tx.set_text(id, Text::extra, as_bytes(seen.identity)); !ok) return ok;
    if (auto ok = index(tx, id, seen.identity); !ok) return ok;
  }
  if (old->attributes.xattrs != seen.attributes.xattrs) {
    if (auto ok = tx.set_text(id, Text::xattrs, seen.attributes.xattrs); !ok) return ok;
  }
  if (old->target != seen.target) {
    return tx.set_text(id, Text::target, as_bytes(seen.target));
  }
  return {};
}

std::optional<std::pair<std::uint32_t, std::uint32_t>> Tree::owner(NodeId id) const {
  auto raw = store_.cell(Table::entries, kOwners, id.index());
  if (!raw || !*raw) return std::nullopt;
  const auto cell = from_cell<OwnerCell>(**raw);
  if (cell.node != id.value) return std::nullopt;
  return std::pair<std::uint32_t, std::uint32_t>(cell.uid, cell.gid);
}

Result<> Tree::set_owner(store::Transaction& tx, NodeId id, std::uint32_t uid, std::uint32_t gid) {
  auto seen = facts(id);
  if (!seen) return pass(seen.error());
  if (seen->attributes.uid == uid && seen->attributes.gid == gid) {
    return tx.erase_cell(Table::entries, kOwners, id.index());
  }
  OwnerCell cell{};
  cell.node = id.value;
  cell.uid = uid;
  cell.gid = gid;
  return tx.put_cell(Table::entries, kOwners, id.index(), to_cell(cell));
}

Result<> Tree::set_hash(store::Transaction& tx, NodeId id, std::uint64_t hash) {
  auto node = store_.node(id);
  if (!node) return no_entry(id);
  node->hash = hash;
  node->hash_known = true;
  return tx.put(id, *node);
}

Result<Seq> Tree::bind(store::Transaction& tx, NodeId parent, const std::string& name, NodeId id,
                       const Origin& origin) {
  if (auto ok = tx.bind(parent, name, Side::local, id); !ok) return pass(ok.error());
  if (auto ok = tx.erase_cell(Table::orphans, 0, id.index()); !ok) return pass(ok.error());
  return log_.append(tx, {{}, proto::ChangeKind::name_set, id, parent, name, origin});
}

Result<Seq> Tree::unbind(store::Transaction& tx, NodeId parent, const std::string& name,
                         const Origin& origin) {
  auto id = child(parent, name);
  if (!id) return pass(id.error());
  if (auto ok = tx.bind(parent, name, Side::local, NodeId{}); !ok) return pass(ok.error());
  return log_.append(tx, {{}, proto::ChangeKind::name_gone, *id, parent, name, origin});
}

Result<> Tree::drop(store::Transaction& tx, NodeId id) {
  std::vector<NodeId> waiting{id};
  while (!waiting.empty()) {
    const NodeId at = waiting.back();
    waiting.pop_back();
    std::vector<std::pair<std::string, NodeId>> beneath;
    auto ok = store_.list(at, 0, [&](const Name& name) {
      beneath.emplace_back(name.text, name.local);
      return true;
    });
    if (!ok) return ok;
    for (const auto& [name, child_id] : beneath) {
      if (auto done = tx.bind(at, name, Side::local, NodeId{}); !done) return done;
      auto left = store_.names_of(child_id);
      if (left && left->empty()) waiting.push_back(child_id);
    }
    if (auto done = unindex(tx, at); !done) return done;
    if (auto done = tx.erase_cell(Table::entries, kOwners, at.index()); !done) return done;
    if (auto done = tx.erase_cell(Table::orphans, 0, at.index()); !done) return done;
    if (auto done = tx.drop_node(at); !done) return done;
  }
  return {};
}

Result<> Tree::settle(store::Transaction& tx, NodeId id) {
  auto names = store_.names_of(id);
  if (!names) return {};  // gone already
  if (!names->empty() || id == kRootNode) return {};
  auto identity = text(store_, id, Text::extra);
  if (!identity) return pass(identity.error());
  if (!lasting(*identity)) return drop(tx, id);
  return tx.put_cell(Table::orphans, 0, id.index(), to_cell(Le<std::uint64_t>(id.value)));
}

Result<> Tree::drop_orphans(store::Transaction& tx, std::size_t keep) {
  std::vector<NodeId> all;
  auto ok = store_.scan(Table::orphans, 0, 0, [&](std::uint64_t, const Cell& cell) {
    all.push_back(NodeId{from_cell<Le<std::uint64_t>>(cell)});
    return true;
  });
  if (!ok) return ok;
  for (std::size_t i = 0; i + keep < all.size(); ++i) {
    if (auto done = drop(tx, all[i]); !done) return done;
  }
  return {};
}

}  // namespace ebb::server
