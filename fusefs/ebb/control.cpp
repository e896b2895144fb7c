#include "fusefs/ebb/control.h"

namespace ebb::fusefs {

std::string bytes_to_json(std::string_view bytes) {
  std::string text;
  for (char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80) {
      text.push_back(c);
    } else {
      text.push_back(static_cast<char>(0xc0 | (byte >> 6)));
      text.push_back(static_cast<char>(0x80 | (byte & 0x3f)));
    }
  }
  return text;
}

std::string bytes_from_json(std::string_view text) {
  std::string bytes;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto first = static_cast<unsigned char>(text[i]);
    if (first < 0x80 || i + 1 == text.size()) {
      bytes.push_back(text[i]);
      continue;
    }
    const auto second = static_cast<unsigned char>(text[++i]);
    bytes.push_back(static_cast<char>(((first & 0x03) << 6) | (second & 0x3f)));
  }
  return bytes;
}

std::string_view word(Kind kind) {
  switch (kind) {
    case Kind::file:
      return "file";
    case Kind::folder:
      return "folder";
    case Kind::symlink:
      return "symlink";
    case Kind::fifo:
      return "fifo";
    case Kind::socket:
      return "socket";
    case Kind::character_device:
      return "character device";
    case Kind::block_device:
      return "block device";
    case Kind::none:
      break;
  }
  return "none";
}

Json to_json(const NodeStatus& status) {
  return {{"kind", word(status.kind)},
          {"status", store::word(status.status)},
          {"state", store::word(status.state)},
          {"reason", status.reason},
          {"size", status.size},
          {"bytes_here", status.bytes_here},
          {"version", status.version.value},
          {"pin", store::word(status.pin)},
          {"kept", status.kept},
          {"hides", status.hides},
          {"absent", status.absent}};
}

Json to_json(const ClientStatus& status) {
  return {{"connected", status.connected}, {"problem", status.problem}, {"waiting", status.waiting},
          {"conflicts", status.conflicts}, {"errors", status.errors},   {"pulls", status.pulls}};
}

Json to_json(const KeptVersion& version) {
  return {{"path", bytes_to_json(version.path)},
          {"version", version.version.value},
          {"kind", word(version.kind)},
          {"event", version.deleted ? "deleted" : "replaced"},
          {"size", version.size},
          {"mtime", version.mtime},
          {"when", version.when},
          {"by", version.by}};
}

std::string to_line(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace ebb::fusefs
