// `ebb check`: is a state folder sound?
#include <cerrno>

#include "base/file_io.h"
#include "fusefs/ebb/commands.h"
#include "store/check.h"

namespace ebb::fusefs {

int check_command(Console& console, const std::string& state_folder) {
  const auto report = store::check(system_file_io(), state_folder + "/data");
  if (!report) {
    if (is_errno(report.error(), EBUSY)) {
      return console.fail(
          {fmt::format("{}: in use ({}); unmount it first", state_folder, report.error().detail),
           kFailed});
    }
    if (is_errno(report.error(), ENOENT)) {
      return console.fail({fmt::format("{}: not a state folder", state_folder), kFailed});
    }
    return console.fail({fmt::format("{}: {}", state_folder, report.error().message()), kFailed});
  }
  for (const std::string& problem : report->problems) console.out << printable(problem) << "\n";
  if (!report->clean()) {
    return console.fail(
        {fmt::format("{}: {} problems", state_folder, report->problems.size()), kFailed});
  }
  console.out << fmt::format("{}: sound; {} files and folders, {} names\n", printable(state_folder),
                             report->nodes, report->names);
  return kDone;
}

}  // namespace ebb::fusefs
