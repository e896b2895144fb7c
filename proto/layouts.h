// The layout of every message, once: the same function drives the Encoder and the Decoder, so the
// two cannot differ.  The order of the calls is the order on the wire.  Fields are added at the end
// only.  The same tables stand in ebb-protocol(7).  Private to proto/.
#pragma once

#include <algorithm>
#include <type_traits>

#include "base/xattrs.h"
#include "proto/messages.h"

namespace ebb::proto {

/// What a visitor sees of a T: the decoder fills it, the encoder reads it.
template <class V, class T>
using Seen = std::conditional_t<V::kReads, T, const T>;

// ---- parts

template <class V>
void name(V& v, Seen<V, std::string>& text) {
  v.text(text, kNameMax, "a name");
  v.check(valid_name(text), "a name");
}

template <class V>
void path(V& v, Seen<V, std::string>& text) {
  v.text(text, kPathMax, "a path");
  v.check(valid_path(text), "a path");
}

template <class V>
void ranges(V& v, Seen<V, std::vector<Range>>& list) {
  std::uint64_t end = 0;
  v.list(list, 16, kRangesMax, "the number of ranges", [&end](V& in, Seen<V, Range>& range) {
    in.number(range.begin);
    in.number(range.end);
    in.check(range.begin >= end && range.begin < range.end && range.end <= kSizeMax, "a range");
    end = range.end;
  });
}

inline bool valid_xattrs(const Bytes& packed) {
  return packed.empty() || unpack_xattrs(packed).has_value();
}

template <class V>
void fields(V& v, Seen<V, Attributes>& m) {
  v.sized([&m](V& in) {
    in.number(m.mode);
    in.check(m.mode <= 07777, "a mode");
    in.number(m.uid);
    in.number(m.gid);
    in.number(m.mtime);
    in.bytes(m.xattrs, kXattrsMax, "xattrs");
    in.check(valid_xattrs(m.xattrs), "xattrs");
  });
}

template <class V>
void attribute_bits(V& v, Seen<V, std::uint8_t>& bits) {
  v.number(bits);
  v.check(bits <= (kMode | kMtime | kOwner | kXattrs), "attribute bits");
}

template <class V>
void target(V& v, Seen<V, std::string>& text) {
  v.text(text, kTargetMax, "a symlink's target");
  v.check(text.find('\0') == text.npos, "a symlink's target");
}

template <class V>
void size(V& v, Seen<V, std::uint64_t>& value) {
  v.number(value);
  v.check(value <= kSizeMax, "a size");
}

template <class V>
void fields(V& v, Seen<V, Entry>& m) {
  v.sized([&m](V& in) {
    in.id(m.id);
    in.choice(m.kind, EntryKind::none, EntryKind::symlink, "the kind of an entry");
    size(in, m.size);
    in.number(m.links);
    in.id(m.content_version);
    in.id(m.attributes_version);
    fields(in, m.attributes);
    target(in, m.target);
  });
}

template <class V>
void fields(V& v, Seen<V, NamedEntry>& m) {
  name(v, m.name);
  fields(v, m.entry);
}
/// The least that a NamedEntry can be.
inline constexpr std::size_t kNamedEntryLeast = 74;

/// A folder and a name, or neither.
template <class V>
void fields(V& v, Seen<V, Place>& m) {
  v.id(m.folder);
  v.text(m.name, kNameMax, "a name");
  v.check(m.folder ? valid_name(m.name) : m.name.empty(), "a name");
}

template <class V>
void fields(V& v, Seen<V, Operation>& m) {
  v.id(m.id);
  v.id(m.answered);
}

// ---- connection

inline bool valid_client_name(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-';
  });
}

template <class V>
void fields(V& v, Seen<V, VersionHandshake>& m) {
  auto magic = VersionHandshake::kMagic;
  v.fixed(magic);
  v.check(magic == VersionHandshake::kMagic, "no EbbFS client");
  v.number(m.version_min);
  v.number(m.version_max);
  v.check(m.version_min <= m.version_max, "the range of versions");
  v.number(m.capabilities);
  v.number(m.packet_max);
  v.check(m.packet_max >= kPacketMaxAtFirst, "the largest packet");
  v.id(m.client);
  v.check(m.client.value < kClientIdEnd, "a client's id");
  v.text(m.client_name, kClientNameMax, "a client's name");
  v.check(valid_client_name(m.client_name), "a client's name");
  v.fixed(m.tree.bytes);
  v.id(m.epoch);
  v.id(m.sequence);
  v.bytes(m.proof, kProofMax, "the proof");
  if (!v.more()) return;
  path(v, m.subtree);
  v.check(m.subtree.size() <= kSubtreeMax, "a subtree");
}

template <class V>
void fields(V& v, Seen<V, VersionHandshakeResponse>& m) {
  auto magic = VersionHandshake::kMagic;
  v.fixed(magic);
  v.check(magic == VersionHandshake::kMagic, "no EbbFS server");
  v.code(m.code);
  v.number(m.version_min);
  v.number(m.version_max);
  v.check(m.version_min <= m.version_max, "the range of versions");
  v.number(m.version);
  v.number(m.capabilities);
  v.number(m.packet_max);
  v.check(m.packet_max >= kPacketMaxAtFirst, "the largest packet");
  v.fixed(m.tree.bytes);
  v.id(m.epoch);
  v.id(m.sequence);
  v.flag(m.continues);
  v.flag(m.read_only);
  v.sentence(m.sentence);
}

