// The mounted tree without kernel and without sockets: names, nodes, handles, contents that come when they
// are read, changes that go when they have rested.  The FUSE layer calls the filesystem part from any thread;
// a driver owns the link part; commands come through the control part.
//
// Threads: every function may be called from any thread.  One lock guards the tree; it is never held across
// a reply, a callback, or IO on content.  Replies are called once, possibly before the call returns,
// possibly from the driver's thread, never under the lock.
// Errors carry errno values (generic_category) and nothing else; errno.h maps everything to them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/file_io.h"
#include "base/ids.h"
#include "base/result.h"
#include "base/seams.h"
#include "proto/connection.h"
#include "store/status.h"

namespace ebb::fusefs {

using store::Kind;
using store::Pin;
using store::State;
using store::Status;

enum class Hydrate : std::uint8_t { progressive, range, full };

struct ClientOptions {
  std::string state_folder;
  Duration delay = std::chrono::seconds(5);     // of quiet before a change is pushed; 0 = at close
  Duration timeout = std::chrono::seconds(30);  // a read without progress
  Status root = Status::syncmore;               // at the first mount
  Hydrate hydrate = Hydrate::progressive;
  bool fsync_server = false;
  bool read_only = false;
  bool list_xattrs = false;
  bool server_owners = false;  // -o allow_other: numeric owners are the server's
  /// Files of this size on are handed to the kernel (FUSE passthrough), where ClientSeams has `files`.  Handing
  /// one out costs two calls of the kernel and, for writing, a sync of the store.
  std::uint64_t passthrough_from = 1u << 20;
  std::size_t open_files_max = 4096;  // content files open at once, but for those that are being written
  std::uint32_t uid = 0;       // owner of everything otherwise
  std::uint32_t gid = 0;
  std::string host_name;       // in conflict names and for the server, [A-Za-z0-9-]
  std::string subtree;         // the folder of the server's tree that is mounted; empty: all of it
  proto::Limits limits;
  /// Smaller contents travel whole: asking what the other side has of them costs a round trip.
  std::uint64_t delta_least = 512 * 1024;
  /// Of smaller contents that are wholly here not only what changed is pushed, but all.
  std::uint64_t parts_least = 64 * 1024;
};

/// To the kernel's caches.  Every call only queues; one thread that holds no lock sends.  In tests: a list.
/// Nothing is said of a file's pages: outdated ones are dropped when the file is next opened (OpenFile::keep_cache),
/// for whoever asked the kernel to drop a page that is being read would wait until we have answered that read, and a
/// daemon killed in that wait could not end.
class KernelCaches {
 public:
  virtual ~KernelCaches() = default;
  virtual void attributes_changed(NodeId node) = 0;
  virtual void name_changed(NodeId folder, const std::string& name) = 0;     // it names another node, or none
};

class KernelFiles;

struct ClientSeams {
  Clock& clock;
  FileIo& io;
  Random& random;
  KernelCaches& kernel;
  /// Something changed that the driver of the link has to look at: output, or an earlier deadline.  Any
  /// thread; returns at once.
  std::function<void()> wake;
  /// None: everything is read and written through the client.
  KernelFiles* files = nullptr;
  /// For what takes as long as the disk likes.  None: it is done where it comes up.
  Executor* executor = nullptr;
};

struct Attributes {
  NodeId node;
  Kind kind = Kind::none;
  std::uint32_t mode = 0;  // permission bits
  std::uint32_t links = 1;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint64_t size = 0;
  std::uint64_t blocks = 0;  // of 512 bytes; the file's, never the cache's
  std::uint64_t counted = 0;  // core alone: the content file whose blocks count, 0 = the size tells
  std::uint64_t device = 0;  // of a device: its number, as the kernel has it
  WallNs atime = 0;          // this machine's; the mtime until it is set
  WallNs mtime = 0;
  WallNs ctime = 0;
  bool moving = false;  // a writer has the file in hand: not to be kept by the kernel
};

struct AttributeChange {
  std::optional<std::uint32_t> mode;
  std::optional<std::uint32_t> uid;
  std::optional<std::uint32_t> gid;
  std::optional<std::uint64_t> size;
  std::optional<WallNs> mtime;
  std::optional<WallNs> atime;
};

struct FolderEntry {
  std::string name;
  std::uint64_t cookie = 0;  // give it to go on behind this entry
  Attributes attributes;
};

/// Who makes something: for its owner and mode.
struct Maker {
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint32_t umask = 0;
};

using Handle = std::uint64_t;
/// Of an operation that waits; 0 when its reply has been given already.
using Ticket = std::uint64_t;
template <class T = void>
using Reply = std::function<void(Result<T>)>;

/// A part of a content file whose bytes are here: may be spliced.  Holding `file` keeps it readable.
struct Piece {
  std::shared_ptr<File> file;
  std::uint64_t offset = 0;
  std::size_t size = 0;  // less than asked for only at the end of the file
};

struct OpenFile {
  Handle handle = 0;
  bool keep_cache = true;
  int backing = 0;  // of KernelFiles: the kernel reads and writes the content file by itself
  bool flush = true;  // closing a descriptor is to be told; else its release is enough
};

struct SpaceFigures {
  std::uint64_t bytes_total = 0;
  std::uint64_t bytes_free = 0;
  std::uint64_t files_total = 0;
  std::uint64_t files_free = 0;
  std::uint64_t bytes_available = 0;  // of bytes_free, what others than root may use
};

struct NodeStatus {
  NodeId node;
  Kind kind = Kind::none;
  Status status = Status::untracked;
  State state = State::clean;
  std::string reason;
  Pin pin = Pin::inherit;
  std::uint64_t size = 0;
  std::uint64_t bytes_here = 0;
  Version version;
  bool kept = false;         // its own pin says keep, or the nearest one above that says anything
  bool hides = false;        // an entry of the server under one of its names is not shown
  std::uint64_t absent = 0;  // a folder's names of the server that a mark of absence hides
};

/// A version that the server keeps of what was overwritten or deleted.
struct KeptVersion {
  std::string path;  // where it stood
  Version version;
  Kind kind = Kind::none;
  bool deleted = false;  // else replaced
  std::uint64_t size = 0;
  WallNs mtime = 0;
  WallNs when = 0;
  std::string by;
};

struct ClientStatus {
  bool connected = false;
  std::string problem;  // why not, where it is known
  std::uint64_t waiting = 0;   // nodes to be pushed
  std::uint64_t conflicts = 0;
  std::uint64_t errors = 0;
  std::uint64_t pulls = 0;     // under way or wanted
};

class Client {
 public:
  /// Opens the state folder (made when missing).  `tree` none: whatever the folder is for, or a new one.
  static Result<std::unique_ptr<Client>> open(ClientSeams seams, ClientOptions options);
  /// Every waiting reply gets EHOSTDOWN.  What is committed is kept.
  ~Client();

