// `ebb check`: is a state folder sound?
#include <cerrno>

#include "base/file_io.h"
#include "fusefs/ebb/commands.h"
#include "store/check.h"
#include "store/repair.h"

namespace ebb::fusefs {
namespace {

int refuse(Console& console, const std::string& folder, const Error& error) {
  if (is_errno(error, EBUSY)) {
    return console.fail(
        {fmt::format("{}: in use ({}); unmount it first", folder, error.detail), kFailed});
  }
  if (is_errno(error, ENOENT)) {
    return console.fail({fmt::format("{}: not a state folder", folder), kFailed});
  }
  return console.fail({fmt::format("{}: {}", folder, error.message()), kFailed});
}

void tell(Console& console, const std::vector<std::string>& lines) {
  for (const std::string& line : lines) console.out << printable(line) << "\n";
}

}  // namespace

int check_command(Console& console, const std::string& state_folder, bool repair) {
  const auto data = state_folder + "/data";
  if (repair) {
    const auto repaired = store::repair(system_file_io(), data, true);
    if (!repaired) return refuse(console, state_folder, repaired.error());
    tell(console, repaired->done);
    if (!repaired->kept_as.empty()) {
      console.out << "rebuilt; the damaged records are kept as " << printable(repaired->kept_as)
                  << "\n";
    }
  }
  const auto report = store::check(system_file_io(), data, state_folder + "/content");
  if (!report) return refuse(console, state_folder, report.error());
  tell(console, report->problems);
  tell(console, report->notes);
  if (!report->clean()) {
    return console.fail(
        {fmt::format("{}: {} problems", state_folder, report->problems.size()), kFailed});
  }
  console.out << fmt::format("{}: sound; {} files and folders, {} names\n", printable(state_folder),
                             report->nodes, report->names);
  return kDone;
}

}  // namespace ebb::fusefs