template <class V>
void fields(V& v, Seen<V, Ping>& m) {
  v.number(m.nonce);
}

template <class V>
void fields(V& v, Seen<V, Pong>& m) {
  v.number(m.nonce);
}

template <class V>
void fields(V& v, Seen<V, ErrorMessage>& m) {
  v.code(m.code);
  v.flag(m.retry);
  v.sentence(m.sentence);
}

// ---- the six packets

template <class V>
void fields(V& v, Seen<V, FileSyncInit>& m) {
  fields(v, m.operation);
  v.id(m.entry);
  fields(v, m.place);
  v.id(m.content_version);
  v.id(m.attributes_version);
  size(v, m.size);
  attribute_bits(v, m.attribute_bits);
  fields(v, m.attributes);
  ranges(v, m.ranges);
  v.check(m.ranges.empty() || m.ranges.back().end <= m.size, "a range past the size");
  ranges(v, m.holes);
  v.check(m.holes.empty() || m.holes.back().end <= m.size, "a hole past the size");
}

template <class V>
void fields(V& v, Seen<V, FileSyncInitResponse>& m) {
  v.code(m.code);
  v.sentence(m.sentence);
  size(v, m.resume_at);
}

template <class V>
void fields(V& v, Seen<V, FileSyncData>& m) {
  size(v, m.offset);
  v.bytes(m.bytes, kMessageMax, "data");
  v.check(m.bytes.size() <= kSizeMax - m.offset, "data past the largest size");
}

template <class V>
void fields(V& v, Seen<V, FileSyncCheckHash>& m) {
  v.number(m.sent);
}

template <class V>
void fields(V& v, Seen<V, FileSyncCheckHashResponse>& m) {
  v.code(m.code);
  v.sentence(m.sentence);
  v.id(m.entry);
  v.id(m.content_version);
  v.id(m.attributes_version);
  v.number(m.hash);
  v.id(m.sequence);
}

template <class V>
void fields(V&, Seen<V, FileSyncFinish>&) {}

// ---- requests

template <class V>
void fields(V& v, Seen<V, Pull>& m) {
  v.id(m.entry);
  v.id(m.content_version);
  ranges(v, m.ranges);
  v.number(m.priority);
  v.flag(m.holes);
}

template <class V>
void fields(V&, Seen<V, Cancel>&) {}

template <class V>
void fields(V& v, Seen<V, List>& m) {
  v.id(m.folder);
  v.number(m.budget);
}

template <class V>
void fields(V& v, Seen<V, ListPage>& m) {
  v.id(m.folder);
  v.id(m.sequence);
  v.flag(m.first);
  v.flag(m.last);
  v.flag(m.end);
  v.list(m.entries, kNamedEntryLeast, kMessageMax, "the number of entries",
         [](V& in, Seen<V, NamedEntry>& entry) { fields(in, entry); });
}

template <class V>
void fields(V& v, Seen<V, Mutate>& m) {
  fields(v, m.operation);
  v.choice(m.kind, MutationKind::make_folder, MutationKind::set_attributes,
           "the kind of a mutation");
  v.id(m.entry);
  v.id(m.other);
  fields(v, m.from);
  fields(v, m.place);
  v.id(m.content_version);
  v.id(m.attributes_version);
  attribute_bits(v, m.attribute_bits);
  fields(v, m.attributes);
  target(v, m.target);
}

template <class V>
void fields(V& v, Seen<V, MutateResponse>& m) {
  v.code(m.code);
  v.sentence(m.sentence);
  v.id(m.entry);
  v.id(m.content_version);
  v.id(m.attributes_version);
  v.id(m.sequence);
}

template <class V>
void fields(V& v, Seen<V, Watch>& m) {
  v.id(m.epoch);
  v.id(m.sequence);
}

template <class V>
void fields(V& v, Seen<V, WatchResponse>& m) {
  v.flag(m.complete);
  v.id(m.epoch);
  v.id(m.sequence);
}

template <class V>
void fields(V& v, Seen<V, Change>& m) {
  v.id(m.sequence);
  v.choice(m.kind, ChangeKind::name_set, ChangeKind::entry_changed, "the kind of a change");
  fields(v, m.place);
  fields(v, m.entry);
  v.id(m.by);
  v.id(m.operation);
}

template <class V>
void fields(V& v, Seen<V, Stat>& m) {
  v.id(m.entry);
}

template <class V>
void fields(V& v, Seen<V, StatResponse>& m) {
  v.id(m.sequence);
  fields(v, m.entry);
}

template <class V>
void fields(V&, Seen<V, StatFs>&) {}

template <class V>
void fields(V& v, Seen<V, StatFsResponse>& m) {
  v.number(m.bytes_total);
  v.number(m.bytes_free);
  v.number(m.files_total);
  v.number(m.files_free);
  v.number(m.bytes_available);
}

