#include "fusefs/ebb/options.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cmath>
#include <optional>

namespace ebb::fusefs {
namespace {

/// Longest delay and timeout, in seconds: a day.
constexpr double kSecondsMax = 86400;

struct Option {
  std::string_view name;
  bool takes_value;
  bool (*apply)(std::string_view value, MountSettings& settings);
};

std::optional<Duration> parse_seconds(std::string_view text, double least) {
  double seconds = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  if (!std::isfinite(seconds) || seconds < least || seconds > kSecondsMax) return std::nullopt;
  return Duration(static_cast<Duration::rep>(seconds * 1e9));
}

bool set_delay(std::string_view value, MountSettings& settings) {
  const auto parsed = parse_seconds(value, 0);
  if (parsed) settings.delay = *parsed;
  return parsed.has_value();
}
bool set_timeout(std::string_view value, MountSettings& settings) {
  const auto parsed = parse_seconds(value, 0.001);
  if (parsed) settings.timeout = *parsed;
  return parsed.has_value();
}
bool set_root(std::string_view value, MountSettings& settings) {
  const auto parsed = store::parse_status(value);
  if (!parsed || (*parsed != Status::syncless && *parsed != Status::syncmore)) return false;
  settings.root = *parsed;
  return true;
}
bool set_hydrate(std::string_view value, MountSettings& settings) {
  if (value == "progressive") {
    settings.hydrate = Hydrate::progressive;
  } else if (value == "range") {
    settings.hydrate = Hydrate::range;
  } else if (value == "full") {
    settings.hydrate = Hydrate::full;
  } else {
    return false;
  }
  return true;
}
bool set_fsync(std::string_view value, MountSettings& settings) {
  settings.fsync_server = value == "server";
  return value == "server" || value == "local";
}
std::optional<std::uint64_t> parse_size(std::string_view text) {
  constexpr std::string_view kUnits = "kmgt";
  std::uint64_t size = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), size);
  if (error != std::errc{}) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  if (text.empty()) return size;
  const auto unit = kUnits.find(static_cast<char>(std::tolower(static_cast<unsigned char>(text[0]))));
  const auto shift = 10 * (unit + 1);
  if (text.size() != 1 || unit == kUnits.npos || size > UINT64_MAX >> shift) return std::nullopt;
  return size << shift;
}
/// Accepted and checked; nothing is dropped until space management exists.
bool check_cache(std::string_view value, MountSettings&) {
  return parse_size(value).has_value();
}
bool set_passthrough(std::string_view value, MountSettings& settings) {
  const auto size = parse_size(value);
  if (!size) return false;
  settings.passthrough_from = *size;
  return settings.passthrough = true;
}
bool set_state(std::string_view value, MountSettings& settings) {
  settings.state = value;
  return !value.empty();
}
bool nothing(std::string_view, MountSettings&) {
  return true;
}

constexpr std::array<Option, 16> kOptions{{
    {"delay", true, set_delay},
    {"root", true, set_root},
    {"cache", true, check_cache},
    {"state", true, set_state},
    {"hydrate", true, set_hydrate},
    {"timeout", true, set_timeout},
    {"fsync", true, set_fsync},
    {"ro", false, [](std::string_view, MountSettings& s) { return s.read_only = true; }},
    {"rw", false, [](std::string_view, MountSettings& s) { return !(s.read_only = false); }},
    {"insecure", false, [](std::string_view, MountSettings& s) { return s.insecure = true; }},
    {"allow_other", false, [](std::string_view, MountSettings& s) { return s.allow_other = true; }},
    {"list_xattrs", false, [](std::string_view, MountSettings& s) { return s.list_xattrs = true; }},
    {"passthrough", true, set_passthrough},
    {"no_passthrough", false,
     [](std::string_view, MountSettings& s) { return !(s.passthrough = false); }},
    {"noexec", false, [](std::string_view, MountSettings& s) { return s.no_exec = true; }},
    {"default_permissions", false, nothing},
}};

/// What mount(8) and fstab(5) may put in between, and what holds here anyway.
constexpr std::array<std::string_view, 16> kIgnored{
    "defaults", "auto",    "noauto", "user",  "nouser",  "users",      "owner", "group",
    "nofail",   "_netdev", "nosuid", "nodev", "noatime", "nodiratime", "exec",  "async"};

bool ignored(std::string_view word) {
  return word.empty() || word.starts_with("x-") || word.starts_with("X-") ||
         word.starts_with("comment=") ||
         std::find(kIgnored.begin(), kIgnored.end(), word) != kIgnored.end();
}

Outcome<> parse_one(std::string_view word, MountSettings& settings) {
  if (ignored(word)) return {};
  const auto equals = word.find('=');
  const std::string_view name = word.substr(0, equals);
  const auto* option = std::find_if(kOptions.begin(), kOptions.end(),
                                    [name](const Option& o) { return o.name == name; });
  if (option == kOptions.end()) return misused("-o {}: no such option; ebb(1) lists them", name);
  const bool has_value = equals != std::string_view::npos;
  if (has_value != option->takes_value) {
    return misused(
        "-o {}: {}", name,
        has_value ? "takes no value" : "needs a value, as in " + std::string(name) + "=...");
  }
  const std::string_view value = has_value ? word.substr(equals + 1) : std::string_view{};
  if (!option->apply(value, settings))
    return misused("-o {}: not a value that it can have; see ebb(1)", word);
  return {};
}

}  // namespace

Outcome<> parse_mount_options(std::string_view list, MountSettings& settings) {
  while (!list.empty()) {
    const auto comma = list.find(',');
    if (auto parsed = parse_one(list.substr(0, comma), settings); !parsed) return parsed;
    list.remove_prefix(comma == std::string_view::npos ? list.size() : comma + 1);
  }
  return {};
}

std::vector<std::string_view> mount_option_names() {
  std::vector<std::string_view> names;
  for (const Option& option : kOptions) names.push_back(option.name);
  return names;
}

}  // namespace ebb::fusefs
