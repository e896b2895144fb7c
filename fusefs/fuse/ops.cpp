#include "fusefs/fuse/ops.h"

namespace ebb::fusefs {
namespace {

/// The most that one write request carries; libfuse derives the pages of a request from it.
constexpr unsigned kRequestBytes = 1u << 20;
/// Requests the kernel sends ahead of answers (read-ahead, release): its own 12 throttles streaming
/// pulls.
constexpr unsigned kBackground = 64;

void want(fuse_conn_info* conn, unsigned flag, bool on = true) {
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
  if (on) {
    fuse_set_feature_flag(conn, flag);
  } else {
    fuse_unset_feature_flag(conn, flag);
  }
#else
  if (on) {
    conn->want |= conn->capable & flag;
  } else {
    conn->want &= ~flag;
  }
#endif
}

void op_init(void*, fuse_conn_info* conn) noexcept {
  want(conn, FUSE_CAP_ASYNC_READ);
  want(conn, FUSE_CAP_ATOMIC_O_TRUNC);
  want(conn, FUSE_CAP_PARALLEL_DIROPS);
  want(conn, FUSE_CAP_READDIRPLUS);
  want(conn, FUSE_CAP_READDIRPLUS_AUTO);
  want(conn, FUSE_CAP_CACHE_SYMLINKS);
  // Replies of content are spliced.  Requests are not: a write has to be seen in memory here
  // anyway, and read directly it is copied once, not twice.
  want(conn, FUSE_CAP_SPLICE_WRITE);
  want(conn, FUSE_CAP_SPLICE_READ, false);
  want(conn, FUSE_CAP_SPLICE_MOVE, false);
  // The kernel's caches change when KernelNotifier says so, not when an mtime does.
  want(conn, FUSE_CAP_AUTO_INVAL_DATA, false);
  want(conn, FUSE_CAP_EXPLICIT_INVAL_DATA);
  // A write must be the daemon's before it returns: what a process has written survives its own
  // death and is pushed; a page that waits in the kernel would not be.
  want(conn, FUSE_CAP_WRITEBACK_CACHE, false);
  want(conn, FUSE_CAP_POSIX_ACL, false);
  want(conn, FUSE_CAP_EXPORT_SUPPORT, false);
  want(conn, FUSE_CAP_HANDLE_KILLPRIV, false);
#ifdef FUSE_CAP_HANDLE_KILLPRIV_V2
  // Without it the kernel asks for security.capability before every write.
  want(conn, FUSE_CAP_HANDLE_KILLPRIV_V2);
#endif
#ifdef FUSE_CAP_PASSTHROUGH
  // Whether it is used is decided by PassthroughFiles.
  want(conn, FUSE_CAP_PASSTHROUGH);
#endif
  conn->max_write = kRequestBytes;
  conn->max_background = kBackground;
  conn->congestion_threshold = kBackground * 3 / 4;
  conn->time_gran = 1;
}

}  // namespace

const fuse_lowlevel_ops& kernel_ops() {
  static const fuse_lowlevel_ops ops = [] {
    fuse_lowlevel_ops o{};
    o.init = op_init;
    o.lookup = op_lookup;
    o.forget = op_forget;
    o.forget_multi = op_forget_multi;
    o.getattr = op_getattr;
    o.setattr = op_setattr;
    o.readlink = op_readlink;
    o.mknod = op_mknod;
    o.mkdir = op_mkdir;
    o.unlink = op_unlink;
    o.rmdir = op_rmdir;
    o.symlink = op_symlink;
    o.rename = op_rename;
    o.link = op_link;
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
    o.tmpfile = op_tmpfile;
#endif
    o.open = op_open;
    o.create = op_create;
    o.read = op_read;
    o.write = op_write;
    o.flush = op_flush;
    o.release = op_release;
    o.fsync = op_fsync;
    o.opendir = op_opendir;
    o.readdir = op_readdir;
    o.readdirplus = op_readdirplus;
    o.releasedir = op_releasedir;
    o.fsyncdir = op_fsyncdir;
    o.statfs = op_statfs;
    o.setxattr = op_setxattr;
    o.getxattr = op_getxattr;
    o.listxattr = op_listxattr;
    o.removexattr = op_removexattr;
    o.fallocate = op_fallocate;
    o.lseek = op_lseek;
    return o;
  }();
  return ops;
}

}  // namespace ebb::fusefs
