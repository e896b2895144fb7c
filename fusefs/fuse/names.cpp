// Requests about names: finding, making, moving and removing them.
#include <cerrno>
#include <optional>

#include <fcntl.h>

#include "fusefs/fuse/ops.h"
#include "fusefs/fuse/reply.h"
#include "fusefs/fuse/request.h"

namespace ebb::fusefs {
namespace {

Maker maker_of(fuse_req_t req) {
  const fuse_ctx* who = fuse_req_ctx(req);
  return {.uid = who->uid, .gid = who->gid, .umask = who->umask};
}

/// mknod of a regular file: made, and not left open.
void make_file(fuse_req_t req, NodeId folder, const char* name, mode_t mode) {
  Client& client = client_of(req);
  auto request = Request::begin(req);
  auto made = [&client](fuse_req_t r, Result<Client::Created> created) {
    if (!created) return reply_error(r, created.error());
    client.release(created->open.handle);
    reply_entry(r, created->attributes);
  };
  request->started(client.create(folder, name, mode & 07777u, O_CREAT | O_EXCL | O_WRONLY,
                                 maker_of(req), request->reply<Client::Created>(made)));
}

std::optional<Kind> special_kind(mode_t mode) {
  if (S_ISFIFO(mode)) return Kind::fifo;
  if (S_ISSOCK(mode)) return Kind::socket;
  if (S_ISCHR(mode)) return Kind::character_device;
  if (S_ISBLK(mode)) return Kind::block_device;
  return std::nullopt;
}

}  // namespace

void op_lookup(fuse_req_t req, fuse_ino_t parent, const char* name) noexcept {
  auto request = Request::begin(req);
  request->started(
      client_of(req).lookup(NodeId(parent), name, request->reply<Attributes>(reply_lookup)));
}

void op_forget(fuse_req_t req, fuse_ino_t ino, std::uint64_t lookups) noexcept {
  client_of(req).forget(NodeId(ino), lookups);
  fuse_reply_none(req);
}

void op_forget_multi(fuse_req_t req, std::size_t count, fuse_forget_data* forgets) noexcept {
  for (std::size_t i = 0; i < count; ++i) {
    client_of(req).forget(NodeId(forgets[i].ino), forgets[i].nlookup);
  }
  fuse_reply_none(req);
}

void op_readlink(fuse_req_t req, fuse_ino_t ino) noexcept {
  reply_text(req, client_of(req).read_symlink(NodeId(ino)));
}

void op_mknod(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode,
              dev_t device) noexcept {
  if (S_ISREG(mode)) return make_file(req, NodeId(parent), name, mode);
  const auto kind = special_kind(mode);
  if (!kind) {
    fuse_reply_err(req, EPERM);
    return;
  }
  auto request = Request::begin(req);
  request->started(client_of(req).make_special(NodeId(parent), name, *kind, device, mode & 07777u,
                                               maker_of(req),
                                               request->reply<Attributes>(reply_entry)));
}

void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode) noexcept {
  auto request = Request::begin(req);
  request->started(client_of(req).make_folder(NodeId(parent), name, mode & 07777u, maker_of(req),
                                              request->reply<Attributes>(reply_entry)));
}

void op_symlink(fuse_req_t req, const char* target, fuse_ino_t parent, const char* name) noexcept {
  auto request = Request::begin(req);
  request->started(client_of(req).make_symlink(NodeId(parent), name, target, maker_of(req),
                                               request->reply<Attributes>(reply_entry)));
}

void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char* name) noexcept {
  auto request = Request::begin(req);
  request->started(client_of(req).link(NodeId(ino), NodeId(parent), name,
                                       request->reply<Attributes>(reply_entry)));
}

void op_unlink(fuse_req_t req, fuse_ino_t parent, const char* name) noexcept {
  auto request = Request::begin(req);
  request->started(client_of(req).unlink(NodeId(parent), name, request->reply<void>(reply_done)));
}

void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char* name) noexcept {
  auto request = Request::begin(req);
  request->started(
      client_of(req).remove_folder(NodeId(parent), name, request->reply<void>(reply_done)));
}

void op_rename(fuse_req_t req, fuse_ino_t parent, const char* name, fuse_ino_t new_parent,
               const char* new_name, unsigned flags) noexcept {
  auto request = Request::begin(req);
  request->started(client_of(req).rename(NodeId(parent), name, NodeId(new_parent), new_name, flags,
                                         request->reply<void>(reply_done)));
}

}  // namespace ebb::fusefs
