// Requests about the entries of folders.
#include <array>
#include <cerrno>
#include <vector>

#include "fusefs/fuse/ops.h"
#include "fusefs/fuse/reply.h"
#include "fusefs/fuse/request.h"

namespace ebb::fusefs {
namespace {

/// Offsets in a folder: 1 is behind ".", 2 behind "..", everything from 16 on is a cookie of the
/// core.
constexpr off_t kAfterDot = 1;
constexpr off_t kAfterDots = 2;
/// The parent's number is not asked for only to be printed by ls -ai; libfuse's own word for
/// "unknown".
constexpr fuse_ino_t kUnknownNode = 0xffffffff;

/// The answer to one readdir as it fills up.
class Listing {
 public:
  Listing(fuse_req_t req, std::size_t size, bool plus) : req_(req), plus_(plus), buffer_(size) {}

  /// False when it does not fit; then nothing was added.
  bool add(const FolderEntry& entry) {
    const fuse_entry_param full = to_entry(entry.attributes);
    if (!append(entry.name.c_str(), full, static_cast<off_t>(entry.cookie))) return false;
    if (plus_) counted_.push_back(entry.attributes.node);
    return true;
  }
  /// "." and "..": no lookup, so no node number outside the attributes.
  bool add_dot(const char* name, fuse_ino_t ino, off_t next) {
    fuse_entry_param entry{};
    entry.attr.st_ino = ino;
    entry.attr.st_mode = S_IFDIR;
    return append(name, entry, next);
  }
  void reply() {
    Client& client = client_of(req_);
    if (fuse_reply_buf(req_, buffer_.data(), used_) == 0) return;
    for (NodeId node : counted_) client.forget(node, 1);
  }
  /// An error is told only where nothing has been found before it; the kernel asks again behind
  /// what it got.
  void reply(const Result<>& result) {
    if (!result && used_ == 0) return reply_error(req_, result.error());
    reply();
  }

 private:
  bool append(const char* name, const fuse_entry_param& entry, off_t next) {
    char* at = buffer_.data() + used_;
    const std::size_t room = buffer_.size() - used_;
    const std::size_t size = plus_ ? fuse_add_direntry_plus(req_, at, room, name, &entry, next)
                                   : fuse_add_direntry(req_, at, room, name, &entry.attr, next);
    if (size > room) return false;
    used_ += size;
    return true;
  }

  const fuse_req_t req_;
  const bool plus_;
  std::vector<char> buffer_;
  std::size_t used_ = 0;
  std::vector<NodeId> counted_;
};

/// True when the entries of the core may follow.
bool add_dots(Listing& listing, fuse_ino_t ino, off_t& offset) {
  if (offset == 0) {
    if (!listing.add_dot(".", ino, kAfterDot)) return false;
    offset = kAfterDot;
  }
  if (offset == kAfterDot) {
    if (!listing.add_dot("..", ino == FUSE_ROOT_ID ? ino : kUnknownNode, kAfterDots)) return false;
    offset = kAfterDots;
  }
  return true;
}

void read_folder(fuse_req_t req, fuse_ino_t ino, std::size_t size, off_t offset, Handle handle,
                 bool plus) {
  Listing listing(req, size, plus);
  if (offset < 0 || !add_dots(listing, ino, offset)) return listing.reply();
  const auto cookie = offset == kAfterDots ? 0 : static_cast<std::uint64_t>(offset);
  auto visit = [&listing](const FolderEntry& entry) { return listing.add(entry); };
  listing.reply(client_of(req).read_folder(handle, cookie, plus, visit));
}

void reply_folder(fuse_req_t req, const Result<Handle>& handle) {
  if (!handle) return reply_error(req, handle.error());
  Client& client = client_of(req);
  fuse_file_info fi{};
  fi.fh = *handle;
  fi.keep_cache = 1;
  fi.cache_readdir = 1;
  if (fuse_reply_open(req, &fi) != 0) client.close_folder(*handle);
}

}  // namespace

void op_opendir(fuse_req_t req, fuse_ino_t ino, fuse_file_info*) noexcept {
  auto request = Request::begin(req);
  request->started(client_of(req).open_folder(NodeId(ino), request->reply<Handle>(reply_folder)));
}

void op_readdir(fuse_req_t req, fuse_ino_t ino, std::size_t size, off_t offset,
                fuse_file_info* fi) noexcept {
  read_folder(req, ino, size, offset, fi->fh, false);
}

void op_readdirplus(fuse_req_t req, fuse_ino_t ino, std::size_t size, off_t offset,
                    fuse_file_info* fi) noexcept {
  read_folder(req, ino, size, offset, fi->fh, true);
}

void op_releasedir(fuse_req_t req, fuse_ino_t, fuse_file_info* fi) noexcept {
  client_of(req).close_folder(fi->fh);
  fuse_reply_err(req, 0);
}

void op_fsyncdir(fuse_req_t req, fuse_ino_t, int, fuse_file_info* fi) noexcept {
  auto request = Request::begin(req);
  request->started(client_of(req).fsync_folder(fi->fh, request->reply<void>(reply_done)));
}

}  // namespace ebb::fusefs
