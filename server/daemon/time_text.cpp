#include "server/daemon/time_text.h"

#include <charconv>
#include <ctime>
#include <string_view>

namespace ebb::server {
namespace {

constexpr WallNs kSecond = 1'000'000'000;

std::optional<std::uint64_t> whole_number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

/// A number and one letter of `units`: its place there.
struct Measured {
  std::uint64_t number = 0;
  std::size_t unit = 0;
};
std::optional<Measured> measured(std::string_view text, std::string_view units) {
  if (text.size() < 2) return std::nullopt;
  const auto unit = units.find(text.back());
  const auto number = whole_number(text.substr(0, text.size() - 1));
  if (unit == std::string_view::npos || !number) return std::nullopt;
  return Measured{*number, unit};
}

std::optional<WallNs> parse_date(const std::string& text) {
  for (const char* form :
       {"%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M", "%Y-%m-%d"}) {
    std::tm parts{};
    parts.tm_isdst = -1;
    const char* end = ::strptime(text.c_str(), form, &parts);
    if (end == nullptr) continue;
    const bool utc = *end == 'Z';
    if (end[utc ? 1 : 0] != '\0') continue;
    const std::time_t seconds = utc ? ::timegm(&parts) : ::mktime(&parts);
    return WallNs{seconds} * kSecond;
  }
  return std::nullopt;
}

}  // namespace

std::string utc_text(WallNs when) {
  const std::time_t seconds = static_cast<std::time_t>(when / kSecond);
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  char text[32];
  return {text, std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts)};
}

std::optional<WallNs> parse_time(const std::string& text, WallNs now) {
  constexpr std::uint64_t kFarthest = 1u << 30;  // in any unit, so that nothing overflows
  if (text.size() > 1 && text[0] == '@') {
    const auto seconds = whole_number(std::string_view(text).substr(1));
    if (!seconds || *seconds >= (std::uint64_t{1} << 33)) return std::nullopt;
    return static_cast<WallNs>(*seconds) * kSecond;
  }
  if (const auto ago = measured(text, "smhd")) {
    constexpr WallNs kUnits[] = {1, 60, 3600, 86400};
    if (ago->number >= kFarthest / static_cast<std::uint64_t>(kUnits[ago->unit]))
      return std::nullopt;
    return now - static_cast<WallNs>(ago->number) * kUnits[ago->unit] * kSecond;
  }
  return parse_date(text);
}

std::optional<std::uint64_t> parse_size(const std::string& text) {
  if (const auto plain = whole_number(text)) return plain;
  const auto size = measured(text, "KMGT");
  if (!size) return std::nullopt;
  const auto shift = 10 * (size->unit + 1);
  if (size->number > (UINT64_MAX >> 1) >> shift) return std::nullopt;
  return size->number << shift;
}

}  // namespace ebb::server
