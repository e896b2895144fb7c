// `ebbd status` and `ebbd check`.
#include <cerrno>

#include <fmt/format.h>
#include <sys/stat.h>

#include "base/file_io.h"
#include "server/daemon/commands.h"
#include "server/daemon/control.h"
#include "server/daemon/program.h"
#include "store/check.h"
#include "store/repair.h"

namespace ebb::server {

std::string control_path(const Command& command) {
  return state_folder(command) + "/control";
}

int show_status(const Command& command, std::ostream& out, std::ostream& err) {
  auto line = ask_control(control_path(command));
  if (!line) {
    const bool nobody = is_errno(line.error(), ENOENT) || is_errno(line.error(), ECONNREFUSED);
    err << "ebbd: " << command.root << ": "
        << (nobody ? "no server answers; start it with ebbd serve" : line.error().message())
        << "\n";
    return kExitFailed;
  }
  if (command.json) {
    out << *line;
    return kExitDone;
  }
  const auto all = parse_json(*line);
  if (all.is_discarded()) {
    err << "ebbd: " << command.root << ": the server's answer makes no sense\n";
    return kExitFailed;
  }
  out << fmt::format("{}: serving{}, {} entries known, sequence {}, {} changes, {} refused\n",
                     all.value("root", ""), all.value("read_only", false) ? " (read-only)" : "",
                     all.value("entries", 0ull), all.value("sequence", 0ull),
                     all.value("mutations", 0ull), all.value("conflicts", 0ull));
  out << fmt::format("  history: {} of {} bytes\n", all.value("history_bytes", 0ull),
                     all.value("history_max", 0ull));
  for (const auto& run : all.value("mass_deletions", Json::array())) {
    out << fmt::format("  mass deletion: {} deleted {} entries, {} to {}; to undo: {}\n",
                       run.value("name", ""), run.value("count", 0ull), run.value("begin", ""),
                       run.value("end", ""), run.value("undo", ""));
  }
  for (const auto& peer : all.value("peers", Json::array())) {
    out << fmt::format("  {} in {} out {}\n", peer.value("name", ""), peer.value("bytes_in", 0ull),
                       peer.value("bytes_out", 0ull));
  }
  return kExitDone;
}

int check(const Command& command, std::ostream& out, std::ostream& err) {
  const std::string data = state_folder(command) + "/data";
  struct stat facts {};
  if (::stat(data.c_str(), &facts) != 0) {
    err << "ebbd: " << data << ": no database here; name the ROOT that was served, or --state\n";
    return kExitFailed;
  }
  if (command.repair) {
    auto repaired = store::repair(system_file_io(), data, false);
    if (!repaired) {
      err << "ebbd: " << data << ": cannot be repaired: " << repaired.error().message()
          << (is_errno(repaired.error(), EBUSY) ? "; stop the server first" : "") << "\n";
      return kExitFailed;
    }
    for (const auto& line : repaired->done) out << line << "\n";
    if (!repaired->kept_as.empty()) {
      out << "rebuilt; the damaged database is kept as " << repaired->kept_as << "\n";
    }
  }
  auto report = store::check(system_file_io(), data);
  if (!report) {
    err << "ebbd: " << data << ": cannot be checked: " << report.error().message()
        << (is_errno(report.error(), EBUSY) ? "; stop the server first" : "") << "\n";
    return kExitFailed;
  }
  for (const auto& problem : report->problems) out << problem << "\n";
  if (!report->clean()) {
    err << "ebbd: " << data << ": " << report->problems.size() << " problems\n";
    return kExitFailed;
  }
  out << fmt::format("{}: {} entries, {} names, no problems\n", data, report->nodes, report->names);
  return kExitDone;
}

}  // namespace ebb::server
