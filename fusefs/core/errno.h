// errno values are made here, from the errors of every module.
#pragma once

#include "base/result.h"

namespace ebb::fusefs {

/// The errno value that says it best to an application; EIO for what has none.
int errno_of(const std::error_code& code);
/// The same error with an errno value (generic_category); the detail is kept.
Error as_errno(Error error);

}  // namespace ebb::fusefs
