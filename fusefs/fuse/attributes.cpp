// Requests about attributes, ordinary and extended.
#include <cerrno>
#include <ctime>

#include "fusefs/fuse/ops.h"
#include "fusefs/fuse/reply.h"
#include "fusefs/fuse/request.h"

namespace ebb::fusefs {
namespace {

WallNs to_wall(const timespec& t) {
  return WallNs{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

WallNs wall_now() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return to_wall(now);
}

/// The bits that stay when set-id bits are dropped: S_ISGID without group execution is not a set-id
/// bit.
std::uint32_t without_set_id(std::uint32_t mode) {
  const std::uint32_t group = (mode & S_IXGRP) != 0 ? S_ISGID : 0u;
  return mode & ~(S_ISUID | group);
}

/// ctime is the core's.
AttributeChange change_of(const struct stat& wanted, int which) {
  AttributeChange change;
  if (which & FUSE_SET_ATTR_MODE) change.mode = wanted.st_mode & 07777u;
  if (which & FUSE_SET_ATTR_UID) change.uid = wanted.st_uid;
  if (which & FUSE_SET_ATTR_GID) change.gid = wanted.st_gid;
  if (which & FUSE_SET_ATTR_SIZE) change.size = static_cast<std::uint64_t>(wanted.st_size);
  const WallNs now = wall_now();
  if (which & FUSE_SET_ATTR_ATIME_NOW) {
    change.atime = now;
  } else if (which & FUSE_SET_ATTR_ATIME) {
    change.atime = to_wall(wanted.st_atim);
  }
  if (which & FUSE_SET_ATTR_MTIME_NOW) {
    change.mtime = now;
  } else if (which & FUSE_SET_ATTR_MTIME) {
    change.mtime = to_wall(wanted.st_mtim);
  }
  return change;
}

bool may_keep_set_id(fuse_req_t req) {
  return fuse_req_ctx(req)->uid == 0;
}

/// A change of owner takes the set-id bits from everybody, a truncation from all but root; a
/// folder's mean something else.
void add_dropped_set_id(fuse_req_t req, NodeId node, AttributeChange& change) {
  const bool owner = change.uid || change.gid;
  if (change.mode || !(owner || (change.size && !may_keep_set_id(req)))) return;
  auto now = client_of(req).attributes(node);
  if (!now || now->kind == Kind::folder || without_set_id(now->mode) == now->mode) return;
  change.mode = without_set_id(now->mode);
}

Result<std::string> joined(const Result<std::vector<std::string>>& names) {
  if (!names) return pass(names.error());
  std::string list;
  for (const std::string& name : *names) list.append(name).push_back('\0');
  return list;
}

}  // namespace

void drop_set_id(fuse_req_t req, NodeId node) {
  if (may_keep_set_id(req)) return;
  auto now = client_of(req).attributes(node);
  if (!now || without_set_id(now->mode) == now->mode) return;
  AttributeChange change;
  change.mode = without_set_id(now->mode);
  client_of(req).set_attributes(node, std::nullopt, change, [](const Result<Attributes>&) {});
}

void op_getattr(fuse_req_t req, fuse_ino_t ino, fuse_file_info* fi) noexcept {
  Client& client = client_of(req);
  reply_attributes(req,
                   fi ? client.attributes(NodeId(ino), fi->fh) : client.attributes(NodeId(ino)));
}

void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat* wanted, int which,
                fuse_file_info* fi) noexcept {
  if ((which & FUSE_SET_ATTR_SIZE) && wanted->st_size < 0) {
    fuse_reply_err(req, EINVAL);
    return;
  }
  AttributeChange change = change_of(*wanted, which);
  add_dropped_set_id(req, NodeId(ino), change);
  const auto handle = fi ? std::optional<Handle>(fi->fh) : std::nullopt;
  auto request = Request::begin(req);
  request->started(client_of(req).set_attributes(NodeId(ino), handle, change,
                                                 request->reply<Attributes>(reply_attributes)));
}

void op_statfs(fuse_req_t req, fuse_ino_t) noexcept {
  constexpr std::uint64_t kBlock = 4096;
  const SpaceFigures space = client_of(req).space();
  struct statvfs st {};
  st.f_bsize = kBlock;
  st.f_frsize = kBlock;
  st.f_blocks = space.bytes_total / kBlock;
  st.f_bfree = space.bytes_free / kBlock;
  st.f_bavail = space.bytes_available / kBlock;
  st.f_files = space.files_total;
  st.f_ffree = space.files_free;
  st.f_favail = space.files_free;
  st.f_namemax = 255;
  fuse_reply_statfs(req, &st);
}

void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char* name, std::size_t size) noexcept {
  reply_xattr(req, client_of(req).get_xattr(NodeId(ino), name), size);
}

void op_listxattr(fuse_req_t req, fuse_ino_t ino, std::size_t size) noexcept {
  reply_xattr(req, joined(client_of(req).list_xattrs(NodeId(ino))), size);
}

void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char* name, const char* value,
                 std::size_t size, int flags) noexcept {
  auto request = Request::begin(req);
  request->started(client_of(req).set_xattr(NodeId(ino), name, {value, size}, flags,
                                            request->reply<void>(reply_done)));
}

void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char* name) noexcept {
  reply_done(req, client_of(req).remove_xattr(NodeId(ino), name));
}

}  // namespace ebb::fusefs
