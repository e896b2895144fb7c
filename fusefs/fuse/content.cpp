// Requests about the content of files.
#include <cerrno>

#include <fcntl.h>

#include "fusefs/fuse/ops.h"
#include "fusefs/fuse/reply.h"
#include "fusefs/fuse/request.h"

namespace ebb::fusefs {
namespace {

/// What the kernel is told of a new handle.
fuse_file_info opened(fuse_file_info fi, const OpenFile& file) {
  fi.fh = file.handle;
  const bool through_us = file.backing == 0;
  fi.keep_cache = file.keep_cache && through_us;  // of passthrough the kernel keeps nothing
  // Each write comes to us at once: without pages of the kernel's own between it is copied once
  // less.
  fi.direct_io = through_us && (fi.flags & O_ACCMODE) == O_WRONLY;
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
  fi.backing_id = file.backing;
#endif
  fi.noflush = !file.flush;  // a round trip saved
  return fi;
}

void reply_open(fuse_req_t req, const Result<OpenFile>& file, const fuse_file_info& asked) {
  if (!file) return reply_error(req, file.error());
  Client& client = client_of(req);
  const fuse_file_info fi = opened(asked, *file);
  if (fuse_reply_open(req, &fi) != 0) client.release(file->handle);
}

void reply_created(fuse_req_t req, const Result<Client::Created>& created,
                   const fuse_file_info& asked) {
  if (!created) return reply_error(req, created.error());
  Client& client = client_of(req);
  const fuse_entry_param entry = to_entry(created->attributes);
  const fuse_file_info fi = opened(asked, created->open);
  if (fuse_reply_create(req, &entry, &fi) == 0) return;
  client.release(created->open.handle);
  client.forget(created->attributes.node, 1);
}

}  // namespace

void op_create(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode,
               fuse_file_info* fi) noexcept {
  const fuse_ctx* who = fuse_req_ctx(req);
  const Maker maker{.uid = who->uid, .gid = who->gid, .umask = who->umask};
  auto request = Request::begin(req);
  auto send = [asked = *fi](fuse_req_t r, const Result<Client::Created>& created) {
    reply_created(r, created, asked);
  };
  request->started(client_of(req).create(NodeId(parent), name, mode & 07777u, fi->flags, maker,
                                         request->reply<Client::Created>(send)));
}

#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
void op_tmpfile(fuse_req_t req, fuse_ino_t parent, mode_t mode, fuse_file_info* fi) noexcept {
  const fuse_ctx* who = fuse_req_ctx(req);
  const Maker maker{.uid = who->uid, .gid = who->gid, .umask = who->umask};
  auto request = Request::begin(req);
  auto send = [asked = *fi](fuse_req_t r, const Result<Client::Created>& created) {
    reply_created(r, created, asked);
  };
  client_of(req).create_nameless(NodeId(parent), mode & 07777u, fi->flags, maker,
                                 request->reply<Client::Created>(send));
  request->started(0);
}
#endif

void op_open(fuse_req_t req, fuse_ino_t ino, fuse_file_info* fi) noexcept {
  if ((fi->flags & O_TRUNC) != 0) drop_set_id(req, NodeId(ino));
  auto request = Request::begin(req);
  auto send = [asked = *fi](fuse_req_t r, const Result<OpenFile>& file) {
    reply_open(r, file, asked);
  };
  request->started(client_of(req).open(NodeId(ino), fi->flags, request->reply<OpenFile>(send)));
}

void op_read(fuse_req_t req, fuse_ino_t, std::size_t size, off_t offset,
             fuse_file_info* fi) noexcept {
  auto request = Request::begin(req);
  request->started(client_of(req).read(fi->fh, static_cast<std::uint64_t>(offset), size,
                                       request->reply<Piece>(reply_piece)));
}

void op_write(fuse_req_t req, fuse_ino_t ino, const char* data, std::size_t size, off_t offset,
              fuse_file_info* fi) noexcept {
  drop_set_id(req, NodeId(ino));
  // The kernel gives the offset of an append as it believes the end to be; the core knows.
  const bool append = (fi->flags & O_APPEND) != 0 && fi->writepage == 0;
  auto written = client_of(req).write(fi->fh, static_cast<std::uint64_t>(offset),
                                      as_bytes({data, size}), append);
  if (!written) return reply_error(req, written.error());
  fuse_reply_write(req, *written);
}

void op_flush(fuse_req_t req, fuse_ino_t, fuse_file_info* fi) noexcept {
  reply_done(req, client_of(req).flush(fi->fh));
}

void op_release(fuse_req_t req, fuse_ino_t, fuse_file_info* fi) noexcept {
  client_of(req).release(fi->fh);
  fuse_reply_err(req, 0);
}

void op_fsync(fuse_req_t req, fuse_ino_t, int data_only, fuse_file_info* fi) noexcept {
  auto request = Request::begin(req);
  request->started(client_of(req).fsync(fi->fh, data_only != 0, request->reply<void>(reply_done)));
}

void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length,
                  fuse_file_info* fi) noexcept {
  if (offset < 0 || length <= 0) {
    fuse_reply_err(req, EINVAL);
    return;
  }
  drop_set_id(req, NodeId(ino));
  reply_done(req, client_of(req).allocate(fi->fh, mode, static_cast<std::uint64_t>(offset),
                                          static_cast<std::uint64_t>(length)));
}

void op_lseek(fuse_req_t req, fuse_ino_t, off_t offset, int whence, fuse_file_info* fi) noexcept {
  if (offset < 0) {
    fuse_reply_err(req, ENXIO);
    return;
  }
  auto found = client_of(req).seek(fi->fh, static_cast<std::uint64_t>(offset), whence);
  if (!found) return reply_error(req, found.error());
  fuse_reply_lseek(req, static_cast<off_t>(*found));
}

}  // namespace ebb::fusefs
