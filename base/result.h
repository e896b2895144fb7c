// Errors are values.  Every function that can fail for a reason outside this program returns a Result.
// A bug of our own is not an error value: it is CHECK (base/check.h).
#pragma once

#include <string>
#include <system_error>
#include <utility>

#include <tl/expected.hpp>

namespace ebb {

/// What went wrong (`code`, of a module's own enum or of the OS) and on what (`detail`: a path, a file and
/// an offset, a sentence; may be empty).  `detail` is for people, programs decide by `code` alone.
struct Error {
  std::error_code code;
  std::string detail;

  /// "detail: what the code means", or just the meaning.
  std::string message() const {
    return detail.empty() ? code.message() : detail + ": " + code.message();
  }
};

template <class T = void>
using Result = tl::expected<T, Error>;

inline tl::unexpected<Error> fail(std::error_code code, std::string detail = {}) {
  return tl::unexpected<Error>(Error{code, std::move(detail)});
}
/// An errno value, positive.
inline tl::unexpected<Error> fail_errno(int number, std::string detail = {}) {
  return fail(std::error_code(number, std::generic_category()), std::move(detail));
}
/// The same error again, from one Result type to another.
inline tl::unexpected<Error> pass(Error error) { return tl::unexpected<Error>(std::move(error)); }

/// True where the error is this errno value.
inline bool is_errno(const Error& error, int number) {
  return error.code == std::error_code(number, std::generic_category());
}

}  // namespace ebb
