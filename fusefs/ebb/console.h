// Where a command writes to.
#pragma once

#include <istream>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>

#include "fusefs/ebb/refusal.h"

namespace ebb::fusefs {

struct Console {
  std::ostream& out;
  std::ostream& err;
  bool colour = false;         // out is a terminal
  bool progress = false;       // err is a terminal
  std::istream* in = nullptr;  // answers of a person; none where nobody can be asked

  /// "ebb: LINE" on err; gives back the exit code.
  int fail(const Refusal& refusal);
  /// A line that replaces the former one; nothing when it is not a terminal.
  void show_progress(std::string_view line);
  void end_progress();
  /// A line of the person's answer; none at its end, or where nobody can be asked.
  std::optional<std::string> ask(std::string_view question);

 private:
  bool shown_ = false;

 public:
  Console(std::ostream& to, std::ostream& errors, bool coloured, bool with_progress)
      : out(to), err(errors), colour(coloured), progress(with_progress) {}
};

/// 1.5 MiB.
std::string human_size(std::uint64_t bytes);
/// Control characters of a name as \ooo, so that no name can write on the terminal what it wants.
std::string printable(std::string_view name);

}  // namespace ebb::fusefs