// ---- history

template <class V>
void fields(V& v, Seen<V, History>& m) {
  v.id(m.entry);
  path(v, m.path);
}

template <class V>
void fields(V& v, Seen<V, KeptVersion>& m) {
  v.sized([&m](V& in) {
    in.id(m.version);
    in.choice(m.kind, EntryKind::file, EntryKind::symlink, "the kind of an entry");
    in.flag(m.deleted);
    size(in, m.size);
    in.number(m.mtime);
    in.number(m.when);
    in.id(m.by);
    in.text(m.client_name, kClientNameMax, "a client's name");
    path(in, m.path);
  });
}
/// The least that a KeptVersion can be.
inline constexpr std::size_t kKeptVersionLeast = 50;

template <class V>
void fields(V& v, Seen<V, HistoryPage>& m) {
  v.flag(m.end);
  v.list(m.versions, kKeptVersionLeast, kMessageMax, "the number of versions",
         [](V& in, Seen<V, KeptVersion>& version) { fields(in, version); });
}

template <class V>
void fields(V& v, Seen<V, Restore>& m) {
  v.id(m.entry);
  path(v, m.path);
  v.id(m.version);
}

template <class V>
void fields(V& v, Seen<V, RestoreResponse>& m) {
  v.id(m.entry);
  v.id(m.content_version);
  v.id(m.sequence);
}

// ---- maps

template <class V>
void fields(V& v, Seen<V, FsmapOf>& m) {
  v.choice(m.hash, DigestKind::md5, DigestKind::xxh3, "the hash of a map");
  v.id(m.folder);
}

template <class V>
void fields(V& v, Seen<V, Fsmap>& m) {
  fields(v, m.of);
}

template <class V>
void fields(V& v, Seen<V, FsmapResponse>& m) {
  v.fixed(m.summary);
  v.number(m.files);
  v.number(m.bytes);
}

template <class V>
void fields(V& v, Seen<V, FsmapHashes>& m) {
  fields(v, m.of);
  v.fixed(m.summary);
  v.number(m.from);
}

template <class V>
void fields(V& v, Seen<V, FsmapHashesPage>& m) {
  v.flag(m.end);
  v.number(m.from);
  v.list(m.digests, sizeof(Digest), kMessageMax, "the number of hashes",
         [](V& in, Seen<V, Digest>& digest) { in.fixed(digest); });
}

template <class V>
void fields(V& v, Seen<V, FsmapFile>& m) {
  fields(v, m.of);
  v.fixed(m.summary);
  v.number(m.index);
  size(v, m.offset);
}

template <class V>
void fields(V& v, Seen<V, FsmapPath>& m) {
  path(v, m.path);
  v.check(!m.path.empty(), "a path");
}

template <class V>
void fields(V& v, Seen<V, FolderSummary>& m) {
  v.id(m.folder);
  v.fixed(m.summary);
}

template <class V>
void fields(V& v, Seen<V, Compare>& m) {
  v.list(m.folders, 8 + sizeof(Digest), kCompareMax, "the number of folders",
         [](V& in, Seen<V, FolderSummary>& folder) { fields(in, folder); });
}

template <class V>
void fields(V& v, Seen<V, CompareResponse>& m) {
  v.id(m.sequence);
  v.list(m.different, 8, kCompareMax, "the number of folders",
         [](V& in, Seen<V, EntryId>& folder) { in.id(folder); });
}

// ---- what the other side has already

template <class V>
void fields(V& v, Seen<V, Chunk>& m) {
  v.number(m.size);
  v.check(m.size != 0 && m.size <= kChunkMost, "the size of a chunk");
  v.fixed(m.hash);
}
inline constexpr std::size_t kChunkLeast = 36;

template <class V>
void fields(V& v, Seen<V, Chunks>& m) {
  v.id(m.entry);
  v.id(m.content_version);
}

template <class V>
void fields(V& v, Seen<V, ChunkList>& m) {
  v.flag(m.end);
  v.number(m.hash);
  v.list(m.chunks, kChunkLeast, kMessageMax, "the number of chunks",
         [](V& in, Seen<V, Chunk>& chunk) { fields(in, chunk); });
}

/// In order, and none over another one, in the new content; in the old one as they come.
template <class V>
void fields(V& v, Seen<V, std::vector<Copy>>& list) {
  std::uint64_t end = 0;
  v.list(list, 24, kCopiesMax, "the number of copies", [&end](V& in, Seen<V, Copy>& copy) {
    in.number(copy.at);
    in.number(copy.from);
    in.number(copy.size);
    in.check(copy.size != 0 && copy.size <= kSizeMax && copy.at >= end &&
                 copy.at <= kSizeMax - copy.size && copy.from <= kSizeMax - copy.size,
             "a copy");
    end = copy.at + copy.size;
  });
}

template <class V>
void fields(V& v, Seen<V, FileSyncDelta>& m) {
  v.sized([&m](V& in) { fields(in, m.init); });
  v.id(m.source);
  v.id(m.source_version);
  v.number(m.hash);
  fields(v, m.copies);
}

}  // namespace ebb::proto
