// What commands and daemon say to each other on the control socket: one JSON object a line.  A
// request is
// {"do": WORD, "path": PATH, ...}; its answer is one object, with "error" (a sentence) and "errno"
// where it failed.
//
//     mount                -> mountpoint, source, state_folder, connected, problem, waiting,
//                             conflicts, errors, pulls, ending
//     status path          -> one entry (below)
//     list path cookie     -> entries: [entry + name...], next: cookie to go on with, 0 = that was
//     all set path to          -> answered when the transition has ended pin path pin         ->
//     answered at once; what is to be kept comes by itself wait path            -> answered when
//     nothing there is waiting any more queue                -> waiting: [{path, seconds}...], in
//     order
//     history path         -> versions: [{path, version, kind, event, size, mtime, when, by}...]
//     restore path version -> answered when it is back
//
// An entry: kind, status, state, reason, size, bytes_here, version, pin, kept, hides, absent.
// Whoever hangs up during set or wait gives up waiting; what a set has begun goes on.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/json.h"
#include "fusefs/core/client.h"

namespace ebb::fusefs {

inline constexpr std::string_view kControlSocket = "control";  // in the state folder
/// A request with the longest path, every byte of it escaped; a client that sends more is cut off.
inline constexpr std::size_t kRequestMax = 64 * 1024;
inline constexpr std::size_t kAnswerMax = 4 * 1024 * 1024;
/// Entries in one answer to `list` and `queue`.
inline constexpr std::size_t kEntriesMax = 1000;

/// Names are bytes, JSON is Unicode: each byte travels as the code point of its number.
std::string bytes_to_json(std::string_view bytes);
std::string bytes_from_json(std::string_view text);

std::string_view word(Kind kind);
Json to_json(const NodeStatus& status);
Json to_json(const ClientStatus& status);
Json to_json(const KeptVersion& version);

/// One line, newline included.  Never throws.
std::string to_line(const Json& json);

}  // namespace ebb::fusefs
