// The messages of the FS packet protocol as values.  Layout on the wire: ebb-protocol(7).
// A decoder accepts what is longer than it knows (a newer peer) and refuses what is shorter or out
// of bounds.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/hash.h"
#include "base/ids.h"
#include "base/ranges.h"
#include "base/result.h"
#include "proto/errors.h"
#include "proto/packet.h"

namespace ebb::proto {

// ---- limits of fields; who passes one is refused as bad_packet

inline constexpr std::size_t kNameMax = 255;
inline constexpr std::size_t kTargetMax = 4095;    // of a symlink
inline constexpr std::size_t kPathMax = 32767;     // names with slashes between them
inline constexpr std::size_t kSentenceMax = 1024;  // longer ones are cut when sent
inline constexpr std::size_t kClientNameMax = 64;
inline constexpr std::size_t kProofMax = 1024;
inline constexpr std::size_t kSubtreeMax = 2048;      // of a handshake, which is one packet
inline constexpr std::uint64_t kSizeMax = INT64_MAX;  // sizes, and the ends of ranges and data
inline constexpr std::uint64_t kClientIdEnd = std::uint64_t{1} << 56;

/// Bits of what both sides have to know before it is used; they are agreed on in the handshake.
enum Capability : std::uint64_t {
  kPacking = 1u << 0,   // FileSyncPacked in place of FileSyncData
  kDelta = 1u << 1,     // Chunks, and FileSyncDelta in place of FileSyncInit
  kSubtrees = 1u << 8,  // the handshake's subtree counts
};
/// Those that a side may be held from.
inline constexpr std::uint64_t kCapabilities = kPacking | kDelta;

// ---- parts

enum class EntryKind : std::uint8_t { none = 0, file = 1, folder = 2, symlink = 3 };

/// Which of the attributes count in a mutation.
enum AttributeBit : std::uint8_t { kMode = 1, kMtime = 2, kOwner = 4, kXattrs = 8 };

struct Attributes {
  std::uint32_t mode = 0;  // permission bits, 07777
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  WallNs mtime = 0;
  Bytes xattrs{};  // pack_xattrs()
  friend bool operator==(const Attributes&, const Attributes&) = default;
};

/// An entry of the server's tree.
struct Entry {
  EntryId id{};
  EntryKind kind = EntryKind::none;
  std::uint64_t size = 0;
  std::uint32_t links = 1;
  Version content_version{};
  Version attributes_version{};
  Attributes attributes{};
  std::string target{};  // symlink
  friend bool operator==(const Entry&, const Entry&) = default;
};

/// A name in a folder of the server's tree.
struct Place {
  EntryId folder{};
  std::string name{};
  friend bool operator==(const Place&, const Place&) = default;
};

struct NamedEntry {
  std::string name{};
  Entry entry{};
  friend bool operator==(const NamedEntry&, const NamedEntry&) = default;
};

/// Stands in every mutation: who did it, and what may be forgotten.
struct Operation {
  OpId id{};
  OpId answered{};  // the client has the answers of all operations up to this one
  friend bool operator==(const Operation&, const Operation&) = default;
};

// ---- connection

/// Client -> server, first packet of a connection.
struct VersionHandshake {
  static constexpr Type type = Type::version_handshake;
  static constexpr std::array<char, 8> kMagic{'E', 'b', 'b', 'F', 'S', '\r', '\n', '\0'};

