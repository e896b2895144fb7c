// `ebb history` and `ebb restore`: former contents, as the server keeps them.
#include <algorithm>
#include <charconv>
#include <ctime>
#include <optional>

#include <sys/stat.h>

#include "fusefs/ebb/commands.h"

namespace ebb::fusefs {
namespace {

std::string local_time(WallNs when) {
  const std::time_t seconds = static_cast<std::time_t>(when / 1'000'000'000);
  std::tm parts{};
  ::localtime_r(&seconds, &parts);
  char text[32];
  return {text, std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &parts)};
}

Outcome<Json> ask(const Place& place, const Json& what, const std::string& shown) {
  auto control = ControlClient::connect(place.mount);
  if (!control) return tl::unexpected(control.error());
  return checked(control->ask(what), shown);
}

/// 1234      replaced 2026-11-28 05:12:01     4.0 KiB  laptop  (was docs/plan.txt)
void print_version(Console& console, const Json& version, const std::string& inside) {
  const std::string former = bytes_from_json(version.value("path", ""));
  const bool file = version.value("kind", "") == "file";
  console.out << fmt::format(
      "{:<10}{:<9}{} {:>12}  {}{}\n", version.value("version", std::uint64_t{0}),
      version.value("event", ""), local_time(version.value("when", WallNs{0})),
      file ? human_size(version.value("size", std::uint64_t{0})) : version.value("kind", ""),
      printable(version.value("by", "")),
      former == inside ? "" : "  (was " + printable(former) + ")");
}

void print_json(Console& console, const std::string& path, Json version) {
  version["former_path"] = bytes_from_json(version.value("path", ""));
  version["path"] = path;
  console.out << to_line(version);
}

Outcome<> history_one(Console& console, const std::string& path, bool json, bool named) {
  const auto place = former_place_of(path);
  if (!place) return tl::unexpected(place.error());
  const auto answer = ask(*place, request("history", place->path), path);
  if (!answer) return tl::unexpected(answer.error());
  const Json versions = answer->value("versions", Json::array());
  if (!json && (named || versions.empty())) {
    console.out << printable(path) << (versions.empty() ? ": nothing is kept\n" : ":\n");
  }
  for (const Json& version : versions) {
    json ? print_json(console, path, version) : print_version(console, version, place->path);
  }
  return {};
}

struct Wanted {
  std::string path;
  std::uint64_t version = 0;
};

/// PATH@VERSION, unless a file has that very name.
Wanted parse_wanted(const std::string& text) {
  struct stat st {};
  const auto at = text.rfind('@');
  if (at == std::string::npos || at + 1 == text.size() || ::lstat(text.c_str(), &st) == 0) {
    return {text, 0};
  }
  Wanted wanted{text.substr(0, at), 0};
  const char* end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data() + at + 1, end, wanted.version);
  const bool number = parsed.ec == std::errc() && parsed.ptr == end && wanted.version != 0;
  return number ? wanted : Wanted{text, 0};
}

Outcome<> restore_one(Console& console, const std::string& text) {
  const Wanted wanted = parse_wanted(text);
  const auto place = former_place_of(wanted.path);
  if (!place) return tl::unexpected(place.error());
  Json what = request("restore", place->path);
  what["version"] = wanted.version;
  const auto answer = ask(*place, what, text);
  if (!answer) return tl::unexpected(answer.error());
  console.out << printable(wanted.path) << ": restored" << std::endl;
  return {};
}

}  // namespace

int history_command(Console& console, const std::vector<std::string>& paths, bool json) {
  int code = kDone;
  for (const std::string& path : paths) {
    if (auto done = history_one(console, path, json, paths.size() > 1); !done)
      code = std::max(code, console.fail(done.error()));
  }
  return code;
}

int restore_command(Console& console, const std::vector<std::string>& paths) {
  int code = kDone;
  for (const std::string& path : paths) {
    if (auto done = restore_one(console, path); !done)
      code = std::max(code, console.fail(done.error()));
  }
  return code;
}

}  // namespace ebb::fusefs
