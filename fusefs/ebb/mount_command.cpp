#include "fusefs/ebb/mount_command.h"

#include <filesystem>

#include "fusefs/ebb/background.h"
#include "fusefs/ebb/dead_mount.h"
#include "fusefs/ebb/mount_checks.h"
#include "fusefs/ebb/mount_daemon.h"

namespace ebb::fusefs {
namespace {

Outcome<MountPlan> make_plan(const MountArguments& arguments) {
  MountPlan plan;
  plan.foreground = arguments.foreground;
  for (const std::string& list : arguments.options) {
    if (auto parsed = parse_mount_options(list, plan.settings); !parsed)
      return tl::unexpected(parsed.error());
  }
  auto source = parse_source(arguments.source, plan.settings.insecure);
  if (!source) return tl::unexpected(source.error());
  plan.source = std::move(*source);
  auto mountpoint = check_mountpoint(arguments.mountpoint);
  if (!mountpoint) return tl::unexpected(mountpoint.error());
  plan.mountpoint = std::move(*mountpoint);
  if (auto good = check_source(plan.source, plan.mountpoint); !good)
    return tl::unexpected(good.error());
  // The daemon's folder is / from here on.
  if (!plan.settings.state.empty())
    plan.settings.state = std::filesystem::absolute(plan.settings.state).string();
  return plan;
}

int serve(const MountPlan& plan, const Verdict& verdict) {
  block_end_signals();
  MountDaemon daemon(plan);
  const auto started = daemon.start();
  verdict(started);
  if (!started) return started.error().exit_code;
  daemon.run();
  return kDone;
}

}  // namespace

int mount_command(Console& console, const MountArguments& arguments) {
  if (!arguments.pretend) {
    auto cleaned = clean_dead_mount(console, arguments.mountpoint);
    if (!cleaned) return console.fail(cleaned.error());
  }
  const auto plan = make_plan(arguments);
  if (!plan) return console.fail(plan.error());
  if (arguments.pretend) return kDone;
  if (plan->foreground) {
    return serve(*plan, [&console](const Outcome<>& outcome) {
      if (!outcome) console.fail(outcome.error());
    });
  }
  const auto verdict =
      run_in_background([&plan](const Verdict& tell) { return serve(*plan, tell); });
  return verdict ? kDone : console.fail(verdict.error());
}

}  // namespace ebb::fusefs
