// The one list of errors of the protocol: number on the wire, sentence, whether to try again.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>

namespace ebb::proto {

/// On the wire as u16.  The comment is what a client does.
enum class Errc : std::uint16_t {
  ok = 0,
  // Of the connection: it is closed after these.
  bad_packet = 1,         // garbage, oversize, unknown flag; reconnects
  no_common_version = 2,  // tells the user both ranges; stops
  not_enrolled = 3,       // tells the user; stops
  other_tree = 4,         // the address serves another tree now; tells the user; stops
  too_much = 5,           // a limit of the other side was passed; reconnects
  // Of one request.
  unknown_type = 16,      // an old peer; does without
  bad_request = 17,       // our own bug or a hostile peer; state `error`
  not_found = 18,         // the entry is no more; takes the server's word
  moved_on = 19,          // the versions named are not the current ones: conflict, or pulls the newer version
  exists = 20,            // the name is taken: conflict
  not_empty = 21,         // the folder has more than the client saw; keeps it
  not_folder = 22,        // ENOTDIR
  is_folder = 23,         // EISDIR
  no_space = 24,          // waits, tries again
  no_permission = 25,     // state `error`
  read_only = 26,         // state `error`
  bad_name = 27,          // the server cannot hold the name; state `error`
  too_large = 28,         // EFBIG
  not_supported = 29,     // state `error`
  io = 30,                // the server's disk failed; tries again
  wrong_hash = 31,        // what arrived is not what was sent; tries again
  busy = 32,              // tries again
  cancelled = 33,         // nobody wants it any more
  would_cycle = 34,       // a folder into itself; undone locally
  outside = 35,           // a path that leaves the tree
  not_regular = 36,       // a device or the like that is not served
  lost = 37,              // client side only: the connection broke before the answer
};

std::string_view sentence(Errc code);
/// Whether the same request may succeed later without anything else changing.
bool retry(Errc code);

const std::error_category& category();
inline std::error_code make_error_code(Errc e) { return {static_cast<int>(e), category()}; }

}  // namespace ebb::proto

template <>
struct std::is_error_code_enum<ebb::proto::Errc> : std::true_type {};
