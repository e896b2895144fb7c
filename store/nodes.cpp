#include "store/nodes.h"

#include <bitset>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "base/check.h"
#include "store/store.h"

namespace ebb::store {
namespace {

constexpr std::uint8_t kPinBits = 3;
constexpr std::uint8_t kHashKnownBit = 4;
constexpr std::uint32_t kGenerationMax = (1u << NodeId::kGenerationBits) - 1;

std::uint32_t packed(Kind kind, std::uint32_t generation) {
  return static_cast<std::uint32_t>(kind) | generation << 8;
}

struct FileTail {
  Le<std::uint64_t> content;
  Le<std::uint64_t> hash;
};
struct FolderTail {
  Le<std::uint32_t> error, conflict, waiting, partial;
};
static_assert(sizeof(FileTail) == sizeof(NodeRecord::content_or_beneath));
static_assert(sizeof(FolderTail) == sizeof(NodeRecord::content_or_beneath));

void pack_tail(const Node& node, NodeRecord& record) {
  if (node.is_folder()) {
    FolderTail tail;
    tail.error = node.beneath_error;
    tail.conflict = node.beneath_conflict;
    tail.waiting = node.beneath_waiting;
    tail.partial = node.beneath_partial;
    std::memcpy(record.content_or_beneath, &tail, sizeof tail);
  } else {
    FileTail tail;
    tail.content = is_device(node.kind) ? node.device : node.content;
    tail.hash = node.hash;
    std::memcpy(record.content_or_beneath, &tail, sizeof tail);
  }
}

void unpack_tail(const NodeRecord& record, Node& node) {
  if (node.is_folder()) {
    FolderTail tail;
    std::memcpy(&tail, record.content_or_beneath, sizeof tail);
    node.beneath_error = tail.error;
    node.beneath_conflict = tail.conflict;
    node.beneath_waiting = tail.waiting;
    node.beneath_partial = tail.partial;
  } else {
    FileTail tail;
    std::memcpy(&tail, record.content_or_beneath, sizeof tail);
    (is_device(node.kind) ? node.device : node.content) = tail.content;
    node.hash = tail.hash;
  }
}

void pack(const Node& node, NodeRecord& record) {
  record.status = static_cast<std::uint8_t>(node.status);
  record.bits = static_cast<std::uint8_t>(static_cast<std::uint8_t>(node.pin) |
                                          (node.hash_known ? kHashKnownBit : 0));
  record.flags = node.flags;
  record.mode = static_cast<std::uint16_t>(node.mode & 07777);
  record.uid = node.uid;
  record.gid = node.gid;
  record.size = node.is_folder() ? record.size : Le<std::uint64_t>(node.size);
  record.mtime = node.mtime;
  record.ctime = node.ctime;
  record.entry = node.entry.value;
  record.content_base = node.content_base.value;
  record.content_server = node.content_server.value;
  record.content_local = node.content_local;
  record.attributes_base = node.attributes_base.value;
  record.attributes_server = node.attributes_server.value;
  record.attributes_local = node.attributes_local;
  record.queue_seq = node.queue_seq;
  pack_tail(node, record);
}

Node unpack(const NodeRecord& record) {
  Node node;
  node.kind = kind_of(record);
  node.status = static_cast<Status>(record.status);
  node.pin = static_cast<Pin>(record.bits & kPinBits);
  node.hash_known = (record.bits & kHashKnownBit) != 0;
  node.flags = record.flags;
  node.links = static_cast<std::uint16_t>(record.links);
  node.mode = static_cast<std::uint16_t>(record.mode);
  node.uid = record.uid;
  node.gid = record.gid;
  if (node.is_folder()) {
    node.subfolders = static_cast<std::uint32_t>(record.size);
  } else {
    node.size = record.size;
  }
  node.mtime = record.mtime;
  node.ctime = record.ctime;
  node.entry = EntryId(record.entry);
  node.content_base = Version(record.content_base);
  node.content_server = Version(record.content_server);
  node.content_local = record.content_local;
  node.attributes_base = Version(record.attributes_base);
  node.attributes_server = Version(record.attributes_server);
  node.attributes_local = record.attributes_local;
  node.parent = NodeId(record.parent);
  node.parent_cookie = record.parent_cookie;
  node.queue_seq = record.queue_seq;
  unpack_tail(record, node);
  return node;
}

bool sound(const NodeRecord& record) {
  return static_cast<std::uint8_t>(kind_of(record)) < kKinds &&
         record.status <= static_cast<std::uint8_t>(Status::syncmore) &&
         (record.bits & kPinBits) <= static_cast<std::uint8_t>(Pin::automatic) &&
         generation_of(record) <= kGenerationMax && record.reserved == 0;
}

}  // namespace

Result<NodeRecord> Nodes::at(std::uint64_t index) const {
  auto record = pages_.get<NodeRecord>(FileNo::mdt, offset_of(index));
  if (record && !sound(*record)) {
    return pages_.corrupt(FileNo::mdt, offset_of(index), "bad record");
  }
  return record;
}

Result<NodeRecord> Nodes::record(NodeId id) const {
  if (id.index() == 0 || id.index() >= live_.mdt_used || (id.value >> 63) != 0) {
    return fail(Errc::stale, fmt::format("node {:x}", id.value));
  }
  auto record = at(id.index());
  if (!record) return record;
  if (kind_of(*record) == Kind::none || generation_of(*record) != id.generation()) {
    return fail(Errc::stale, fmt::format("node {:x}", id.value));
  }
  return record;
}

Result<Node> Nodes::get(NodeId id) const {
  auto found = record(id);
  if (!found) return pass(found.error());
  return unpack(*found);
}

Result<std::uint64_t> Nodes::take_index(NodeRecord& record) {
  const auto index = live_.mdt_free;
  if (index == 0) {
    if (live_.mdt_used >> NodeId::kIndexBits != 0) return fail_errno(ENOSPC, "mdt");
    const auto pages = offset_of(live_.mdt_used) / kPageSize + 1;
    if (auto r = pages_.grow(FileNo::mdt, pages); !r) return pass(r.error());
    return live_.mdt_used++;
  }
  auto old = at(index);
  if (!old) return pass(old.error());
  if (index >= live_.mdt_used || kind_of(*old) != Kind::none || old->parent >= live_.mdt_used) {
    return pages_.corrupt(FileNo::mdt, offset_of(index), "bad free record");
  }
  live_.mdt_free = old->parent;
  record.kind_generation = packed(Kind::none, generation_of(*old));
  return index;
}

Result<NodeId> Nodes::make(Kind kind, std::uint32_t least_generation) {
  CHECK(kind != Kind::none);
  NodeRecord record{};
  auto index = take_index(record);
  if (!index) return pass(index.error());
  const auto generation = std::max(generation_of(record), least_generation);
  record.kind_generation = packed(kind, generation);
  const auto id = NodeId::make(*index, generation);
  if (auto r = write(id, record); !r) return pass(r.error());
  ++live_.nodes;
  return id;
}

Result<> Nodes::put(NodeId id, const Node& node) {
  auto now = record(id);
  if (!now) return pass(now.error());
  if (kind_of(*now) != node.kind) return fail_errno(EINVAL, "a node does not change its kind");
  pack(node, *now);
  return write(id, *now);
}

Result<> Nodes::write(NodeId id, const NodeRecord& record) {
  return pages_.write(FileNo::mdt, offset_of(id.index()), bytes_of(record));
}

Result<> Nodes::drop(NodeId id, const NodeRecord& record) {
  auto firsts = texts(record);
  if (!firsts) return pass(firsts.error());
  for (const auto first : *firsts) {
    if (auto r = heap_.free(first); !r) return r;
  }
  // The next node in this record has the next generation.  A record that has had them all is not
  // used again.
  NodeRecord free{};
  const bool again = id.generation() < kGenerationMax;
  free.kind_generation = packed(Kind::none, again ? id.generation() + 1 : id.generation());
  if (again) {
    free.parent = live_.mdt_free;
    live_.mdt_free = id.index();
  }
  if (auto r = write(id, free); !r) return r;
  --live_.nodes;
  return {};
}

// ------------------------------------------------------------------------------------------- texts

template <class Visit>
Result<> Nodes::each_text(const NodeRecord& record, Visit&& visit) const {
  Place place;
  place.first = record.texts;
  for (std::bitset<kTexts> seen; place.first != 0;) {
    auto r = heap_.read_head(place.first, std::as_writable_bytes(std::span(&place.head, 1)));
    if (!r) return r;
    if (place.head.which >= kTexts || seen.test(place.head.which)) {
      return pages_.corrupt(FileNo::fname, std::uint64_t{place.first} * sizeof(TextSlot),
                            "bad list of texts");
    }
    seen.set(place.head.which);
    if (!visit(place)) return {};
    place.before = place.first;
    place.first = place.head.next;
  }
  return {};
}

Result<std::vector<std::uint32_t>> Nodes::texts(const NodeRecord& record) const {
  std::vector<std::uint32_t> out;
  auto r = each_text(record, [&](const Place& place) {
    out.push_back(place.first);
    return true;
  });
  if (!r) return pass(r.error());
  return out;
}

Result<Nodes::Place> Nodes::find_text(const NodeRecord& record, Text which) const {
  Place found;
  auto r = each_text(record, [&](const Place& place) {
    if (place.head.which != static_cast<std::uint8_t>(which)) return true;
    found = place;
    return false;
  });
  if (!r) return pass(r.error());
  return found;
}

Result<Bytes> Nodes::text(NodeId id, Text which) const {
  auto now = record(id);
  if (!now) return pass(now.error());
  auto place = find_text(*now, which);
  if (!place) return pass(place.error());
  if (place->first == 0) return Bytes{};
  auto bytes = heap_.read(place->first);
  if (bytes) bytes->erase(bytes->begin(), bytes->begin() + sizeof(TextHead));
  return bytes;
}

Result<> Nodes::drop_text(NodeRecord& record, const Place& place) {
  if (place.before == 0) {
    record.texts = place.head.next;
  } else if (auto r = heap_.write_head(place.before, bytes_of(place.head.next)); !r) {
    return r;
  }
  return heap_.free(place.first);
}

Result<> Nodes::set_text(NodeId id, Text which, ByteView bytes) {
  if (bytes.size() > kTextMax) return fail_errno(E2BIG, "a text of a node");
  auto now = record(id);
  if (!now) return pass(now.error());
  auto place = find_text(*now, which);
  if (!place) return pass(place.error());
  if (place->first == 0 && bytes.empty()) return {};
  if (place->first != 0) {
    if (auto r = drop_text(*now, *place); !r) return r;
  }
  if (!bytes.empty()) {
    TextHead head{};
    head.next = now->texts;
    head.which = static_cast<std::uint8_t>(which);
    Bytes whole;
    Writer(whole).bytes(bytes_of(head)).bytes(bytes);
    auto fresh = heap_.write(whole);
    if (!fresh) return pass(fresh.error());
    now->texts = *fresh;
  }
  return write(id, *now);
}

}  // namespace ebb::store
