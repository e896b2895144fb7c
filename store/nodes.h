// The records of mdt.  Format: ebb-store(5), "mdt".
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "store/heap.h"
#include "store/live.h"
#include "store/node.h"
#include "store/pages.h"

namespace ebb::store {

/// Part of the store; the owner's lock guards it.  The changing calls belong to the open
/// transaction.
class Nodes {
 public:
  Nodes(Pages& pages, Live& live, Heap& heap) : pages_(pages), live_(live), heap_(heap) {}

  /// Errc::stale for an id that is no more.
  Result<NodeRecord> record(NodeId id) const;
  Result<Node> get(NodeId id) const;

  Result<NodeId> make(Kind kind, std::uint32_t least_generation = 0);
  /// All but links, parent and parent_cookie.
  Result<> put(NodeId id, const Node& node);
  Result<> write(NodeId id, const NodeRecord& record);
  /// The record and its texts.
  Result<> drop(NodeId id, const NodeRecord& record);

  Result<Bytes> text(NodeId id, Text which) const;
  Result<> set_text(NodeId id, Text which, ByteView bytes);
  /// The first slots of a record's texts.
  Result<std::vector<std::uint32_t>> texts(const NodeRecord& record) const;

  /// By index, for check: the record, free or not.
  Result<NodeRecord> at(std::uint64_t index) const;

 private:
  static std::uint64_t offset_of(std::uint64_t index) {
    return (1 + index / kNodesInPage) * kPageSize + index % kNodesInPage * sizeof(NodeRecord);
  }
  Result<std::uint64_t> take_index(NodeRecord& record);
  struct Place {
    std::uint32_t first = 0;   // slot of the text, 0 = there is none
    std::uint32_t before = 0;  // and of the text before it, 0 = it is the first
    TextHead head{};
  };
  /// Visits a record's texts in the order of their list until visit returns false.
  template <class Visit>  // bool visit(const Place&)
  Result<> each_text(const NodeRecord& record, Visit&& visit) const;
  Result<Place> find_text(const NodeRecord& record, Text which) const;
  Result<> drop_text(NodeRecord& record, const Place& place);

  Pages& pages_;
  Live& live_;
  Heap& heap_;
};

inline Kind kind_of(const NodeRecord& record) {
  return static_cast<Kind>(static_cast<std::uint32_t>(record.kind_generation) & 0xff);
}
inline std::uint32_t generation_of(const NodeRecord& record) {
  return static_cast<std::uint32_t>(record.kind_generation) >> 8;
}

}  // namespace ebb::store
