#include "fusefs/ebb/commands.h"

#include <cerrno>
#include <chrono>

#include <unistd.h>

namespace ebb::fusefs {
namespace {

std::string_view advice(int number) {
  switch (number) {
    case EPERM:
      return "; ebb-status(7) says which changes of status there are";
    case EINPROGRESS:
      return "; `ebb wait` waits for it";
    case EINVAL:
      return "; ebb-status(7) says which words a file and a folder can have";
    case EBUSY:
      return "; close what has it open, or let what is under way there end, and try again";
    case EHOSTDOWN:
      return "; try again when the server is back";
    case ETIMEDOUT:
      return "; see `ebb status` for the connection, and try again";
    default:
      return "";
  }
}

/// "3 files waiting" while something takes long, asked for on a conversation of its own.
std::function<void()> progress_of(Console& console, const Mount& mount) {
  if (!console.progress) return {};
  return [&console, mount] {
    auto side = ControlClient::connect(mount);
    if (!side) return;
    const auto answer = side->ask(request("mount", ""));
    if (!answer) return;
    console.show_progress(fmt::format("{}: {} waiting, {} coming{}", mount.point,
                                      answer->value("waiting", std::uint64_t{0}),
                                      answer->value("pulls", std::uint64_t{0}),
                                      answer->value("connected", false) ? "" : ", no server"));
  };
}

Outcome<Json> ask_long(Console& console, const Place& place, const Json& what,
                       std::optional<Duration> at_most) {
  auto control = ControlClient::connect(place.mount);
  if (!control) return tl::unexpected(control.error());
  const std::string about = place.mount.point + (place.path.empty() ? "" : "/" + place.path);
  auto answer = control->ask(what, {at_most, progress_of(console, place.mount), about});
  console.end_progress();
  return answer;
}

int set_one(Console& console, const std::string& path, const std::string& to) {
  const auto place = place_of(path);
  if (!place) return console.fail(place.error());
  Json what = request("set", place->path);
  what["to"] = to;
  const auto answer = checked(ask_long(console, *place, what, std::nullopt), path);
  return answer ? kDone : console.fail(answer.error());
}

/// What is left of the time that was given for all paths together.
std::optional<Duration> left_until(Time end) {
  if (end == kNever) return std::nullopt;
  return std::max(Duration::zero(), end - system_clock().now());
}

int wait_one(Console& console, const Place& place, const std::string& shown, Time end) {
  const auto answer =
      checked(ask_long(console, place, request("wait", place.path), left_until(end)), shown);
  return answer ? kDone : console.fail(answer.error());
}

}  // namespace

std::vector<Mount> own_mounts() {
  const std::uint32_t user = ::getuid();
  std::vector<Mount> mounts;
  for (Mount& mount : read_mounts()) {
    if (mount.ours() && (user == 0 || mount.user == user)) mounts.push_back(std::move(mount));
  }
  return mounts;
}

Json request(std::string_view what, const std::string& path) {
  return {{"do", what}, {"path", bytes_to_json(path)}};
}

std::string joined(const std::string& path, const std::string& name) {
  return path.empty() || path.ends_with('/') ? path + name : path + "/" + name;
}

Outcome<> each_entry(ControlClient& control, const std::string& inside, const std::string& shown,
                     const std::function<Outcome<>(const std::string& name, const Json&)>& visit) {
  std::uint64_t cookie = 0;
  do {
    Json what = request("list", inside);
    what["cookie"] = cookie;
    const auto page = checked(control.ask(what), shown);
    if (!page) return tl::unexpected(page.error());
    for (const Json& entry : page->value("entries", Json::array())) {
      if (auto done = visit(bytes_from_json(entry.value("name", "")), entry); !done) return done;
    }
    cookie = page->value("next", std::uint64_t{0});
  } while (cookie != 0);
  return {};
}

Outcome<Json> checked(const Outcome<Json>& answer, const std::string& path) {
  if (!answer) return tl::unexpected(answer.error());
  if (!answer->contains("error")) return *answer;
  return refuse("{}: {}{}", path, answer->value("error", "failed"),
                advice(answer->value("errno", 0)));
}

int set_status_command(Console& console, const std::vector<std::string>& paths,
                       const std::string& to) {
  const auto status = store::parse_status(to);
  if (!status || *status == Status::untracked) {
    return console.fail(
        {fmt::format("--to {}: not a status; one of local, sync, remote, syncless, syncmore", to),
         kUsage});
  }
  if (paths.empty()) return console.fail({"--to needs at least one path", kUsage});
  int code = kDone;
  for (const std::string& path : paths) code = std::max(code, set_one(console, path, to));
  return code;
}

int wait_command(Console& console, const std::vector<std::string>& paths,
                 std::optional<double> seconds) {
  const Time end = seconds ? system_clock().now() + std::chrono::duration_cast<Duration>(
                                                        std::chrono::duration<double>(*seconds))
                           : kNever;
  int code = kDone;
  if (paths.empty()) {
    for (const Mount& mount : own_mounts()) {
      code = std::max(code, wait_one(console, {mount, ""}, mount.point, end));
    }
  }
  for (const std::string& path : paths) {
    const auto place = place_of(path);
    code =
        std::max(code, place ? wait_one(console, *place, path, end) : console.fail(place.error()));
  }
  return code;
}

}  // namespace ebb::fusefs
