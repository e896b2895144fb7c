// `ebb free`, `ebb pin`, `ebb unpin`: which content is here.
#include <cerrno>
#include <string>

#include "fusefs/ebb/commands.h"

namespace ebb::fusefs {
namespace {

/// What is left alone is left with a reason; nothing that is not on the server is ever dropped.
class Freeing {
 public:
  Freeing(Console& console, ControlClient control)
      : console_(console), control_(std::move(control)) {}

  Outcome<> run(const std::string& inside, const std::string& shown) {
    const auto entry = checked(control_.ask(request("status", inside)), shown);
    if (!entry) return tl::unexpected(entry.error());
    const bool folder = entry->value("kind", "") == "folder";
    auto done =
        folder ? free_folder(inside, shown, *entry) : free_file(inside, shown, *entry, true);
    console_.end_progress();
    if (!done) return done;
    console_.out << fmt::format("{}: {} in {} files{}\n", printable(shown), human_size(bytes_),
                                files_, kept_ == 0 ? "" : fmt::format(", {} kept", kept_));
    return {};
  }

 private:
  Outcome<> free_folder(const std::string& inside, const std::string& shown, const Json& folder) {
    if (folder.value("status", "") == "local") return {};
    return each_entry(control_, inside, shown,
                      [&](const std::string& name, const Json& entry) -> Outcome<> {
                        const auto path = joined(inside, name);
                        const auto at = joined(shown, name);
                        const std::string kind = entry.value("kind", "");
                        if (kind == "folder") return free_folder(path, at, entry);
                        return kind == "file" ? free_file(path, at, entry, false) : Outcome<>{};
                      });
  }

  /// Empty for one that can be freed.
  static std::string reason_to_keep(const Json& entry) {
    const std::string status = entry.value("status", "");
    if (entry.value("kind", "") != "file") return "only files have content to free";
    if (status != "sync" && status != "remote") return status + ": the server does not have it";
    if (entry.value("kept", false)) return "pinned; `ebb unpin` lets it go";
    const std::string state = entry.value("state", "");
    const bool pushed = state == "clean" || state == "partial" || state == "pulling";
    return pushed ? "" : state + ": the server does not have all of it yet";
  }

  Outcome<> free_file(const std::string& inside, const std::string& shown, const Json& entry,
                      bool named) {
    const auto here = entry.value("bytes_here", std::uint64_t{0});
    const bool nothing = here == 0 && entry.value("status", "") == "remote";
    if (nothing) return {};
    if (const auto why = reason_to_keep(entry); !why.empty()) {
      if (named) return refuse("{}: {}", shown, why);
      ++kept_;
      return {};
    }
    Json what = request("set", inside);
    what["to"] = "remote";
    const auto answer = control_.ask(what);
    if (!answer) return tl::unexpected(answer.error());
    const bool in_use = answer->value("errno", 0) == EBUSY || answer->value("errno", 0) == ENOENT;
    if (in_use && !named) return ++kept_, Outcome<>{};
    if (auto done = checked(answer, shown); !done) return tl::unexpected(done.error());
    bytes_ += here;
    ++files_;
    console_.show_progress(fmt::format("{} in {} files", human_size(bytes_), files_));
    return {};
  }

  Console& console_;
  ControlClient control_;
  std::uint64_t bytes_ = 0;
  std::uint64_t files_ = 0;
  std::uint64_t kept_ = 0;
};

Outcome<> free_one(Console& console, const std::string& path) {
  const auto place = place_of(path);
  if (!place) return tl::unexpected(place.error());
  auto control = ControlClient::connect(place->mount);
  if (!control) return tl::unexpected(control.error());
  return Freeing(console, std::move(*control)).run(place->path, path);
}

Outcome<> set_pin(ControlClient& control, const std::string& inside, const std::string& shown,
                  std::string_view pin) {
  Json what = request("pin", inside);
  what["pin"] = pin;
  const auto answer = checked(control.ask(what), shown);
  if (!answer) return tl::unexpected(answer.error());
  return {};
}

Outcome<> pin_one(const std::string& path, bool on) {
  const auto place = place_of(path);
  if (!place) return tl::unexpected(place.error());
  auto control = ControlClient::connect(place->mount);
  if (!control) return tl::unexpected(control.error());
  if (on) return set_pin(*control, place->path, path, "keep");
  if (auto done = set_pin(*control, place->path, path, "inherit"); !done) return done;
  const auto entry = checked(control->ask(request("status", place->path)), path);
  if (!entry) return tl::unexpected(entry.error());
  // A folder above is pinned: this is left out of it.
  if (entry->value("kept", false)) return set_pin(*control, place->path, path, "auto");
  return {};
}

template <class One>
int each_path(Console& console, const std::vector<std::string>& paths, One one) {
  int code = kDone;
  for (const std::string& path : paths) {
    if (auto done = one(path); !done) code = std::max(code, console.fail(done.error()));
  }
  return code;
}

}  // namespace

int free_command(Console& console, const std::vector<std::string>& paths) {
  return each_path(console, paths,
                   [&](const std::string& path) { return free_one(console, path); });
}

int pin_command(Console& console, const std::vector<std::string>& paths) {
  return each_path(console, paths, [](const std::string& path) { return pin_one(path, true); });
}

int unpin_command(Console& console, const std::vector<std::string>& paths) {
  return each_path(console, paths, [](const std::string& path) { return pin_one(path, false); });
}

}  // namespace ebb::fusefs
