#include "fusefs/ebb/console.h"

#include <array>

namespace ebb::fusefs {

int Console::fail(const Refusal& refusal) {
  end_progress();
  err << "ebb: " << printable(refusal.line) << std::endl;
  return refusal.exit_code;
}

void Console::show_progress(std::string_view line) {
  if (!progress) return;
  shown_ = true;
  err << "\r\x1b[K" << line << std::flush;
}

void Console::end_progress() {
  if (!shown_) return;
  shown_ = false;
  err << "\r\x1b[K" << std::flush;
}

std::optional<std::string> Console::ask(std::string_view question) {
  if (in == nullptr) return std::nullopt;
  end_progress();
  err << question << std::flush;
  std::string answer;
  if (!std::getline(*in, answer)) return std::nullopt;
  return answer;
}

std::string human_size(std::uint64_t bytes) {
  constexpr std::array<std::string_view, 6> kUnits{"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  double size = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (size >= 1024 && unit + 1 < kUnits.size()) {
    size /= 1024;
    ++unit;
  }
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.1f} {}", size, kUnits[unit]);
}

std::string printable(std::string_view name) {
  std::string text;
  for (char c : name) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) {
      text += fmt::format("\\{:03o}", byte);
    } else {
      text.push_back(c);
    }
  }
  return text;
}

}  // namespace ebb::fusefs
