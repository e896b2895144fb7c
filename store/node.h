// What the store knows of one node, and of one name.  Format on disk: ebb-store(5), "mdt" and "dirmap".
#pragma once

#include <cstdint>
#include <string>

#include "base/clock.h"
#include "base/ids.h"
#include "store/status.h"

namespace ebb::store {

/// Bits of Node::flags.  On disk.
enum NodeFlag : std::uint32_t {
  kContentDirty = 1u << 0,     // content differs from base: to be pushed
  kAttributesDirty = 1u << 1,  // mode, times or xattrs differ from base: to be pushed
  kWhole = 1u << 2,            // every byte of the content is here
  kVolatile = 1u << 3,         // what is here was claimed since the last settle and, after a power cut,
                               // is not believed (see Extents in ebb-store(5)); listed in Table::unsettled
  kListed = 1u << 4,           // folder: all names the server has are known
  kConflict = 1u << 5,         // the server refused the push: it has moved on
  kError = 1u << 6,            // the server refused for another reason; Text::reason says which
  kOpenForWrite = 1u << 7,     // a writer has, or had at the crash, the content file in hand
  kOrphan = 1u << 8,           // no local name, kept for open handles; listed in Table::orphans
  kQueued = 1u << 9,           // in Table::queue at queue_seq
  kPulling = 1u << 10,         // all of its content is wanted, by its status; listed in Table::pulls
  kUnsure = 1u << 11,          // the server is to be asked for the entry; listed in Table::unsettled
  kInDoubt = 1u << 12,         // folder: its names are to be asked for again; in Table::unsettled, too
  kDeepDoubt = 1u << 13,       // the same, and with it all folders in it that are known
  kSparse = 1u << 17,          // its content file alone tells how many blocks it has
  kUnsynced = 1u << 18,        // a sync of its content file failed: it is written again before it is believed
  kAccessTime = 1u << 16,      // its access time was set and is in Table::access_times; else it is the mtime
};

/// One node.  Server and client use the same record; what only one of them needs is said.
struct Node {
  Kind kind = Kind::none;
  Status status = Status::untracked;
  Pin pin = Pin::inherit;
  std::uint32_t flags = 0;  // NodeFlag
  std::uint32_t links = 0;  // local names of it; a folder has 1 (kept by Transaction::bind)
  std::uint32_t mode = 0;   // permission bits, 07777
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint64_t size = 0;
  WallNs mtime = 0;
  WallNs ctime = 0;

  EntryId entry;  // client: the server's id of it, none = not on the server

  // Content and attributes have versions of their own.  Each in three: what the local one derives from, the
  // newest that the server is known to have, and a counter of local changes.
  Version content_base;
  Version content_server;
  std::uint32_t content_local = 0;
  Version attributes_base;
  Version attributes_server;
  std::uint32_t attributes_local = 0;

  NodeId parent;                    // folder of its first name (kept by bind)
  std::uint64_t parent_cookie = 0;  // and its cookie there (kept by bind)

  // Files and symlinks.
  std::uint64_t content = 0;  // number of the content file, 0 = none
  std::uint64_t hash = 0;     // XXH3-64 of the content, valid with hash_known
  bool hash_known = false;

  std::uint64_t device = 0;  // of a device: its number, as the kernel has it

  std::uint32_t subfolders = 0;  // of a folder: its local names that are folders (kept by bind)
  // Folders: how many nodes beneath are in each state that is kept on disk (kept by the layer above).
  std::uint32_t beneath_error = 0;
  std::uint32_t beneath_conflict = 0;
  std::uint32_t beneath_waiting = 0;
  std::uint32_t beneath_partial = 0;

  std::uint64_t queue_seq = 0;  // client: place in Table::queue.  Server: sequence of the last change

  bool has(NodeFlag flag) const { return (flags & flag) != 0; }
  void set(NodeFlag flag, bool on = true) { flags = on ? flags | flag : flags & ~flag; }
  bool is_folder() const { return kind == Kind::folder; }
};

/// Variable parts of a node, kept in `fname`.
enum class Text : std::uint8_t {
  target = 0,   // symlink: where it points
  xattrs = 1,   // user xattrs, packed by pack_xattrs()
  extents = 2,  // partial content: which ranges are here; owned by store/extents.h
  reason = 3,   // a sentence for kError and kConflict
  extra = 4,    // server: identity of the entry on its disk (filesystem UUID and file handle); client: the
                // step under way
};
inline constexpr int kTexts = 5;

/// The two sides of a name.  `local` is what the mount shows; `server` is what the server is known to have
/// there.  They differ while a change waits to be pushed, and where a local entry hides a server's.  The
/// server uses `local` alone.
enum class Side : std::uint8_t { local, server };

/// One name in a folder.  At least one side is set, else the name does not exist.
struct Name {
  NodeId folder;
  std::uint64_t cookie = 0;  // place in the folder's order; unique in the folder, below 2^63, at least 16;
                             // stays while the name exists, whatever happens to other names
  std::string text;
  NodeId local;
  NodeId server;
  std::uint16_t flags = 0;  // NameFlag

  NodeId at(Side side) const { return side == Side::local ? local : server; }
};

/// Bits of Name::flags.
enum NameFlag : std::uint16_t {
  kAbsent = 1u << 0,  // local mark of absence: the server's entry is not shown and not deleted
  // 1u << 1 and 1u << 2 are the client's (fusefs/core/tree_edit.h)
};

}  // namespace ebb::store