  // ---- link: one driver, one connection at a time
  /// True until the server has told which tree this is, and who may enter its root: a mount has to wait for it.
  bool needs_server() const;
  /// When the driver should connect (kNever while connected).
  Time connect_at() const;
  void link_up();
  void link_received(ByteView bytes);
  void link_down(const Error& why);
  Bytes next_output();
  /// After a fatal answer (other tree, no common version): close; `problem` in status() says why.
  bool wants_close() const;
  Time next_deadline() const;
  void advance();
  /// Pushes now, without the delay.  For unmount; a bounded time is the caller's matter.
  void hurry();
  /// Nothing is waiting to be pushed or under way.
  bool quiet() const;

  // ---- filesystem: names.  Every Attributes answered by lookup, make_*, create and link counts as one lookup
  // of its node until forget().
  Ticket lookup(NodeId folder, std::string_view name, Reply<Attributes> reply);
  void forget(NodeId node, std::uint64_t lookups);
  Result<Attributes> attributes(NodeId node);
  Result<Attributes> attributes(NodeId node, Handle handle);
  Ticket set_attributes(NodeId node, std::optional<Handle> handle, const AttributeChange& change,
                        Reply<Attributes> reply);
  Ticket make_folder(NodeId folder, std::string_view name, std::uint32_t mode, Maker maker,
                     Reply<Attributes> reply);
  Ticket make_symlink(NodeId folder, std::string_view name, std::string_view target, Maker maker,
                      Reply<Attributes> reply);
  /// A FIFO, socket or device; kept on this machine.
  Ticket make_special(NodeId folder, std::string_view name, Kind kind, std::uint64_t device,
                      std::uint32_t mode, Maker maker, Reply<Attributes> reply);
  struct Created {
    Attributes attributes;
    OpenFile open;
  };
  Ticket create(NodeId folder, std::string_view name, std::uint32_t mode, int flags, Maker maker,
                Reply<Created> reply);
  /// O_TMPFILE: without a name until link() gives it one.
  void create_nameless(NodeId folder, std::uint32_t mode, int flags, Maker maker,
                       Reply<Created> reply);
  Ticket link(NodeId node, NodeId folder, std::string_view name, Reply<Attributes> reply);
  Ticket unlink(NodeId folder, std::string_view name, Reply<> reply);
  Ticket remove_folder(NodeId folder, std::string_view name, Reply<> reply);
  /// flags: RENAME_NOREPLACE or RENAME_EXCHANGE.
  Ticket rename(NodeId from, std::string_view name, NodeId to, std::string_view new_name,
                unsigned flags, Reply<> reply);
  Result<std::string> read_symlink(NodeId node);

