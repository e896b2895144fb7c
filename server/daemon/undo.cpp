// `ebbd undo`: asked of the server that runs, or done here when none does.
#include <cerrno>

#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <fmt/format.h>

#include "base/clock.h"
#include "server/daemon/commands.h"
#include "server/daemon/control.h"
#include "server/daemon/host.h"
#include "server/daemon/program.h"
#include "server/daemon/time_text.h"

namespace ebb::server {
namespace {

/// Opens the tree, undoes, and closes it again.
Result<Json> undo_here(const Command& command, WallNs since) {
  asio::io_context io;
  HostOptions options;
  options.root = command.root;
  options.state = command.state;
  options.watch = false;
  auto host = Host::open(io, std::move(options));
  if (!host) return pass(host.error());
  auto busy = asio::make_work_guard(io);
  Result<UndoReport> done = fail_errno(EIO, "the undo did not end");
  (*host)->undo(command.client, since, [&](Result<UndoReport> report) {
    done = std::move(report);
    busy.reset();
    io.stop();
  });
  io.run();
  host->reset();
  if (!done) return pass(done.error());
  return to_json(*done);
}

int tell(const Command& command, const Json& report, std::ostream& out, std::ostream& err) {
  if (report.contains("error")) {
    err << fmt::format("ebbd: {}: {}\n", command.root, report.value("error", ""));
    return kExitFailed;
  }
  const auto failed = report.value("failed", Json::array());
  if (command.json) {
    out << report.dump(-1, ' ', false, Json::error_handler_t::replace) << "\n";
    return failed.empty() ? kExitDone : kExitFailed;
  }
  const auto beside = report.value("beside", Json::array());
  out << fmt::format("{}: {} brought back, {} of them beside what stands there now\n", command.root,
                     report.value("restored", 0ull), beside.size());
  for (const auto& path : beside) out << fmt::format("  {}\n", path.get<std::string>());
  for (const auto& one : failed) {
    out << fmt::format("  not brought back: {}: {}\n", one.value("path", ""),
                       one.value("error", ""));
  }
  if (failed.empty()) return kExitDone;
  err << fmt::format("ebbd: {}: {} could not be brought back; see above\n", command.root,
                     failed.size());
  return kExitFailed;
}

}  // namespace

Json to_json(const UndoReport& report) {
  Json failed = Json::array();
  for (const auto& [path, why] : report.failed) failed.push_back({{"path", path}, {"error", why}});
  return {{"restored", report.restored}, {"beside", report.beside}, {"failed", failed}};
}

int undo(const Command& command, std::ostream& out, std::ostream& err) {
  const auto since = parse_time(command.since, system_clock().wall());
  if (!since) {
    err << fmt::format(
        "ebbd: --since {}: not a time; say 2h, or 2026-11-28T05:12:01Z, or @SECONDS\n",
        command.since);
    return kExitUsage;
  }
  const Json request = {{"do", "undo"}, {"client", command.client}, {"since", *since}};
  auto line = ask_control(control_path(command), request.dump());
  if (line) {
    const auto report = parse_json(*line);
    if (report.is_object()) return tell(command, report, out, err);
    err << fmt::format("ebbd: {}: the server's answer makes no sense\n", command.root);
    return kExitFailed;
  }
  if (!is_errno(line.error(), ENOENT) && !is_errno(line.error(), ECONNREFUSED)) {
    err << fmt::format("ebbd: {}: {}\n", command.root, line.error().message());
    return kExitFailed;
  }
  auto report = undo_here(command, *since);
  if (report) return tell(command, *report, out, err);
  err << fmt::format("ebbd: {}: nothing is undone: {}\n", command.root, report.error().message());
  return kExitFailed;
}

}  // namespace ebb::server
