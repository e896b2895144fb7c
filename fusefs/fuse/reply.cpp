#include "fusefs/fuse/reply.h"

#include <cerrno>
#include <vector>

#include "base/log.h"

namespace ebb::fusefs {
namespace {

mode_t type_bits(Kind kind) {
  switch (kind) {
    case Kind::folder:
      return S_IFDIR;
    case Kind::symlink:
      return S_IFLNK;
    case Kind::fifo:
      return S_IFIFO;
    case Kind::socket:
      return S_IFSOCK;
    case Kind::character_device:
      return S_IFCHR;
    case Kind::block_device:
      return S_IFBLK;
    case Kind::file:
    case Kind::none:
      break;
  }
  return S_IFREG;
}

timespec to_timespec(WallNs ns) {
  constexpr WallNs kSecond = 1'000'000'000;
  WallNs seconds = ns / kSecond;
  WallNs rest = ns % kSecond;
  if (rest < 0) {  // before 1970
    --seconds;
    rest += kSecond;
  }
  return {.tv_sec = seconds, .tv_nsec = rest};
}

/// A content file without a descriptor (a fake, or one behind a layer): through memory.
void reply_copied(fuse_req_t req, const Piece& piece) {
  std::vector<std::byte> bytes(piece.size);
  auto got = piece.file->read_at(piece.offset, bytes);
  if (!got) return reply_error(req, got.error());
  fuse_reply_buf(req, reinterpret_cast<const char*>(bytes.data()), *got);
}

}  // namespace

Client& client_of(fuse_req_t req) {
  return *static_cast<Client*>(fuse_req_userdata(req));
}

int errno_of(const Error& error) {
  const bool number = error.code.category() == std::generic_category() ||
                      error.code.category() == std::system_category();
  if (number && error.code.value() > 0) return error.code.value();
  log_error("an error without errno reached the kernel's side, EIO: {}", error.message());
  return EIO;
}

struct stat to_stat(const Attributes& attributes) {
  struct stat st {};
  st.st_ino = attributes.node.value;
  st.st_mode = type_bits(attributes.kind) | (attributes.mode & 07777u);
  st.st_nlink = attributes.links;
  st.st_uid = attributes.uid;
  st.st_gid = attributes.gid;
  st.st_rdev = attributes.device;
  st.st_size = static_cast<off_t>(attributes.size);
  st.st_blocks = static_cast<blkcnt_t>(attributes.blocks);
  st.st_blksize = 4096;
  st.st_mtim = to_timespec(attributes.mtime);
  st.st_ctim = to_timespec(attributes.ctime);
  st.st_atim = to_timespec(attributes.atime);
  return st;
}

fuse_entry_param to_entry(const Attributes& attributes) {
  fuse_entry_param entry{};
  entry.ino = attributes.node.value;  // never reused, so FUSE's own generation stays 0
  entry.attr = to_stat(attributes);
  entry.attr_timeout = attributes.moving ? 0 : kCacheSeconds;
  entry.entry_timeout = kCacheSeconds;
  return entry;
}

void reply_error(fuse_req_t req, const Error& error) {
  fuse_reply_err(req, errno_of(error));
}

void reply_done(fuse_req_t req, const Result<>& result) {
  fuse_reply_err(req, result ? 0 : errno_of(result.error()));
}

void reply_attributes(fuse_req_t req, const Result<Attributes>& result) {
  if (!result) return reply_error(req, result.error());
  const struct stat st = to_stat(*result);
  fuse_reply_attr(req, &st, result->moving ? 0 : kCacheSeconds);
}

void reply_entry(fuse_req_t req, const Result<Attributes>& result) {
  if (!result) return reply_error(req, result.error());
  Client& client = client_of(req);
  const fuse_entry_param entry = to_entry(*result);
  if (fuse_reply_entry(req, &entry) != 0) client.forget(result->node, 1);
}

void reply_lookup(fuse_req_t req, const Result<Attributes>& result) {
  if (result || !is_errno(result.error(), ENOENT)) return reply_entry(req, result);
  fuse_entry_param absent{};
  absent.entry_timeout = kCacheSeconds;
  fuse_reply_entry(req, &absent);
}

void reply_text(fuse_req_t req, const Result<std::string>& result) {
  if (!result) return reply_error(req, result.error());
  fuse_reply_readlink(req, result->c_str());
}

void reply_xattr(fuse_req_t req, const Result<std::string>& result, std::size_t size) {
  if (!result) return reply_error(req, result.error());
  if (size == 0) {
    fuse_reply_xattr(req, result->size());
  } else if (result->size() > size) {
    fuse_reply_err(req, ERANGE);
  } else {
    fuse_reply_buf(req, result->data(), result->size());
  }
}

void reply_piece(fuse_req_t req, const Result<Piece>& result) {
  if (!result) return reply_error(req, result.error());
  if (result->size == 0) {
    fuse_reply_buf(req, nullptr, 0);
    return;
  }
  if (result->file->fd() < 0) return reply_copied(req, *result);
  fuse_bufvec pipe{};
  pipe.count = 1;
  pipe.buf[0].size = result->size;
  pipe.buf[0].flags = static_cast<fuse_buf_flags>(FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK);
  pipe.buf[0].fd = result->file->fd();
  pipe.buf[0].pos = static_cast<off_t>(result->offset);
  // Pages are spliced but not moved: moving would take them out of the content file's own cache.
  fuse_reply_data(req, &pipe, static_cast<fuse_buf_copy_flags>(0));
}

}  // namespace ebb::fusefs
