#include "store/status.h"

#include <array>

namespace ebb::store {
namespace {

constexpr std::array<std::string_view, 6> kStatusWords = {"untracked", "local",    "remote",
                                                          "sync",      "syncless", "syncmore"};
constexpr std::array<std::string_view, kStates> kStateWords = {
    "error", "conflict", "pulling", "pushing", "waiting", "partial", "clean"};
constexpr std::array<std::string_view, 3> kPinWords = {"inherit", "keep", "auto"};

template <class Enum, std::size_t n>
std::optional<Enum> parse(const std::array<std::string_view, n>& words, std::string_view word) {
  for (std::size_t i = 0; i < n; ++i) {
    if (words[i] == word) return static_cast<Enum>(i);
  }
  return std::nullopt;
}

}  // namespace

std::string_view word(Status status) {
  return kStatusWords[static_cast<std::size_t>(status)];
}
std::string_view word(State state) {
  return kStateWords[static_cast<std::size_t>(state)];
}
std::string_view word(Pin pin) {
  return kPinWords[static_cast<std::size_t>(pin)];
}

std::optional<Status> parse_status(std::string_view word) {
  return parse<Status>(kStatusWords, word);
}
std::optional<Pin> parse_pin(std::string_view word) {
  return parse<Pin>(kPinWords, word);
}

bool fits(Kind kind, Status status) {
  switch (kind) {
    case Kind::none:
      return false;
    case Kind::folder:
      return status == Status::local || status == Status::syncless || status == Status::syncmore ||
             status == Status::remote;
    case Kind::file:
      return status == Status::untracked || status == Status::local || status == Status::sync ||
             status == Status::remote;
    case Kind::symlink:  // its target counts as here
      return status == Status::untracked || status == Status::local || status == Status::sync;
    case Kind::fifo:
    case Kind::socket:
    case Kind::character_device:
    case Kind::block_device:
      return status == Status::untracked;  // never leave this machine
  }
  return false;
}

}  // namespace ebb::store
