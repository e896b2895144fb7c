#include "proto/errors.h"

namespace ebb::proto {

namespace {

class Category final : public std::error_category {
 public:
  const char* name() const noexcept override { return "ebb.proto"; }
  std::string message(int value) const override {
    // Numbers come from a u16 of a peer, who may be newer and know more of them.
    if (value < 0 || value > 0xffff) return std::string(sentence(Errc{0xffff}));
    return std::string(sentence(static_cast<Errc>(value)));
  }
};

}  // namespace

std::string_view sentence(Errc code) {
  switch (code) {
    case Errc::ok:
      return "no error";
    case Errc::bad_packet:
      return "the other side sent bytes that are no packet of this protocol";
    case Errc::no_common_version:
      return "the two sides have no version of the protocol in common";
    case Errc::not_enrolled:
      return "this client is not enrolled with the server";
    case Errc::other_tree:
      return "the address serves another tree";
    case Errc::too_much:
      return "a limit of the other side was passed";
    case Errc::unknown_type:
      return "the other side does not know this kind of message";
    case Errc::bad_request:
      return "the request makes no sense";
    case Errc::not_found:
      return "the entry does not exist on the server";
    case Errc::moved_on:
      return "the entry has changed on the server";
    case Errc::exists:
      return "the name is taken on the server";
    case Errc::not_empty:
      return "the folder is not empty on the server";
    case Errc::not_folder:
      return "not a folder on the server";
    case Errc::is_folder:
      return "a folder on the server";
    case Errc::no_space:
      return "no space left on the server";
    case Errc::no_permission:
      return "the server may not do that";
    case Errc::read_only:
      return "the server's tree is read-only";
    case Errc::bad_name:
      return "the server cannot hold this name";
    case Errc::too_large:
      return "too large";
    case Errc::not_supported:
      return "the server does not support that";
    case Errc::io:
      return "the server's disk failed";
    case Errc::wrong_hash:
      return "what arrived is not what was sent";
    case Errc::busy:
      return "the server is busy with this entry";
    case Errc::cancelled:
      return "cancelled";
    case Errc::would_cycle:
      return "a folder cannot move into itself";
    case Errc::outside:
      return "the path leaves the served tree";
    case Errc::not_regular:
      return "not a file that is served";
    case Errc::lost:
      return "the connection broke before the answer";
  }
  return "an error that only a newer version knows";
}

bool retry(Errc code) {
  switch (code) {
    case Errc::bad_packet:
    case Errc::too_much:
    case Errc::no_space:
    case Errc::io:
    case Errc::wrong_hash:
    case Errc::busy:
    case Errc::lost:
      return true;
    default:
      return false;
  }
}

const std::error_category& category() {
  static const Category instance;
  return instance;
}

}  // namespace ebb::proto
