// `ebb status`: what is where.
#include <algorithm>
#include <string>
#include <utility>

#include "fusefs/ebb/commands.h"

namespace ebb::fusefs {
namespace {

/// Of the queue, in the words for people.
constexpr std::size_t kQueueShown = 10;

std::string_view colour_of(const std::string& state) {
  if (state == "error" || state == "conflict") return "\x1b[31m";
  if (state == "clean") return "\x1b[32m";
  return "\x1b[33m";
}

std::string in_colour(const Console& console, std::string_view colour, const std::string& text) {
  return console.colour ? std::string(colour) + text + "\x1b[0m" : text;
}

/// "1.2 MiB of 4.0 MiB (30%)", or what else it is.
std::string size_of(const Json& entry) {
  if (entry.value("kind", "") != "file") return entry.value("kind", "");
  const auto here = entry.value("bytes_here", std::uint64_t{0});
  const auto size = entry.value("size", std::uint64_t{0});
  std::string text = human_size(here) + " of " + human_size(size);
  const bool part = here > 0 && here < size;
  return part ? text + fmt::format(" ({:.0f}%)",
                                   100.0 * static_cast<double>(here) / static_cast<double>(size))
              : text;
}

/// What a person may want to know beside the words.
std::string notes_of(const Json& entry) {
  std::vector<std::string> notes;
  if (const std::string reason = entry.value("reason", ""); !reason.empty()) {
    notes.push_back(printable(reason));
  }
  const std::string pin = entry.value("pin", "inherit");
  if (pin == "keep") notes.push_back("pinned: kept here");
  if (pin == "auto") notes.push_back("not kept");
  if (entry.value("hides", false)) notes.push_back("hides an entry of the server");
  const auto absent = entry.value("absent", std::uint64_t{0});
  if (absent > 0) notes.push_back(fmt::format("{} of the server hidden in it", absent));
  return notes.empty() ? "" : fmt::format("  ({})", fmt::join(notes, "; "));
}

class StatusPrinter {
 public:
  StatusPrinter(Console& console, StatusView view, ControlClient control)
      : console_(console), view_(view), control_(std::move(control)) {}

  Outcome<> print(const std::string& inside, const std::string& shown) {
    const auto entry = checked(control_.ask(request("status", inside)), shown);
    if (!entry) return tl::unexpected(entry.error());
    print_entry(shown, *entry);
    const bool folder = entry->value("kind", "") == "folder";
    if (!folder || (view_.json && !view_.recursive)) return {};
    return print_contents(inside, shown);
  }

 private:
  /// In the order of their names, each folder before what is in it.
  Outcome<> print_contents(const std::string& inside, const std::string& shown) {
    std::vector<std::pair<std::string, Json>> entries;
    const auto read =
        each_entry(control_, inside, shown, [&](const std::string& name, const Json& entry) {
          entries.emplace_back(name, entry);
          return Outcome<>{};
        });
    if (!read) return read;
    std::sort(entries.begin(), entries.end(),
              [](const auto& a, const auto& b) { return a.first < b.first; });
    for (const auto& [name, entry] : entries) {
      print_entry(joined(shown, name), entry);
      if (!view_.recursive || entry.value("kind", "") != "folder") continue;
      if (auto done = print_contents(joined(inside, name), joined(shown, name)); !done) return done;
    }
    return {};
  }

  void print_entry(const std::string& shown, Json entry) {
    if (!view_.json) return print_text(shown, entry);
    entry.erase("name");
    entry["path"] = shown;
    console_.out << to_line(entry);
  }

  /// sync      clean     4.0 KiB of 4.0 KiB  PATH  (reason)
  void print_text(const std::string& shown, const Json& entry) {
    const std::string state = entry.value("state", "");
    console_.out << fmt::format("{:<10}{} {:>22}  {}{}\n", entry.value("status", ""),
                                in_colour(console_, colour_of(state), fmt::format("{:<9}", state)),
                                size_of(entry), printable(shown), notes_of(entry));
  }

  Console& console_;
  StatusView view_;
  ControlClient control_;
};

Outcome<> print_path(Console& console, const std::string& path, StatusView view) {
  const auto place = place_of(path);
  if (!place) return tl::unexpected(place.error());
  auto control = ControlClient::connect(place->mount);
  if (!control) return tl::unexpected(control.error());
  return StatusPrinter(console, view, std::move(*control)).print(place->path, path);
}

// ---- a mount

std::string age_of(double seconds) {
  if (seconds < 120) return fmt::format("{:.0f} s", seconds);
  if (seconds < 7200) return fmt::format("{:.0f} min", seconds / 60);
  return fmt::format("{:.0f} h", seconds / 3600);
}

void print_queue(Console& console, const Json& waiting) {
  std::size_t number = 0;
  for (const Json& item : waiting) {
    if (number == kQueueShown) break;
    console.out << fmt::format("  {:>3}. {:>7}  {}\n", ++number, age_of(item.value("seconds", 0.0)),
                               printable(bytes_from_json(item.value("path", ""))));
  }
  if (waiting.size() > number) console.out << "       and more\n";
}

void print_mount_text(Console& console, const Json& facts, const Json& waiting) {
  const bool connected = facts.value("connected", false);
  const std::string problem = facts.value("problem", "");
  console.out << fmt::format("{} on {}: {}{}\n",
                             printable(bytes_from_json(facts.value("source", ""))),
                             printable(bytes_from_json(facts.value("mountpoint", ""))),
                             in_colour(console, colour_of(connected ? "clean" : "error"),
                                       connected ? "connected" : "no server"),
                             problem.empty() ? "" : " (" + printable(problem) + ")");
  console.out << fmt::format(
      "  waiting {}, coming {}, conflicts {}, errors {}\n",
      facts.value("waiting", std::uint64_t{0}), facts.value("pulls", std::uint64_t{0}),
      facts.value("conflicts", std::uint64_t{0}), facts.value("errors", std::uint64_t{0}));
  print_queue(console, waiting);
}

void print_mount_json(Console& console, Json facts, const Json& waiting) {
  for (const char* name : {"mountpoint", "source", "state_folder"}) {
    facts[name] = bytes_from_json(facts.value(name, ""));
  }
  facts["queue"] = Json::array();
  for (const Json& item : waiting) {
    facts["queue"].push_back({{"path", bytes_from_json(item.value("path", ""))},
                              {"seconds", item.value("seconds", 0.0)}});
  }
  console.out << to_line(facts);
}

Outcome<> print_mount(Console& console, const Mount& mount, bool json) {
  auto control = ControlClient::connect(mount);
  if (!control) return tl::unexpected(control.error());
  const auto facts = checked(control->ask(request("mount", "")), mount.point);
  if (!facts) return tl::unexpected(facts.error());
  const auto queue = checked(control->ask(request("queue", "")), mount.point);
  if (!queue) return tl::unexpected(queue.error());
  const Json waiting = queue->value("waiting", Json::array());
  json ? print_mount_json(console, *facts, waiting) : print_mount_text(console, *facts, waiting);
  return {};
}

}  // namespace

int status_command(Console& console, const std::vector<std::string>& paths, StatusView view) {
  int code = kDone;
  auto note = [&](const Outcome<>& printed) {
    if (!printed) code = std::max(code, console.fail(printed.error()));
  };
  if (paths.empty()) {
    for (const Mount& mount : own_mounts()) note(print_mount(console, mount, view.json));
  }
  for (const std::string& path : paths) note(print_path(console, path, view));
  return code;
}

}  // namespace ebb::fusefs
