#include "fusefs/core/errno.h"

#include <cerrno>

#include "proto/errors.h"
#include "store/errors.h"

namespace ebb::fusefs {
namespace {

int of_protocol(proto::Errc code) {
  switch (code) {
    case proto::Errc::ok:
      return 0;
    case proto::Errc::not_found:
      return ENOENT;
    case proto::Errc::moved_on:
      return ESTALE;
    case proto::Errc::exists:
      return EEXIST;
    case proto::Errc::not_empty:
      return ENOTEMPTY;
    case proto::Errc::not_folder:
      return ENOTDIR;
    case proto::Errc::is_folder:
      return EISDIR;
    case proto::Errc::no_space:
      return ENOSPC;
    case proto::Errc::no_permission:
      return EACCES;
    case proto::Errc::read_only:
      return EROFS;
    case proto::Errc::bad_name:
    case proto::Errc::would_cycle:
      return EINVAL;
    case proto::Errc::too_large:
      return EFBIG;
    case proto::Errc::not_supported:
    case proto::Errc::unknown_type:
      return EOPNOTSUPP;
    case proto::Errc::busy:
      return EBUSY;
    case proto::Errc::lost:
      return EHOSTDOWN;
    default:
      return EIO;
  }
}

int of_store(store::Errc code) {
  switch (code) {
    case store::Errc::stale:
      return ESTALE;
    case store::Errc::in_use:
      return EBUSY;
    default:
      return EIO;
  }
}

}  // namespace

int errno_of(const std::error_code& code) {
  if (code.category() == std::generic_category() || code.category() == std::system_category()) {
    return code.value();
  }
  if (code.category() == proto::category()) {
    return of_protocol(static_cast<proto::Errc>(code.value()));
  }
  if (code.category() == store::category()) return of_store(static_cast<store::Errc>(code.value()));
  return EIO;
}

Error as_errno(Error error) {
  error.code = std::error_code(errno_of(error.code), std::generic_category());
  return error;
}

}  // namespace ebb::fusefs