  std::uint16_t version_min = 0;
  std::uint16_t version_max = 0;
  std::uint64_t capabilities = 0;
  std::uint32_t packet_max = kPacketMaxAtFirst;
  ClientId client{};
  std::string client_name{};  // [A-Za-z0-9-]
  TreeId tree{};              // the one known from before, or none
  Epoch epoch{};              // what the client has seen of it
  Seq sequence{};
  Bytes proof{};          // authentication; empty on Unix sockets and with --insecure
  std::string subtree{};  // the folder that is to be the root, from the root that the client has
  friend bool operator==(const VersionHandshake&, const VersionHandshake&) = default;
};

struct VersionHandshakeResponse {
  static constexpr Type type = Type::version_handshake_response;
  Errc code = Errc::ok;
  std::uint16_t version_min = 0;  // the server's range
  std::uint16_t version_max = 0;
  std::uint16_t version = 0;                     // agreed
  std::uint64_t capabilities = 0;                // agreed
  std::uint32_t packet_max = kPacketMaxAtFirst;  // agreed
  TreeId tree{};
  Epoch epoch{};
  Seq sequence{};
  bool continues = false;  // the client's (epoch, sequence) is in this server's history
  bool read_only = false;
  std::string sentence{};  // for a refusal
  friend bool operator==(const VersionHandshakeResponse&,
                         const VersionHandshakeResponse&) = default;
};

struct Ping {
  static constexpr Type type = Type::ping;
  std::uint64_t nonce = 0;
  friend bool operator==(const Ping&, const Ping&) = default;
};
struct Pong {
  static constexpr Type type = Type::pong;
  std::uint64_t nonce = 0;
  friend bool operator==(const Pong&, const Pong&) = default;
};

/// A request that failed, or the end of the connection (session 0).
struct ErrorMessage {
  static constexpr Type type = Type::error;
  Errc code = Errc::ok;
  bool retry = false;
  std::string sentence{};
  friend bool operator==(const ErrorMessage&, const ErrorMessage&) = default;
};

// ---- the six packets; push: client -> server, pull: server -> client (after Pull)

struct FileSyncInit {
  static constexpr Type type = Type::file_sync_init;
  Operation operation{};      // push
  EntryId entry{};            // push: the file, or none = a new one at `place`;  pull: the file
  Place place{};              // push of a new file
  Version content_version{};  // push: seen (none for a new file);  pull: what is sent
  Version attributes_version{};
  std::uint64_t size = 0;           // of the whole new content
  std::uint8_t attribute_bits = 0;  // push: AttributeBit, which of `attributes` are set with it
  Attributes attributes{};
  std::vector<Range>
      ranges{};  // what this session sends, in order; at most kRangesMax.  What is outside them
                 // is as in content_version (push) or not asked for (pull)
  std::vector<Range> holes{};  // not sent, and zeros: in order, none over a range that is sent
  friend bool operator==(const FileSyncInit&, const FileSyncInit&) = default;
};
inline constexpr std::size_t kRangesMax = 4096;

struct FileSyncInitResponse {
  static constexpr Type type = Type::file_sync_init_response;
  Errc code = Errc::ok;
  std::string sentence{};
  std::uint64_t resume_at =
      0;  // bytes of the session, in order of its ranges, that the other side has, checked
  friend bool operator==(const FileSyncInitResponse&, const FileSyncInitResponse&) = default;
};

struct FileSyncData {
  static constexpr Type type = Type::file_sync_data;
  std::uint64_t offset = 0;
  Bytes bytes{};
  friend bool operator==(const FileSyncData&, const FileSyncData&) = default;
};

struct FileSyncCheckHash {
  static constexpr Type type = Type::file_sync_check_hash;
  std::uint64_t sent = 0;  // session_hash.h
  friend bool operator==(const FileSyncCheckHash&, const FileSyncCheckHash&) = default;
};

/// For a push: the receipt.
struct FileSyncCheckHashResponse {
  static constexpr Type type = Type::file_sync_check_hash_response;
  Errc code = Errc::ok;
  std::string sentence{};
  EntryId entry{};
  Version content_version{};
  Version attributes_version{};
  std::uint64_t hash = 0;  // XXH3-64 of the whole content
  Seq sequence{};
  friend bool operator==(const FileSyncCheckHashResponse&,
                         const FileSyncCheckHashResponse&) = default;
};

/// The receipt has arrived and is kept.
struct FileSyncFinish {
  static constexpr Type type = Type::file_sync_finish;
  friend bool operator==(const FileSyncFinish&, const FileSyncFinish&) = default;
};

// ---- requests

/// Asks for content: FileSyncInit, Data …, CheckHash follow on this session; or Error(moved_on,
/// not_found …).
struct Pull {
  static constexpr Type type = Type::pull;
  EntryId entry{};
  Version content_version{};
  std::vector<Range> ranges{};  // empty = the whole
  std::uint8_t priority = 0;    // higher goes first: 2 a reader waits, 1 read-ahead, 0 background
  bool holes = false;           // what is a hole may be named in place of being sent
  friend bool operator==(const Pull&, const Pull&) = default;
};

/// Ends a session of ours early; its answer is nothing, or what was under way.
struct Cancel {
  static constexpr Type type = Type::cancel;
  friend bool operator==(const Cancel&, const Cancel&) = default;
};

/// Asks for a folder's entries, and with budget for those of folders beneath, breadth first.
struct List {
  static constexpr Type type = Type::list;
  EntryId folder{};
  std::uint32_t budget = 0;  // entries of folders beneath that may follow unasked
  friend bool operator==(const List&, const List&) = default;
};

/// Part of the answer to List.  Each page is of one folder; the last one of the session has `end`.
struct ListPage {
  static constexpr Type type = Type::list_page;
  EntryId folder{};
  Seq sequence{};      // changes up to this one are in it
  bool first = false;  // of this folder
  bool last = false;   // of this folder: it is complete
  bool end = false;    // of the session
  std::vector<NamedEntry> entries{};
  friend bool operator==(const ListPage&, const ListPage&) = default;
};

enum class MutationKind : std::uint8_t {
  make_folder = 1,     // place, attributes
  make_symlink = 2,    // place, attributes, target
  link = 3,            // entry, place
  rename = 4,          // entry, from, place; EEXIST when place is taken
  exchange = 5,        // entry at from and other at place change their names
  remove = 6,          // entry at from; a folder must be empty
  set_attributes = 7,  // entry, attribute_bits, attributes
};

struct Mutate {
  static constexpr Type type = Type::mutate;
  Operation operation{};
  MutationKind kind = MutationKind::make_folder;
  EntryId entry{};
  EntryId other{};
  Place from{};
  Place place{};
  Version content_version{};     // seen of `entry`, where it matters (remove)
  Version attributes_version{};  // likewise
  std::uint8_t attribute_bits = 0;
  Attributes attributes{};
  std::string target{};
  friend bool operator==(const Mutate&, const Mutate&) = default;
};

/// The receipt of a mutation.
struct MutateResponse {
  static constexpr Type type = Type::mutate_response;
  Errc code = Errc::ok;
  std::string sentence{};
  EntryId entry{};
  Version content_version{};
  Version attributes_version{};
  Seq sequence{};
  friend bool operator==(const MutateResponse&, const MutateResponse&) = default;
};

/// Asks for all changes after `sequence`, then live ones, on this session until the connection
/// ends.
struct Watch {
  static constexpr Type type = Type::watch;
  Epoch epoch{};
  Seq sequence{};
  friend bool operator==(const Watch&, const Watch&) = default;
};

/// `complete` false: the log does not reach back that far; changes follow from `sequence` on and
/// the client compares in full.
struct WatchResponse {
  static constexpr Type type = Type::watch_response;
  bool complete = false;
  Epoch epoch{};
  Seq sequence{};
  friend bool operator==(const WatchResponse&, const WatchResponse&) = default;
};

enum class ChangeKind : std::uint8_t {
  name_set = 1,  // `place` now names `entry` (a new name; what stood there before is no more there)
  name_gone = 2,      // `place` names nothing now; `entry.id` is what it named
  entry_changed = 3,  // content or attributes of `entry`
};

struct Change {
  static constexpr Type type = Type::change;
  Seq sequence{};
  ChangeKind kind = ChangeKind::entry_changed;
  Place place{};
  Entry entry{};
  ClientId by{};  // who did it, none = on the server itself
  OpId operation{};
  friend bool operator==(const Change&, const Change&) = default;
};

struct Stat {
  static constexpr Type type = Type::stat;
  EntryId entry{};
  friend bool operator==(const Stat&, const Stat&) = default;
};
struct StatResponse {
  static constexpr Type type = Type::stat_response;
  Seq sequence{};
  Entry entry{};
  friend bool operator==(const StatResponse&, const StatResponse&) = default;
};

struct StatFs {
  static constexpr Type type = Type::stat_fs;
  friend bool operator==(const StatFs&, const StatFs&) = default;
};
struct StatFsResponse {
  static constexpr Type type = Type::stat_fs_response;
  std::uint64_t bytes_total = 0;
  std::uint64_t bytes_free = 0;
  std::uint64_t files_total = 0;
  std::uint64_t files_free = 0;
  std::uint64_t bytes_available = 0;
  friend bool operator==(const StatFsResponse&, const StatFsResponse&) = default;
};

/// Asks for the kept versions of an entry, wherever it was, and of a path, whatever stood there;
/// either may be left out.
struct History {
  static constexpr Type type = Type::history;
  EntryId entry{};
  std::string path{};  // from the root
  friend bool operator==(const History&, const History&) = default;
};

struct KeptVersion {
  Version version{};  // of the content
  EntryKind kind = EntryKind::file;
  bool deleted = false;  // else replaced
  std::uint64_t size = 0;
  WallNs mtime = 0;
  WallNs when = 0;  // it was deleted or replaced
  ClientId by{};
  std::string client_name{};
  std::string path{};  // where it stood
  friend bool operator==(const KeptVersion&, const KeptVersion&) = default;
};

/// Part of the answer to History, newest first; the last one of the session has `end`.
struct HistoryPage {
  static constexpr Type type = Type::history_page;
  bool end = false;
  std::vector<KeptVersion> versions{};
  friend bool operator==(const HistoryPage&, const HistoryPage&) = default;
};

/// A kept version comes back as a change of the server's own; which one: `version`, or the newest
/// of what History tells.
struct Restore {
  static constexpr Type type = Type::restore;
  EntryId entry{};
  std::string path{};
  Version version{};
  friend bool operator==(const Restore&, const Restore&) = default;
};

struct RestoreResponse {
  static constexpr Type type = Type::restore_response;
  EntryId entry{};
  Version content_version{};
  Seq sequence{};
  friend bool operator==(const RestoreResponse&, const RestoreResponse&) = default;
};

// ---- maps: a folder's files in the order of Fsmap, with a digest of path and content each

/// Which map: of what, and with which digest.
struct FsmapOf {
  DigestKind hash = DigestKind::md5;
  EntryId folder{};  // none: the root
  friend bool operator==(const FsmapOf&, const FsmapOf&) = default;
};

/// Asks for the summary of the map as it is now.
struct Fsmap {
  static constexpr Type type = Type::fsmap;
  FsmapOf of{};
  friend bool operator==(const Fsmap&, const Fsmap&) = default;
};

struct FsmapResponse {
  static constexpr Type type = Type::fsmap_response;
  Digest summary{};
  std::uint64_t files = 0;
  std::uint64_t bytes = 0;  // of their contents
  friend bool operator==(const FsmapResponse&, const FsmapResponse&) = default;
};

/// Asks for the digests of the map that has this summary; Error(moved_on): the server has another
/// one now.
struct FsmapHashes {
  static constexpr Type type = Type::fsmap_hashes;
  FsmapOf of{};
  Digest summary{};
  std::uint64_t from = 0;  // index of the first one wanted
  friend bool operator==(const FsmapHashes&, const FsmapHashes&) = default;
};

/// Part of the answer, in order; the last one of the session has `end`.
struct FsmapHashesPage {
  static constexpr Type type = Type::fsmap_hashes_page;
  bool end = false;
  std::uint64_t from = 0;
  std::vector<Digest> digests{};
  friend bool operator==(const FsmapHashesPage&, const FsmapHashesPage&) = default;
};

/// Asks for a file by its index: FsmapPath, then what follows a Pull of all of it behind `offset`;
/// or Error(moved_on), also where the file is not any more what the map says.
struct FsmapFile {
  static constexpr Type type = Type::fsmap_file;
  FsmapOf of{};
  Digest summary{};
  std::uint64_t index = 0;
  std::uint64_t offset = 0;  // so many bytes are there already
  friend bool operator==(const FsmapFile&, const FsmapFile&) = default;
};

struct FsmapPath {
  static constexpr Type type = Type::fsmap_path;
  std::string path{};  // from the folder of the map
  friend bool operator==(const FsmapPath&, const FsmapPath&) = default;
};

/// What a client knows of a folder, told by the summary of its names (ebb-protocol(7),
/// "Comparing").
struct FolderSummary {
  EntryId folder{};
  Digest summary{};
  friend bool operator==(const FolderSummary&, const FolderSummary&) = default;
};

/// Asks which of the folders have other names or entries in them.
struct Compare {
  static constexpr Type type = Type::compare;
  std::vector<FolderSummary> folders{};  // at most kCompareMax
  friend bool operator==(const Compare&, const Compare&) = default;
};
inline constexpr std::size_t kCompareMax = 4096;

struct CompareResponse {
  static constexpr Type type = Type::compare_response;
  Seq sequence{};                    // changes up to this one are in the comparison
  std::vector<EntryId> different{};  // in the order in which they were asked for
  friend bool operator==(const CompareResponse&, const CompareResponse&) = default;
};

// ---- what the other side has already; kDelta

/// A part of a content, cut where the content itself says (chunker.h).
struct Chunk {
  std::uint32_t size = 0;
  Sha256 hash{};
  friend bool operator==(const Chunk&, const Chunk&) = default;
};
inline constexpr std::uint32_t kChunkMost = 256u << 10;

/// Asks for the chunks of a content: ChunkList follows on this session, or Error.
struct Chunks {
  static constexpr Type type = Type::chunks;
  EntryId entry{};
  Version content_version{};
  friend bool operator==(const Chunks&, const Chunks&) = default;
};

/// Part of the answer to Chunks, from the first byte on; the last one of the session has `end`.
struct ChunkList {
  static constexpr Type type = Type::chunk_list;
  bool end = false;
  std::uint64_t hash = 0;  // XXH3-64 of the whole, with `end`
  std::vector<Chunk> chunks{};
  friend bool operator==(const ChunkList&, const ChunkList&) = default;
};

/// Bytes of the new content that are as somewhere in a content of the server.
struct Copy {
  std::uint64_t at = 0;    // in the new one
  std::uint64_t from = 0;  // in that one
  std::uint64_t size = 0;
  friend bool operator==(const Copy&, const Copy&) = default;
};
inline constexpr std::size_t kCopiesMax = 4096;

/// Begins a push in FileSyncInit's place.  The ranges that are sent and the copies make up the
/// whole.
struct FileSyncDelta {
  static constexpr Type type = Type::file_sync_delta;
  FileSyncInit init{};
  EntryId source{};  // whose content the copies are from, and which
  Version source_version{};
  std::uint64_t hash = 0;  // XXH3-64 of the whole content as it must come out
  std::vector<Copy> copies{};
  friend bool operator==(const FileSyncDelta&, const FileSyncDelta&) = default;
};

// ---- all of them

using AnyBody =
    std::variant<ErrorMessage, Ping, Pong, VersionHandshake, VersionHandshakeResponse, FileSyncInit,
                 FileSyncInitResponse, FileSyncData, FileSyncCheckHash, FileSyncCheckHashResponse,
                 FileSyncFinish, Pull, Cancel, List, ListPage, Mutate, MutateResponse, Watch,
                 WatchResponse, Change, Stat, StatResponse, StatFs, StatFsResponse, History,
                 HistoryPage, Restore, RestoreResponse, Fsmap, FsmapResponse, FsmapHashes,
                 FsmapHashesPage, FsmapFile, FsmapPath, Compare, CompareResponse, Chunks, ChunkList,
                 FileSyncDelta>;

/// Its copies, moves and ends are many branches; they are compiled once, in messages.cpp.
struct Body : AnyBody {
  using AnyBody::AnyBody;
  using AnyBody::operator=;
  Body();
  Body(const Body&);
  Body(Body&&) noexcept;
  Body& operator=(const Body&);
  Body& operator=(Body&&) noexcept;
  ~Body();
};

struct Message {
  std::uint32_t session = 0;
  Body body{};
  friend bool operator==(const Message&, const Message&) = default;
};

Type type_of(const Body& body);
/// FileSyncPacked as well: it is FileSyncData in another form (packing.h), which a Connection takes
/// for it.
bool known(Type type);
/// The message's bytes behind the packet header.  CHECKs that every field is within the bounds that
/// decode() holds it to; sentences are cut.
Bytes encode(const Body& body);
/// Of a FileSyncData.
Bytes encode_data(std::uint64_t offset, ByteView bytes);
/// The same for fields that came from a disk or a user: Errc::bad_request with the field that is
/// out of bounds.
Result<Bytes> try_encode(const Body& body);
/// Errc::unknown_type, or Errc::bad_packet with what is wrong.  Names are checked here: 1 to 255
/// bytes without
/// '/' and NUL, not "." or "..".  A place is a folder and such a name, or neither.  Ranges are
/// sorted, disjoint, not empty.  Xattrs are a packed list.
Result<Body> decode(Type type, ByteView bytes);

/// 1 to 255 bytes without '/' and NUL, not "." or "..".
bool valid_name(std::string_view name);
/// Names with slashes between them, or nothing.
bool valid_path(std::string_view path);
/// What an entry adds to a ListPage: who makes pages ends one before it passes kListPageBytes.
std::size_t encoded_size(const NamedEntry& entry);
/// A page is to have no more than this unless it is of one entry: a long one makes others wait.
inline constexpr std::size_t kListPageBytes = 128u << 10;

}  // namespace ebb::proto
