// Messages with random fields that keep to the bounds of the protocol, for property tests.
#pragma once

#include <random>

#include "base/xattrs.h"
#include "proto/messages.h"

namespace ebb::proto {

using RandomBits = std::mt19937_64;

inline Bytes random_bytes(RandomBits& random, std::size_t n) {
  Bytes out(n);
  for (std::byte& b : out) b = static_cast<std::byte>(random());
  return out;
}

inline std::string random_text(RandomBits& random, std::size_t max) {
  std::string out(random() % (max + 1), ' ');
  for (char& c : out) c = static_cast<char>('a' + random() % 26);
  return out;
}

inline std::string random_name(RandomBits& random) {
  std::string out(1 + random() % kNameMax, ' ');
  for (char& c : out) {
    do c = static_cast<char>(random());
    while (c == '/' || c == '\0');
  }
  return valid_name(out) ? out : "x";
}

/// Small, huge or in between: what a comparison gets wrong is at the ends.
inline std::uint64_t random_number(RandomBits& random) {
  switch (random() % 4) {
    case 0:
      return random() % 3;
    case 1:
      return ~(random() % 3);
    default:
      return random();
  }
}

template <class Id>
Id random_id(RandomBits& random) {
  return Id(random_number(random));
}

inline std::uint64_t random_size(RandomBits& random) {
  return random_number(random) & kSizeMax;
}

inline std::vector<Range> random_ranges(RandomBits& random, std::uint64_t end) {
  std::vector<Range> out;
  std::uint64_t at = 0;
  for (std::uint64_t n = random() % 20; n > 0 && at < end; --n) {
    const std::uint64_t begin = at + random() % ((end - at) / 2 + 1);
    if (begin >= end) break;
    at = begin + 1 + random() % (end - begin);
    out.push_back({begin, at});
  }
  return out;
}

inline Attributes random_attributes(RandomBits& random) {
  Attributes a;
  a.mode = random() & 07777;
  a.uid = static_cast<std::uint32_t>(random());
  a.gid = static_cast<std::uint32_t>(random());
  a.mtime = static_cast<WallNs>(random_number(random));
  Xattrs xattrs;
  for (std::uint64_t n = random() % 3; n > 0; --n) {
    xattrs["user." + random_text(random, 20)] = random_text(random, 300);
  }
  a.xattrs = pack_xattrs(xattrs);
  return a;
}

inline Entry random_entry(RandomBits& random) {
  Entry e;
  e.id = random_id<EntryId>(random);
  e.kind = static_cast<EntryKind>(random() % 4);
  e.size = random_size(random);
  e.links = static_cast<std::uint32_t>(random());
  e.content_version = random_id<Version>(random);
  e.attributes_version = random_id<Version>(random);
  e.attributes = random_attributes(random);
  e.target = random_text(random, 100);
  return e;
}

inline Place random_place(RandomBits& random) {
  const auto folder = random_id<EntryId>(random);
  return folder ? Place{folder, random_name(random)} : Place{};
}

inline Operation random_operation(RandomBits& random) {
  return {random_id<OpId>(random), random_id<OpId>(random)};
}

inline void randomize(RandomBits& r, ErrorMessage& m) {
  m = {static_cast<Errc>(r()), r() % 2 == 0, random_text(r, kSentenceMax)};
}
inline void randomize(RandomBits& r, Ping& m) {
  m.nonce = r();
}
inline void randomize(RandomBits& r, Pong& m) {
  m.nonce = r();
}
inline void randomize(RandomBits& r, VersionHandshake& m) {
  m.version_min = static_cast<std::uint16_t>(r() % 100);
  m.version_max = static_cast<std::uint16_t>(m.version_min + r() % 100);
  m.capabilities = r();
  m.packet_max = kPacketMaxAtFirst + static_cast<std::uint32_t>(r() % kPacketMaxEver);
  m.client = ClientId(r() % kClientIdEnd);
  m.client_name = random_text(r, kClientNameMax);
  for (auto& b : m.tree.bytes) b = static_cast<std::uint8_t>(r());
  m.epoch = random_id<Epoch>(r);
  m.sequence = random_id<Seq>(r);
  m.proof = random_bytes(r, r() % kProofMax);
  if (r() % 2 == 0) m.subtree = random_name(r) + "/" + random_name(r);
}
inline void randomize(RandomBits& r, VersionHandshakeResponse& m) {
  m.code = static_cast<Errc>(r() % 40);
  m.version_min = static_cast<std::uint16_t>(r() % 100);
  m.version_max = static_cast<std::uint16_t>(m.version_min + r() % 100);
  m.version = static_cast<std::uint16_t>(r());
  m.capabilities = r();
  m.packet_max = kPacketMaxAtFirst + static_cast<std::uint32_t>(r() % kPacketMaxEver);
  for (auto& b : m.tree.bytes) b = static_cast<std::uint8_t>(r());
  m.epoch = random_id<Epoch>(r);
  m.sequence = random_id<Seq>(r);
  m.continues = r() % 2 == 0;
  m.read_only = r() % 2 == 0;
  m.sentence = random_text(r, kSentenceMax);
}
inline void randomize(RandomBits& r, FileSyncInit& m) {
  m.operation = random_operation(r);
  m.entry = random_id<EntryId>(r);
  m.place = random_place(r);
  m.content_version = random_id<Version>(r);
  m.attributes_version = random_id<Version>(r);
  m.size = random_size(r);
  m.attribute_bits = static_cast<std::uint8_t>(r() % 16);
  m.attributes = random_attributes(r);
  m.ranges = random_ranges(r, m.size);
  m.holes = random_ranges(r, m.size);
}
inline void randomize(RandomBits& r, FileSyncInitResponse& m) {
  m = {static_cast<Errc>(r() % 40), random_text(r, 200), random_size(r)};
}
inline void randomize(RandomBits& r, FileSyncData& m) {
  m.bytes = random_bytes(r, r() % 10000);
  m.offset = random_size(r) % (kSizeMax - m.bytes.size() + 1);
}
inline void randomize(RandomBits& r, FileSyncCheckHash& m) {
  m.sent = r();
}
inline void randomize(RandomBits& r, FileSyncCheckHashResponse& m) {
  m = {static_cast<Errc>(r() % 40),
       random_text(r, 200),
       random_id<EntryId>(r),
       random_id<Version>(r),
       random_id<Version>(r),
       r(),
       random_id<Seq>(r)};
}
inline void randomize(RandomBits&, FileSyncFinish&) {}
inline void randomize(RandomBits& r, Pull& m) {
  m = {random_id<EntryId>(r), random_id<Version>(r), random_ranges(r, random_size(r)),
       static_cast<std::uint8_t>(r()), r() % 2 == 0};
}
inline void randomize(RandomBits&, Cancel&) {}
inline void randomize(RandomBits& r, List& m) {
  m = {random_id<EntryId>(r), static_cast<std::uint32_t>(r())};
}
inline void randomize(RandomBits& r, ListPage& m) {
  m.folder = random_id<EntryId>(r);
  m.sequence = random_id<Seq>(r);
  m.first = r() % 2 == 0;
  m.last = r() % 2 == 0;
  m.end = r() % 2 == 0;
  for (std::uint64_t n = r() % 20; n > 0; --n) {
    m.entries.push_back({random_name(r), random_entry(r)});
  }
}
inline void randomize(RandomBits& r, Mutate& m) {
  m.operation = random_operation(r);
  m.kind = static_cast<MutationKind>(1 + r() % 7);
  m.entry = random_id<EntryId>(r);
  m.other = random_id<EntryId>(r);
  m.from = random_place(r);
  m.place = random_place(r);
  m.content_version = random_id<Version>(r);
  m.attributes_version = random_id<Version>(r);
  m.attribute_bits = static_cast<std::uint8_t>(r() % 16);
  m.attributes = random_attributes(r);
  m.target = random_text(r, kTargetMax);
}
inline void randomize(RandomBits& r, MutateResponse& m) {
  m = {static_cast<Errc>(r() % 40), random_text(r, 200),   random_id<EntryId>(r),
       random_id<Version>(r),       random_id<Version>(r), random_id<Seq>(r)};
}
inline void randomize(RandomBits& r, Watch& m) {
  m = {random_id<Epoch>(r), random_id<Seq>(r)};
}
inline void randomize(RandomBits& r, WatchResponse& m) {
  m = {r() % 2 == 0, random_id<Epoch>(r), random_id<Seq>(r)};
}
inline void randomize(RandomBits& r, Change& m) {
  m = {random_id<Seq>(r),      static_cast<ChangeKind>(1 + r() % 3),
       random_place(r),        random_entry(r),
       random_id<ClientId>(r), random_id<OpId>(r)};
}
inline void randomize(RandomBits& r, Stat& m) {
  m.entry = random_id<EntryId>(r);
}
inline void randomize(RandomBits& r, StatResponse& m) {
  m = {random_id<Seq>(r), random_entry(r)};
}
inline void randomize(RandomBits&, StatFs&) {}
inline void randomize(RandomBits& r, StatFsResponse& m) {
  m = {r(), r(), r(), r(), r()};
}

inline std::string random_path(RandomBits& r) {
  std::string path;
  for (auto names = r() % 4; names > 0; --names) {
    path += (path.empty() ? "" : "/") + random_name(r);
  }
  return path;
}
inline void randomize(RandomBits& r, History& m) {
  m = {random_id<EntryId>(r), random_path(r)};
}
inline void randomize(RandomBits& r, HistoryPage& m) {
  m.end = r() % 2 == 0;
  for (auto count = r() % 4; count > 0; --count) {
    m.versions.push_back({random_id<Version>(r), static_cast<EntryKind>(1 + r() % 3), r() % 2 == 0,
                          r() >> 1, static_cast<WallNs>(r()), static_cast<WallNs>(r()),
                          random_id<ClientId>(r), random_text(r, kClientNameMax), random_path(r)});
  }
}
inline void randomize(RandomBits& r, Restore& m) {
  m = {random_id<EntryId>(r), random_path(r), random_id<Version>(r)};
}
inline void randomize(RandomBits& r, RestoreResponse& m) {
  m = {random_id<EntryId>(r), random_id<Version>(r), random_id<Seq>(r)};
}
inline void randomize(RandomBits& r, Chunks& m) {
  m = {random_id<EntryId>(r), random_id<Version>(r)};
}
inline void randomize(RandomBits& r, ChunkList& m) {
  m.end = r() % 2 == 0;
  m.hash = r();
  for (auto count = r() % 20; count > 0; --count) {
    Chunk chunk;
    chunk.size = 1 + static_cast<std::uint32_t>(r() % kChunkMost);
    for (auto& b : chunk.hash) b = static_cast<std::uint8_t>(r());
    m.chunks.push_back(chunk);
  }
}
inline void randomize(RandomBits& r, FileSyncDelta& m) {
  randomize(r, m.init);
  m.source = random_id<EntryId>(r);
  m.source_version = random_id<Version>(r);
  m.hash = r();
  for (const auto& range : random_ranges(r, random_size(r))) {
    m.copies.push_back({range.begin, r() % (kSizeMax - range.size() + 1), range.size()});
  }
}

inline Digest random_digest(RandomBits& r) {
  Digest out;
  for (auto& b : out) b = static_cast<std::uint8_t>(r());
  return out;
}
inline FsmapOf random_map(RandomBits& r) {
  return {static_cast<DigestKind>(1 + r() % 2), random_id<EntryId>(r)};
}
inline void randomize(RandomBits& r, Fsmap& m) {
  m = {random_map(r)};
}
inline void randomize(RandomBits& r, FsmapResponse& m) {
  m = {random_digest(r), r(), r()};
}
inline void randomize(RandomBits& r, FsmapHashes& m) {
  m = {random_map(r), random_digest(r), random_number(r)};
}
inline void randomize(RandomBits& r, FsmapHashesPage& m) {
  m = {r() % 2 == 0, random_number(r), {}};
  for (auto count = r() % 4; count > 0; --count) m.digests.push_back(random_digest(r));
}
inline void randomize(RandomBits& r, FsmapFile& m) {
  m = {random_map(r), random_digest(r), random_number(r), random_size(r)};
}
inline void randomize(RandomBits& r, FsmapPath& m) {
  m.path = random_name(r) + "/" + random_name(r);
}
inline void randomize(RandomBits& r, Compare& m) {
  for (auto count = r() % 4; count > 0; --count) {
    m.folders.push_back({random_id<EntryId>(r), random_digest(r)});
  }
}
inline void randomize(RandomBits& r, CompareResponse& m) {
  m.sequence = random_id<Seq>(r);
  for (auto count = r() % 4; count > 0; --count) m.different.push_back(random_id<EntryId>(r));
}

/// The variant's alternative `index` with random fields.
template <std::size_t I = 0>
Body random_body(RandomBits& random, std::size_t index) {
  if constexpr (I + 1 < std::variant_size_v<AnyBody>) {
    if (index != I) return random_body<I + 1>(random, index);
  }
  std::variant_alternative_t<I, AnyBody> message;
  randomize(random, message);
  return message;
}

inline Body random_body(RandomBits& random) {
  return random_body(random, random() % std::variant_size_v<AnyBody>);
}

}  // namespace ebb::proto
