// `ebb status`: what is where.
#include <string>

#include "fusefs/ebb/commands.h"

namespace ebb::fusefs {
namespace {

std::string_view colour_of(const std::string& state) {
  if (state == "error" || state == "conflict") return "\x1b[31m";
  if (state == "waiting" || state == "pushing" || state == "pulling") return "\x1b[33m";
  return "\x1b[32m";
}

/// sync      clean     4.0 KiB/4.0 KiB  PATH (reason)
void print_entry(Console& console, const std::string& path, const Json& entry) {
  const std::string state = entry.value("state", "");
  const std::string reason = entry.value("reason", "");
  const bool file = entry.value("kind", "") == "file";
  const std::string size = file ? human_size(entry.value("bytes_here", std::uint64_t{0})) + " of " +
                                      human_size(entry.value("size", std::uint64_t{0}))
                                : entry.value("kind", "");
  console.out << fmt::format("{:<10}{}{:<9}{} {:>22}  {}{}\n", entry.value("status", ""),
                             console.colour ? colour_of(state) : "", state,
                             console.colour ? "\x1b[0m" : "", size, printable(path),
                             reason.empty() ? "" : " (" + printable(reason) + ")");
}

void print_json(Console& console, const std::string& path, Json entry) {
  entry.erase("name");
  entry["path"] = path;
  console.out << to_line(entry);
}

void print(Console& console, const std::string& path, const Json& entry, bool json) {
  if (json) return print_json(console, path, entry);
  print_entry(console, path, entry);
}

Outcome<> print_contents(Console& console, ControlClient& control, const std::string& inside,
                         const std::string& path, bool json) {
  std::uint64_t cookie = 0;
  do {
    Json what = request("list", inside);
    what["cookie"] = cookie;
    const auto page = checked(control.ask(what), path);
    if (!page) return tl::unexpected(page.error());
    for (const Json& entry : page->value("entries", Json::array())) {
      const std::string name = bytes_from_json(entry.value("name", ""));
      print(console, path.ends_with('/') ? path + name : path + "/" + name, entry, json);
    }
    cookie = page->value("next", std::uint64_t{0});
  } while (cookie != 0);
  return {};
}

Outcome<> print_path(Console& console, const std::string& path, bool json) {
  const auto place = place_of(path);
  if (!place) return tl::unexpected(place.error());
  auto control = ControlClient::connect(place->mount);
  if (!control) return tl::unexpected(control.error());
  const auto entry = checked(control->ask(request("status", place->path)), path);
  if (!entry) return tl::unexpected(entry.error());
  print(console, path, *entry, json);
  if (json || entry->value("kind", "") != "folder") return {};
  return print_contents(console, *control, place->path, path, json);
}

void print_mount_text(Console& console, const Json& facts) {
  const bool connected = facts.value("connected", false);
  const std::string problem = facts.value("problem", "");
  const char* on = !console.colour ? "" : connected ? "\x1b[32m" : "\x1b[31m";
  console.out << fmt::format("{} on {}: {}{}{}{}\n",
                             printable(bytes_from_json(facts.value("source", ""))),
                             printable(bytes_from_json(facts.value("mountpoint", ""))), on,
                             connected ? "connected" : "no server", console.colour ? "\x1b[0m" : "",
                             problem.empty() ? "" : " (" + printable(problem) + ")");
  console.out << fmt::format(
      "  waiting {}, coming {}, conflicts {}, errors {}\n",
      facts.value("waiting", std::uint64_t{0}), facts.value("pulls", std::uint64_t{0}),
      facts.value("conflicts", std::uint64_t{0}), facts.value("errors", std::uint64_t{0}));
}

void print_mount_json(Console& console, Json facts) {
  for (const char* name : {"mountpoint", "source", "state_folder"}) {
    facts[name] = bytes_from_json(facts.value(name, ""));
  }
  console.out << to_line(facts);
}

Outcome<> print_mount(Console& console, const Mount& mount, bool json) {
  auto control = ControlClient::connect(mount);
  if (!control) return tl::unexpected(control.error());
  const auto facts = checked(control->ask(request("mount", "")), mount.point);
  if (!facts) return tl::unexpected(facts.error());
  if (json) {
    print_mount_json(console, *facts);
  } else {
    print_mount_text(console, *facts);
  }
  return {};
}

}  // namespace

int status_command(Console& console, const std::vector<std::string>& paths, bool json) {
  int code = kDone;
  auto note = [&](const Outcome<>& printed) {
    if (!printed) code = std::max(code, console.fail(printed.error()));
  };
  if (paths.empty()) {
    for (const Mount& mount : own_mounts()) note(print_mount(console, mount, json));
  }
  for (const std::string& path : paths) note(print_path(console, path, json));
  return code;
}

}  // namespace ebb::fusefs
