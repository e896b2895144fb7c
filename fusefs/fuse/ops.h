// What the kernel asks, one function a request: each translates its arguments, makes one call of
// the core, and leaves the answer to reply.h.  None keeps anything, none waits; any number run at
// the same time. Not answered here on purpose, so that libfuse says ENOSYS once and the kernel does
// without: access (default_permissions is always on), locks and flock (the kernel's own, for this
// machine), poll, ioctl, copy_file_range (the kernel copies); with libfuse before 3.17 tmpfile (an
// O_TMPFILE open is refused with EOPNOTSUPP).
#pragma once

#include "base/ids.h"
#include "fusefs/fuse/libfuse.h"

namespace ebb::fusefs {

/// The table for fuse_session_new; the session's user data is the Client.
const fuse_lowlevel_ops& kernel_ops();

// names.cpp
void op_lookup(fuse_req_t req, fuse_ino_t parent, const char* name) noexcept;
void op_forget(fuse_req_t req, fuse_ino_t ino, std::uint64_t lookups) noexcept;
void op_forget_multi(fuse_req_t req, std::size_t count, fuse_forget_data* forgets) noexcept;
void op_readlink(fuse_req_t req, fuse_ino_t ino) noexcept;
void op_mknod(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode,
              dev_t device) noexcept;
void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode) noexcept;
void op_symlink(fuse_req_t req, const char* target, fuse_ino_t parent, const char* name) noexcept;
void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char* name) noexcept;
void op_unlink(fuse_req_t req, fuse_ino_t parent, const char* name) noexcept;
void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char* name) noexcept;
void op_rename(fuse_req_t req, fuse_ino_t parent, const char* name, fuse_ino_t new_parent,
               const char* new_name, unsigned flags) noexcept;

// content.cpp
void op_create(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode,
               fuse_file_info* fi) noexcept;
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
void op_tmpfile(fuse_req_t req, fuse_ino_t parent, mode_t mode, fuse_file_info* fi) noexcept;
#endif
void op_open(fuse_req_t req, fuse_ino_t ino, fuse_file_info* fi) noexcept;
void op_read(fuse_req_t req, fuse_ino_t ino, std::size_t size, off_t offset,
             fuse_file_info* fi) noexcept;
void op_write(fuse_req_t req, fuse_ino_t ino, const char* data, std::size_t size, off_t offset,
              fuse_file_info* fi) noexcept;
void op_flush(fuse_req_t req, fuse_ino_t ino, fuse_file_info* fi) noexcept;
void op_release(fuse_req_t req, fuse_ino_t ino, fuse_file_info* fi) noexcept;
void op_fsync(fuse_req_t req, fuse_ino_t ino, int data_only, fuse_file_info* fi) noexcept;
void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length,
                  fuse_file_info* fi) noexcept;
void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t offset, int whence,
              fuse_file_info* fi) noexcept;

// attributes.cpp
void op_getattr(fuse_req_t req, fuse_ino_t ino, fuse_file_info* fi) noexcept;
void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat* wanted, int which,
                fuse_file_info* fi) noexcept;
void op_statfs(fuse_req_t req, fuse_ino_t ino) noexcept;
void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char* name, std::size_t size) noexcept;
void op_listxattr(fuse_req_t req, fuse_ino_t ino, std::size_t size) noexcept;
void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char* name, const char* value,
                 std::size_t size, int flags) noexcept;
void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char* name) noexcept;
/// The set-id bits that a write or truncation by this caller takes away (HANDLE_KILLPRIV_V2 leaves
/// it to us).
void drop_set_id(fuse_req_t req, NodeId node);

// folders.cpp
void op_opendir(fuse_req_t req, fuse_ino_t ino, fuse_file_info* fi) noexcept;
void op_readdir(fuse_req_t req, fuse_ino_t ino, std::size_t size, off_t offset,
                fuse_file_info* fi) noexcept;
void op_readdirplus(fuse_req_t req, fuse_ino_t ino, std::size_t size, off_t offset,
                    fuse_file_info* fi) noexcept;
void op_releasedir(fuse_req_t req, fuse_ino_t ino, fuse_file_info* fi) noexcept;
void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int data_only, fuse_file_info* fi) noexcept;

}  // namespace ebb::fusefs
