// Answers to the kernel.  Every one of them ends its request: `req` is gone afterwards.  What an
// answer hands to the kernel (a lookup count, a handle) is taken back here when the answer does not
// reach it.
#pragma once

#include <sys/stat.h>

#include "fusefs/core/client.h"
#include "fusefs/fuse/libfuse.h"

namespace ebb::fusefs {

/// For how long the kernel may serve names and attributes without asking, in seconds.  The server
/// tells of every change and KernelNotifier passes it on, so this is "until told otherwise".
inline constexpr double kCacheSeconds = 86400;

Client& client_of(fuse_req_t req);

/// The one place where an error becomes an errno.  What has no errno of its own is EIO.
int errno_of(const Error& error);

struct stat to_stat(const Attributes& attributes);
fuse_entry_param to_entry(const Attributes& attributes);

void reply_error(fuse_req_t req, const Error& error);
void reply_done(fuse_req_t req, const Result<>& result);
void reply_attributes(fuse_req_t req, const Result<Attributes>& result);
/// Counts as one lookup, which the core has counted.
void reply_entry(fuse_req_t req, const Result<Attributes>& result);
/// As reply_entry; a name that is not there is an answer which the kernel keeps, too.
void reply_lookup(fuse_req_t req, const Result<Attributes>& result);
void reply_text(fuse_req_t req, const Result<std::string>& result);
/// `size` as in getxattr(2): 0 asks for the length.
void reply_xattr(fuse_req_t req, const Result<std::string>& result, std::size_t size);
void reply_piece(fuse_req_t req, const Result<Piece>& result);

}  // namespace ebb::fusefs
