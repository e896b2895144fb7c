#include "base/conflict_name.h"

#include <algorithm>
#include <ctime>

#include <fmt/format.h>

namespace ebb {
namespace {

constexpr std::size_t kNameBytesMax = 255;
constexpr std::size_t kHostMax = 64;
constexpr std::size_t kStampSize = 15;  // YYYYMMDD-HHMMSS

/// At most `size` bytes, not in the middle of a character of UTF-8.
std::string cut(std::string text, std::size_t size) {
  if (text.size() <= size) return text;
  while (size > 0 && (static_cast<unsigned char>(text[size]) & 0xC0) == 0x80) --size;
  text.resize(size);
  return text;
}

bool is_plain(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-';
}

std::string plain_host(const std::string& host) {
  std::string out;
  for (const char c : host) {
    if (out.size() < kHostMax) out += is_plain(c) ? c : '-';
  }
  return out.empty() ? "client" : out;
}

struct Parts {
  std::string stem;
  std::string suffix;  // with its dot
};

Parts split(const std::string& name) {
  const auto dot = name.rfind('.');
  const bool has_suffix = dot != std::string::npos && dot != 0 && dot + 1 < name.size();
  if (!has_suffix) return {name, ""};
  return {name.substr(0, dot), name.substr(dot)};
}

std::string stamp(WallNs when) {
  const auto seconds = static_cast<std::time_t>(when / 1'000'000'000);
  std::tm utc{};
  ::gmtime_r(&seconds, &utc);
  return fmt::format("{:04}{:02}{:02}-{:02}{:02}{:02}", utc.tm_year + 1900, utc.tm_mon + 1,
                     utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec);
}

bool is_stamp(const std::string& text) {
  if (text.size() < kStampSize) return false;
  for (std::size_t i = 0; i < kStampSize; ++i) {
    const bool fits = i == 8 ? text[i] == '-' : text[i] >= '0' && text[i] <= '9';
    if (!fits) return false;
  }
  if (text.size() == kStampSize) return true;
  const auto count = text.substr(kStampSize);
  return count.size() > 1 && count[0] == '-' &&
         count.find_first_not_of("0123456789", 1) == std::string::npos;
}

}  // namespace

std::string conflict_name(const std::string& name, const std::string& host, WallNs when,
                          int count) {
  auto [stem, suffix] = split(name);
  std::string middle = ".conflict-" + plain_host(host) + "-" + stamp(when);
  if (count > 1) middle += fmt::format("-{}", count);
  const std::string tail = middle + cut(suffix, kNameBytesMax / 2);
  return cut(stem, kNameBytesMax - std::min(tail.size(), kNameBytesMax)) + tail;
}

std::string conflict_origin(const std::string& name, const std::string& host) {
  const std::string mark = ".conflict-" + plain_host(host) + "-";
  // The mark may stand behind the last dot, where the name had no suffix.
  for (const auto& [stem, suffix] : {Parts{name, ""}, split(name)}) {
    const auto at = stem.rfind(mark);
    if (at == std::string::npos || at == 0) continue;
    if (is_stamp(stem.substr(at + mark.size()))) return stem.substr(0, at) + suffix;
  }
  return {};
}

}  // namespace ebb
