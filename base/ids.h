// The identities and counters of EbbFS as types of their own, so that none is taken for another.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>

namespace ebb {

/// A 64-bit number with a meaning.  Zero is "none" for every one of them.
template <class Tag>
struct Strong {
  std::uint64_t value = 0;

  constexpr Strong() = default;
  constexpr explicit Strong(std::uint64_t v) : value(v) {}
  constexpr explicit operator bool() const { return value != 0; }
  friend constexpr auto operator<=>(Strong, Strong) = default;
};

/// A node of a store: index of its record in `mdt` (low 40 bits) and the record's generation (23 bits above;
/// bit 63 is clear).  A record that is used again has the next generation, so a NodeId is never reused.
struct NodeIdTag;
struct NodeId : Strong<NodeIdTag> {
  static constexpr int kIndexBits = 40;
  static constexpr int kGenerationBits = 23;

  using Strong::Strong;
  static constexpr NodeId make(std::uint64_t index, std::uint32_t generation) {
    return NodeId(index | (std::uint64_t{generation} << kIndexBits));
  }
  constexpr std::uint64_t index() const { return value & ((std::uint64_t{1} << kIndexBits) - 1); }
  constexpr std::uint32_t generation() const {
    return static_cast<std::uint32_t>(value >> kIndexBits);
  }
};
/// The root of every tree: index 1, generation 0.  It is FUSE's root number, too.
inline constexpr NodeId kRootNode{1};

/// An entry of the server's tree.  Given by the server once, never reused; opaque to a client.  The server
/// uses its own store's NodeId; the root is kRootEntry.
using EntryId = Strong<struct EntryIdTag>;
inline constexpr EntryId kRootEntry{1};

/// A version of an entry's content or of its attributes: the server's sequence number when it was made, so
/// versions grow and are comparable within one tree.  0: never synced ("sync time is MIN").
using Version = Strong<struct VersionTag>;
/// A place in the server's log of changes.
using Seq = Strong<struct SeqTag>;
/// One opening of the server's database; random.
using Epoch = Strong<struct EpochTag>;
/// A client as its server knows it; below 2^56.
using ClientId = Strong<struct ClientIdTag>;
/// One mutation of one client; grows, never reused by that client.
using OpId = Strong<struct OpIdTag>;

/// A served tree, for ever; random.
struct TreeId {
  std::array<std::uint8_t, 16> bytes{};
  friend auto operator<=>(const TreeId&, const TreeId&) = default;
  explicit operator bool() const { return *this != TreeId{}; }
};

}  // namespace ebb

template <class Tag>
struct std::hash<ebb::Strong<Tag>> {
  std::size_t operator()(ebb::Strong<Tag> s) const noexcept {
    return std::hash<std::uint64_t>{}(s.value);
  }
};
template <>
struct std::hash<ebb::NodeId> {
  std::size_t operator()(ebb::NodeId s) const noexcept { return std::hash<std::uint64_t>{}(s.value); }
};
