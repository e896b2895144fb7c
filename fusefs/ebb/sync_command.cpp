// `ebb sync FILE`: the walk from the root down to the file, and the file.
#include <string>
#include <vector>

#include "fusefs/ebb/commands.h"

namespace ebb::fusefs {
namespace {

/// The folders above a path, from beneath the root down: "a/b/c" -> "a", "a/b".
std::vector<std::string> folders_above(const std::string& path) {
  std::vector<std::string> folders;
  for (auto slash = path.find('/'); slash != std::string::npos; slash = path.find('/', slash + 1)) {
    folders.push_back(path.substr(0, slash));
  }
  return folders;
}

class FileSync {
 public:
  FileSync(Console& console, ControlClient control, Place place)
      : console_(console), control_(std::move(control)), place_(std::move(place)) {}

  Outcome<> run() {
    const auto entry = ask("status", place_.path);
    if (!entry) return tl::unexpected(entry.error());
    if (entry->value("kind", "") == "folder") {
      return refuse(
          "{}: a folder; this version syncs files: name them, or set the folder's status with "
          "`ebb status --to`",
          shown(place_.path));
    }
    // Everything that forbids it, before anything is changed.
    if (entry->value("status", "") == "remote") {
      return refuse(
          "{}: remote: there is nothing here to sync; `ebb status --to sync` brings it here",
          shown(place_.path));
    }
    for (const std::string& folder : folders_above(place_.path)) {
      if (auto done = open_way(folder); !done) return done;
    }
    return sync_file(entry->value("status", ""));
  }

 private:
  Outcome<> open_way(const std::string& folder) {
    const auto entry = ask("status", folder);
    if (!entry) return tl::unexpected(entry.error());
    const std::string status = entry->value("status", "");
    if (status == "syncless" || status == "syncmore") return {};
    tell("{}: {}, becomes syncless", shown(folder), status);
    return set(folder, "syncless");
  }

  Outcome<> sync_file(const std::string& status) {
    if (status == "sync") {
      tell("{}: sync, being pushed", shown(place_.path));
    } else {
      tell("{}: {}, becomes sync and is pushed", shown(place_.path), status);
      if (auto done = set(place_.path, "sync"); !done) return done;
    }
    const auto waited = ask("wait", place_.path);
    if (!waited) return tl::unexpected(waited.error());
    return {};
  }

  Outcome<> set(const std::string& path, const char* to) {
    Json what = request("set", path);
    what["to"] = to;
    const auto answer = checked(control_.ask(what), shown(path));
    if (!answer) return tl::unexpected(answer.error());
    return {};
  }
  Outcome<Json> ask(std::string_view what, const std::string& path) {
    return checked(control_.ask(request(what, path)), shown(path));
  }
  std::string shown(const std::string& path) const { return place_.mount.point + "/" + path; }

  template <class... Args>
  void tell(fmt::format_string<Args...> format, Args&&... args) {
    console_.out << printable(fmt::format(format, std::forward<Args>(args)...)) << std::endl;
  }

  Console& console_;
  ControlClient control_;
  Place place_;
};

Outcome<> sync_one(Console& console, const std::string& path) {
  auto place = place_of(path);
  if (!place) return tl::unexpected(place.error());
  auto control = ControlClient::connect(place->mount);
  if (!control) return tl::unexpected(control.error());
  return FileSync(console, std::move(*control), std::move(*place)).run();
}

}  // namespace

int sync_command(Console& console, const std::vector<std::string>& paths) {
  int code = kDone;
  for (const std::string& path : paths) {
    if (auto done = sync_one(console, path); !done)
      code = std::max(code, console.fail(done.error()));
  }
  return code;
}

}  // namespace ebb::fusefs
