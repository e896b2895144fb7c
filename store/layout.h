// The bytes of the store's files.  The same tables stand in ebb-store(5); a change is a new kFormat
// there, here, and a migration.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "base/bytes.h"

namespace ebb::store {

inline constexpr std::uint16_t kFormat = 2;
inline constexpr std::size_t kPageSize = 4096;

/// The mapped files.  The numbers are in the journal.
enum class FileNo : std::uint8_t { super = 0, mdt = 1, fname = 2, dirmap = 3 };
inline constexpr int kFiles = 4;
inline constexpr const char* kFileNames[kFiles] = {"super", "mdt", "fname", "dirmap"};

inline constexpr std::uint32_t kFileMagic = 0x46626245;     // "EbbF"
inline constexpr std::uint32_t kSlotMagic = 0x53626245;     // "EbbS"
inline constexpr std::uint32_t kJournalMagic = 0x4a626245;  // "EbbJ"
inline constexpr std::uint32_t kRecordMagic = 0x52626245;   // "EbbR"

/// First page of mdt, fname and dirmap.
struct FileHeader {
  Le<std::uint32_t> magic;    //  0  kFileMagic
  Le<std::uint16_t> version;  //  4  kFormat
  Le<std::uint16_t> file;     //  6  FileNo
  std::uint8_t tree[16];      //  8  TreeId
  Le<std::uint64_t> xxh3;     // 24  XXH3-64 of bytes [0,24)
};
static_assert(sizeof(FileHeader) == 32 && alignof(FileHeader) == 1);
static_assert(std::has_unique_object_representations_v<FileHeader>);

/// Pages 0 and 1 of super: written in turn at the end of a checkpoint; the valid one with the
/// higher number counts.  Never in the journal.
struct CheckpointSlot {
  Le<std::uint32_t> magic;           //  0  kSlotMagic
  Le<std::uint16_t> version;         //  4  kFormat
  Le<std::uint16_t> reserved;        //  6  zero
  std::uint8_t tree[16];             //  8  TreeId
  Le<std::uint64_t> number;          // 24  of this checkpoint, from 1
  Le<std::uint64_t> first_journal;   // 32  older journals are covered by the mapped files
  Le<std::uint64_t> first_sequence;  // 40  of the first record that is not covered
  Le<std::uint64_t> secret;          // 48  seed of the hashes of names
  Le<std::uint64_t> xxh3;            // 56  XXH3-64 of bytes [0,56)
};
static_assert(sizeof(CheckpointSlot) == 64 && alignof(CheckpointSlot) == 1);
static_assert(std::has_unique_object_representations_v<CheckpointSlot>);

inline constexpr std::uint64_t kLivePage = 2;
inline constexpr std::uint64_t kSuperPages = 3;

/// Page 2 of super: what changes with the transactions; journalled as everything else.
struct LiveRecord {
  Le<std::uint64_t> sequence;  //   0  the last number that next_sequence() gave
  Le<std::uint64_t> boot;  //   8  XXH3-64 of the id of the boot that this state was last sure in
  Le<std::uint64_t> mdt_used;     //  16  records ever used, the unused record 0 included
  Le<std::uint64_t> mdt_free;     //  24  index of the first free record, 0 = none
  Le<std::uint64_t> fname_used;   //  32  slots ever used, those of page 0 included
  Le<std::uint64_t> fname_free;   //  40  index of the first free slot, 0 = none
  Le<std::uint64_t> dirmap_used;  //  48  pages ever used, page 0 included
  Le<std::uint64_t> dirmap_free;  //  56  first free page, 0 = none
  Le<std::uint64_t> root;         //  64  root page of the tree in dirmap
  Le<std::uint64_t> nodes;        //  72
  Le<std::uint64_t> names;        //  80
  Le<std::uint64_t> xxh3;         //  88  XXH3-64 of bytes [0,88)
};
static_assert(sizeof(LiveRecord) == 96 && alignof(LiveRecord) == 1);
static_assert(std::has_unique_object_representations_v<LiveRecord>);

/// One record of mdt: 29 in a page, from page 1 on; the last 36 bytes of a page are zero.
struct NodeRecord {
  Le<std::uint32_t>
      kind_generation;               //   0  Kind in the low 8 bits, generation above; Kind 0 = free
  std::uint8_t status;               //   4  Status
  std::uint8_t bits;                 //   5  Pin in bits 0 and 1; bit 2: hash is known
  Le<std::uint16_t> links;           //   6
  Le<std::uint32_t> flags;           //   8  NodeFlag
  Le<std::uint16_t> mode;            //  12
  Le<std::uint16_t> reserved;        //  14  zero
  Le<std::uint32_t> uid;             //  16
  Le<std::uint32_t> gid;             //  20
  Le<std::uint64_t> size;            //  24
  Le<std::int64_t> mtime;            //  32
  Le<std::int64_t> ctime;            //  40
  Le<std::uint64_t> entry;           //  48
  Le<std::uint64_t> content_base;    //  56
  Le<std::uint64_t> content_server;  //  64
  Le<std::uint64_t> attributes_base;    //  72
  Le<std::uint64_t> attributes_server;  //  80
  Le<std::uint32_t> content_local;      //  88
  Le<std::uint32_t> attributes_local;   //  92
  Le<std::uint64_t> parent;         //  96  NodeId of a folder; in a free record the next free index
  Le<std::uint64_t> parent_cookie;  // 104  0: no name at all
  std::uint8_t content_or_beneath[16];  // 112  file: u64 content, u64 hash; folder: four u32 counts
  Le<std::uint64_t> queue_seq;          // 128
  Le<std::uint32_t> texts;              // 136  first fname slot of its first text, 0 = none
};
static_assert(sizeof(NodeRecord) == 140 && alignof(NodeRecord) == 1);
static_assert(std::has_unique_object_representations_v<NodeRecord>);
static_assert(offsetof(NodeRecord, size) == 24 && offsetof(NodeRecord, parent) == 96 &&
              offsetof(NodeRecord, queue_seq) == 128 && offsetof(NodeRecord, texts) == 136);
inline constexpr std::size_t kNodesInPage = kPageSize / sizeof(NodeRecord);
static_assert(kNodesInPage == 29);

/// One slot of fname, 32 in a page, from page 1 on.  A chain is a byte string.
struct TextSlot {
  Le<std::uint32_t> next;  // 0  next slot of the chain, or next free slot; 0 = none
  Le<std::uint32_t> left;  // 4  bytes of the string from here on; kTextFree in a free slot
  std::uint8_t data[120];  // 8
};
static_assert(sizeof(TextSlot) == 128 && alignof(TextSlot) == 1);
inline constexpr std::size_t kTextSlotData = sizeof(TextSlot::data);
inline constexpr std::size_t kTextSlotsInPage = kPageSize / sizeof(TextSlot);
inline constexpr std::uint32_t kTextFree = 0xffffffff;

/// First bytes of each text of a node.  The texts of one node are a list.
struct TextHead {
  Le<std::uint32_t> next;  // 0  first slot of the node's next text, 0 = none
  std::uint8_t which;      // 4  Text
  std::uint8_t zero[3];    // 5
};
static_assert(sizeof(TextHead) == 8 && alignof(TextHead) == 1);

/// Head of every page of dirmap but page 0.
struct TreePageHead {
  std::uint8_t type;         // 0  TreePageType
  std::uint8_t level;        // 1  0 in a leaf, one more than its children's in an inner page
  Le<std::uint16_t> count;   // 2  entries
  Le<std::uint16_t> bottom;  // 4  leaf: where the lowest cell begins
  Le<std::uint16_t> loose;   // 6  leaf: bytes from there on that are no cell's
  Le<std::uint64_t> next;    // 8  free page: next free page
};
static_assert(sizeof(TreePageHead) == 16 && alignof(TreePageHead) == 1);
enum class TreePageType : std::uint8_t { leaf = 1, inner = 2, free = 3 };

struct TreeKey {
  Le<std::uint64_t> owner;  // 0
  Le<std::uint64_t> item;   // 8
};
/// A cell of a leaf: this, then the payload without the zeros at its end.  The cells lie anywhere
/// from `bottom` on.
struct CellHead {
  TreeKey key;        //  0
  std::uint8_t size;  // 16  of what follows, at most kPayload
};
inline constexpr std::size_t kPayload = 48;
static_assert(sizeof(CellHead) == 17 && alignof(CellHead) == 1);
/// slots[i] is the offset of the i-th key's cell in the page.
struct LeafPage {
  TreePageHead head;                                                // 0
  Le<std::uint16_t> slots[(kPageSize - sizeof(TreePageHead)) / 2];  // 16
};
static_assert(sizeof(LeafPage) == kPageSize && offsetof(LeafPage, slots) == 16);

/// entries[i].child has the keys from entries[i].key up to the next entry's; the first key stands
/// for everything below.
struct InnerEntry {
  TreeKey key;              //  0
  Le<std::uint64_t> child;  // 16
};
inline constexpr std::size_t kInnerEntries = 170;
struct InnerPage {
  TreePageHead head;                  //  0
  InnerEntry entries[kInnerEntries];  // 16
};
static_assert(sizeof(InnerPage) == kPageSize);

/// Payload of a cell of names.  The cell's owner is the folder's NodeId, its item the cookie.
struct NameCell {
  Le<std::uint64_t> local;   //  0  NodeId
  Le<std::uint16_t> flags;   //  8  NameFlag; kOneNode
  Le<std::uint16_t> length;  // 10  of the name, 1 to 255
  std::uint8_t text[28];     // 12  the name; a longer one: u32 first slot in fname
  Le<std::uint64_t> server;  // 40  NodeId; zero with kOneNode
};
static_assert(sizeof(NameCell) == kPayload && alignof(NameCell) == 1);
inline constexpr std::size_t kNameInline = sizeof(NameCell::text);
/// Bit of NameCell::flags: the server's node is the local one.
inline constexpr std::uint16_t kOneNode = 1u << 15;

/// Payload of a cell of Table::links: one more name of a node.
struct LinkCell {
  Le<std::uint64_t> folder;  //  0
  Le<std::uint64_t> cookie;  //  8
  std::uint8_t zero[32];     // 16
};
static_assert(sizeof(LinkCell) == 48 && alignof(LinkCell) == 1);

/// First bytes of a journal.
struct JournalHeader {
  Le<std::uint32_t> magic;           //  0  kJournalMagic
  Le<std::uint16_t> version;         //  4  kFormat
  Le<std::uint16_t> reserved;        //  6  zero
  std::uint8_t tree[16];             //  8  TreeId
  Le<std::uint64_t> number;          // 24  as in the file's name
  Le<std::uint64_t> first_sequence;  // 32  of its first record
  Le<std::uint64_t> xxh3;            // 40  XXH3-64 of bytes [0,40)
};
static_assert(sizeof(JournalHeader) == 48 && alignof(JournalHeader) == 1);
static_assert(std::has_unique_object_representations_v<JournalHeader>);

/// Head of a record: one transaction.  Records begin at multiples of 8; the gap is zero.
struct RecordHeader {
  Le<std::uint32_t> magic;      //  0  kRecordMagic
  Le<std::uint16_t> version;    //  4  kFormat
  Le<std::uint16_t> type;       //  6  1 = after-images
  Le<std::uint32_t> body_size;  //  8  bytes after this header, at most kBodyMax
  Le<std::uint32_t> reserved;   // 12  zero
  Le<std::uint64_t> sequence;   // 16  one more than the record's before it
  Le<std::uint64_t>
      synced;  // 24  this record and those before it were on disk when this one was written
  Le<std::uint64_t> xxh3;  // 32  XXH3-64 of bytes [0,32), then of the body
};
static_assert(sizeof(RecordHeader) == 40 && alignof(RecordHeader) == 1);
static_assert(std::has_unique_object_representations_v<RecordHeader>);
inline constexpr std::size_t kBodyMax = 256u << 20;
inline constexpr std::uint16_t kAfterImages = 1;

/// The body is a row of these, each followed by its bytes.
struct PatchHeader {
  Le<std::uint64_t> where;  // 0  FileNo in the high 8 bits, byte offset in the file below
  Le<std::uint16_t> size;   // 8  bytes, none of them past the end of the page
};
static_assert(sizeof(PatchHeader) == 10 && alignof(PatchHeader) == 1);

}  // namespace ebb::store