  // ---- filesystem: folders
  Ticket open_folder(NodeId folder, Reply<Handle> reply);
  /// Entries behind `cookie` (0 = from the start) until `visit` returns false.  "." and ".." are not among
  /// them.  With `count_lookups` each visited entry that returned true counts as a lookup.
  Result<> read_folder(Handle handle, std::uint64_t cookie, bool count_lookups,
                       const std::function<bool(const FolderEntry&)>& visit);
  void close_folder(Handle handle);

  // ---- filesystem: content
  Ticket open(NodeId node, int flags, Reply<OpenFile> reply);
  Ticket read(Handle handle, std::uint64_t offset, std::size_t size, Reply<Piece> reply);
  Result<std::size_t> write(Handle handle, std::uint64_t offset, ByteView bytes, bool append);
  /// close(2) of one descriptor: with delay 0 the push begins now.
  Result<> flush(Handle handle);
  Ticket fsync(Handle handle, bool data_only, Reply<> reply);
  Ticket fsync_folder(Handle handle, Reply<> reply);
  void release(Handle handle);
  Result<> allocate(Handle handle, int mode, std::uint64_t offset, std::uint64_t length);
  /// SEEK_DATA and SEEK_HOLE, of the file, not of the cache.
  Result<std::uint64_t> seek(Handle handle, std::uint64_t offset, int whence);
  SpaceFigures space();

  // ---- filesystem: extended attributes
  Result<std::string> get_xattr(NodeId node, std::string_view name);
  Result<std::vector<std::string>> list_xattrs(NodeId node);
  /// flags: XATTR_CREATE, XATTR_REPLACE.  user.ebb.status replies within about a second, with EINPROGRESS
  /// when the transition goes on.
  Ticket set_xattr(NodeId node, std::string_view name, std::string_view value, int flags,
                   Reply<> reply);
  Result<> remove_xattr(NodeId node, std::string_view name);

  /// The waiting operation is answered with EINTR now, if it has not been answered.
  void interrupt(Ticket ticket);

  // ---- control
  /// A path below the mount, without leading slash; "" is the root.  Only what is known without the server.
  Result<NodeId> find(std::string_view path);
  Result<NodeStatus> status(NodeId node);
  ClientStatus status();
  /// The transition, replied to when it has ended.
  Ticket set_status(NodeId node, Status to, Reply<> reply);
  Result<> set_pin(NodeId node, Pin pin);
  /// Replied to when nothing at or beneath the node is waiting to be pushed; an error when something there is
  /// in conflict or error.
  Ticket wait(NodeId node, Reply<> reply);
  /// What is waiting to be pushed, in order.
  struct Waiting {
    NodeId node;
    std::string path;
    Duration age{};
  };
  std::vector<Waiting> queue(std::size_t most);
  std::string path_of(NodeId node);
  /// What the server keeps of this path, which may name nothing now; newest first.
  Ticket history(std::string_view path, Reply<std::vector<KeptVersion>> reply);
  /// Brings a kept version back, on the server; none = the newest.
  Ticket restore(std::string_view path, Version version, Reply<> reply);

 private:
  struct Impl;
  explicit Client(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace ebb::fusefs
