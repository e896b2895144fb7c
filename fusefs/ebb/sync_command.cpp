// `ebb sync`: the walk from the root down to the file or folder, and then it.
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

bool is_synced_folder(const std::string& status) {
  return status == "syncless" || status == "syncmore";
}

class SyncWalk {
 public:
  SyncWalk(Console& console, ControlClient control, Place place, std::string as)
      : console_(console),
        control_(std::move(control)),
        place_(std::move(place)),
        as_(std::move(as)) {}

  Outcome<> run() {
    const auto entry = ask("status", place_.path);
    if (!entry) return tl::unexpected(entry.error());
    const std::string status = entry->value("status", "");
    const bool folder = entry->value("kind", "") == "folder";
    // Everything that forbids it, before anything is changed.
    if (status == "remote") {
      return refuse(
          "{}: remote: there is nothing here to sync; `ebb status --to {}` brings it here",
          shown(place_.path), folder ? "syncmore" : "sync");
    }
    if (folder && status == "local") {
      if (auto answered = choose(); !answered) return answered;
    }
    for (const std::string& above : folders_above(place_.path)) {
      if (auto done = open_way(above); !done) return done;
    }
    return folder ? sync_folder(status) : sync_file(status);
  }

 private:
  /// What a local folder becomes is the person's to say.
  Outcome<> choose() {
    if (!as_.empty()) return {};
    const std::string question = fmt::format(
        "{}: local.  syncless: the folder is made on the server, what is in it stays here;\n"
        "syncmore: all that is in it is synced.  syncless or syncmore? ",
        printable(shown(place_.path)));
    for (;;) {
      const auto answer = console_.ask(question);
      if (!answer) {
        return tl::unexpected(Refusal{
            shown(place_.path) + ": local, and nobody to ask what it shall become; say `--as "
                                 "syncless` or `--as syncmore`",
            kUsage});
      }
      if (is_synced_folder(*answer)) return as_ = *answer, Outcome<>{};
    }
  }

  Outcome<> open_way(const std::string& folder) {
    const auto entry = ask("status", folder);
    if (!entry) return tl::unexpected(entry.error());
    const std::string status = entry->value("status", "");
    if (is_synced_folder(status)) return {};
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
    return wait();
  }

  /// What is local in it stays local but for what the word itself brings along; what is sync, at
  /// any depth, is pushed.
  Outcome<> sync_folder(const std::string& status) {
    if (is_synced_folder(status)) {
      tell("{}: {}, what is sync in it is pushed", shown(place_.path), status);
    } else {
      tell("{}: {}, becomes {}", shown(place_.path), status, as_);
      if (auto done = set(place_.path, as_); !done) return done;
    }
    return wait();
  }

  Outcome<> wait() {
    const auto waited = ask("wait", place_.path);
    if (!waited) return tl::unexpected(waited.error());
    return {};
  }

  Outcome<> set(const std::string& path, const std::string& to) {
    Json what = request("set", path);
    what["to"] = to;
    const auto answer = checked(control_.ask(what), shown(path));
    if (!answer) return tl::unexpected(answer.error());
    return {};
  }
  Outcome<Json> ask(std::string_view what, const std::string& path) {
    return checked(control_.ask(request(what, path)), shown(path));
  }
  std::string shown(const std::string& path) const { return joined(place_.mount.point, path); }

  template <class... Args>
  void tell(fmt::format_string<Args...> format, Args&&... args) {
    console_.out << printable(fmt::format(format, std::forward<Args>(args)...)) << std::endl;
  }

  Console& console_;
  ControlClient control_;
  Place place_;
  std::string as_;
};

Outcome<> sync_one(Console& console, const std::string& path, const std::string& as) {
  auto place = place_of(path);
  if (!place) return tl::unexpected(place.error());
  auto control = ControlClient::connect(place->mount);
  if (!control) return tl::unexpected(control.error());
  return SyncWalk(console, std::move(*control), std::move(*place), as).run();
}

}  // namespace

int sync_command(Console& console, const std::vector<std::string>& paths, const std::string& as) {
  int code = kDone;
  for (const std::string& path : paths) {
    if (auto done = sync_one(console, path, as); !done)
      code = std::max(code, console.fail(done.error()));
  }
  return code;
}

}  // namespace ebb::fusefs
