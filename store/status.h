// The words of ebb-status(7): statuses, states, pins.  Pure; no file, no clock.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace ebb::store {

/// What a node is.  The numbers are on disk and on the wire.
enum class Kind : std::uint8_t {
  none = 0,
  file = 1,
  folder = 2,
  symlink = 3,
  fifo = 4,
  socket = 5,
  character_device = 6,
  block_device = 7,
};
inline constexpr int kKinds = 8;

/// The numbers are the ancestor's, on disk.  `local` and `remote` are words of files and of
/// folders.
enum class Status : std::uint8_t {
  untracked = 0,
  local = 1,
  remote = 2,
  sync = 3,
  syncless = 4,
  syncmore = 5,
};

/// Where a node's sync stands.  In order of rank: a folder shows the first that occurs beneath it.
enum class State : std::uint8_t { error, conflict, pulling, pushing, waiting, partial, clean };
inline constexpr int kStates = 7;

enum class Pin : std::uint8_t { inherit = 0, keep = 1, automatic = 2 };

constexpr bool is_device(Kind kind) {
  return kind == Kind::character_device || kind == Kind::block_device;
}
/// What means something to this machine's kernel alone, and never leaves it.
constexpr bool is_special(Kind kind) {
  return kind == Kind::fifo || kind == Kind::socket || is_device(kind);
}

std::string_view word(Status status);
std::string_view word(State state);
std::string_view word(Pin pin);

std::optional<Status> parse_status(std::string_view word);
std::optional<Pin> parse_pin(std::string_view word);

/// Whether this kind of node can have this status at all.
bool fits(Kind kind, Status status);

}  // namespace ebb::store
