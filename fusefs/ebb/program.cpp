#include "fusefs/ebb/program.h"

#include <algorithm>
#include <functional>
#include <iostream>
#include <optional>

#include <CLI/CLI.hpp>
#include <unistd.h>

#include "fusefs/ebb/commands.h"
#include "fusefs/ebb/fsmap_command.h"
#include "fusefs/ebb/mount_command.h"
#include "fusefs/ebb/options.h"
#include "fusefs/ebb/patch_command.h"

namespace ebb::fusefs {
namespace {

constexpr const char* kVersionText = "ebb 0.1.0";

/// What one command line asked for; filled in by CLI11.
struct CommandLine {
  MountArguments mount;
  std::vector<std::string> paths;
  bool json = false;
  std::string to;
  bool recursive = false;
  std::string as;
  std::optional<double> seconds;
  std::string state_folder;
  FsmapArguments fsmap;
  PatchArguments patch;
  bool repair = false;
};

std::string mount_footer() {
  std::string text = "OPTIONS of -o, separated by commas:";
  for (std::string_view name : mount_option_names()) text.append(" ").append(name);
  return text + "\nebb(1) says what they mean.";
}

CLI::App* add_mount(CLI::App& app, CommandLine& line) {
  auto* mount = app.add_subcommand("mount", "Mount a tree; returns when the mount answers");
  mount->add_option("SOURCE", line.mount.source, "ebb://HOST[:PORT]/[PATH], unix:PATH, or a directory")
      ->required();
  mount->add_option("MOUNTPOINT", line.mount.mountpoint, "an empty folder")->required();
  mount->add_option("-o", line.mount.options, "OPT[=VALUE],...")->allow_extra_args(false);
  mount->add_flag("-f", line.mount.foreground, "stay in the foreground");
  mount->footer(mount_footer());
  return mount;
}

CLI::App* add_status(CLI::App& app, CommandLine& line) {
  auto* status = app.add_subcommand(
      "status", "Show or set the status of files and folders, or show all mounts");
  status->add_option("PATH", line.paths, "files and folders in a mount");
  status->add_flag("--json", line.json, "one JSON object a line");
  status->add_flag("-r,--recursive", line.recursive, "everything beneath, too");
  status->add_option("--to", line.to, "make it local, sync, remote, syncless or syncmore");
  return status;
}

CLI::App* add_wait(CLI::App& app, CommandLine& line) {
  auto* wait = app.add_subcommand("wait", "Wait until what was changed is on the server");
  wait->add_option("PATH", line.paths, "files and folders in a mount; none: all mounts");
  wait->add_option("--timeout", line.seconds, "give up after so many seconds")
      ->check(CLI::NonNegativeNumber);
  return wait;
}

CLI::App* add_sync(CLI::App& app, CommandLine& line) {
  auto* sync = app.add_subcommand("sync", "Make files and folders synced and push them now");
  sync->add_option("PATH", line.paths, "files and folders in a mount")->required();
  sync->add_option("--as", line.as, "what a local folder becomes")
      ->check(CLI::IsMember({"syncless", "syncmore"}));
  return sync;
}

CLI::App* add_history(CLI::App& app, CommandLine& line) {
  auto* history = app.add_subcommand("history", "Show what the server keeps of former contents");
  history->add_option("PATH", line.paths, "in a mount; may be deleted")->required();
  history->add_flag("--json", line.json, "one JSON object a line");
  return history;
}

CLI::App* add_restore(CLI::App& app, CommandLine& line) {
  auto* restore = app.add_subcommand("restore", "Bring a former content back");
  restore->add_option("PATH", line.paths, "PATH[@VERSION]; without VERSION the newest that is kept")
      ->required();
  return restore;
}

CLI::App* add_paths(CLI::App& app, CommandLine& line, const char* name, const char* what) {
  auto* command = app.add_subcommand(name, what);
  command->add_option("PATH", line.paths, "files and folders in a mount")->required();
  return command;
}

CLI::App* add_check(CLI::App& app, CommandLine& line) {
  auto* check = app.add_subcommand("check", "Check a state folder that is not mounted");
  check->add_option("STATE_DIR", line.state_folder, "the state folder")->required();
  check->add_flag("--repair", line.repair, "rebuild what can be rebuilt, and say what was lost");
  return check;
}

CLI::App* add_patch(CLI::App& app, CommandLine& line) {
  auto* patch = app.add_subcommand("patch", "Bring a directory up to date with a source, by maps");
  PatchArguments& to = line.patch;
  patch->add_option("SOURCE", to.source, "ebb://HOST[:PORT]/, unix:PATH, or a directory")
      ->required();
  patch->add_option("DIR", to.directory, "the directory")->required();
  patch->add_flag("--keep", to.keep, "move aside what would be deleted");
  patch->add_flag("--dry-run", to.dry_run, "show what is missing and invalid, and do nothing");
  patch->add_flag("--json", to.json, "one JSON object a line");
  patch->add_option("--hash", to.hash, "md5 or xxh3");
  patch->add_flag("--no-cache", to.no_cache, "hash every file of DIR anew");
  patch->add_flag("--insecure", to.insecure, "plain TCP, to this machine alone");
  return patch;
}

using FsmapCommand = int (*)(Console&, const FsmapArguments&);

/// Each word of `ebb fsmap` with what it does.
std::vector<std::pair<CLI::App*, FsmapCommand>> add_fsmap(CLI::App& app, CommandLine& line) {
  auto* fsmap =
      app.add_subcommand("fsmap", "Lists of a directory's files with hashes, and their difference");
  fsmap->require_subcommand(1);
  FsmapArguments& to = line.fsmap;
  const auto word = [&](const char* name, const char* what, bool input) {
    auto* command = fsmap->add_subcommand(name, what);
    if (input)
      command->add_option("FILE", to.input, "a map or a directory; none or -: standard input");
    command->add_flag("--no-cache", to.no_cache, "hash every file anew");
    return command;
  };
  const auto hash = [&](CLI::App* command) {
    command->add_option("--hash", to.hash, "md5 or xxh3");
  };
  auto* dump = word("dump", "Write the map of a directory", false);
  dump->add_option("DIR", to.directory, "the directory")->required();
  dump->add_option("-o", to.output, "a file to write to; -: standard output");
  auto* minify = word("minify", "Write the hashes of a map alone", true);
  auto* summary = word("summary", "Write the one hash that stands for a map", true);
  auto* diff = fsmap->add_subcommand("diff", "Compare a minified map with a map or a directory");
  diff->add_option("TARGET", to.target, "the minified map; -: standard input")->required();
  diff->add_option("LOCAL", to.input, "a full map or a directory; -: standard input")->required();
  diff->add_flag("--json", to.json, "one JSON object a line");
  diff->add_flag("--no-cache", to.no_cache, "hash every file anew");
  auto* publish = word("publish", "Write the maps of a directory where others can get them", false);
  publish->add_option("DIR", to.directory, "the directory")->required();
  publish->add_option("OUT", to.output, "a folder to write to")->required();
  for (auto* command : {dump, minify, summary, publish}) hash(command);
  return {{dump, fsmap_dump},
          {minify, fsmap_minify},
          {summary, fsmap_summary},
          {diff, fsmap_diff},
          {publish, fsmap_publish}};
}

int usage(Console& console, const std::string& why) {
  return console.fail({why + "; `ebb --help` shows how it is used", kUsage});
}

int status(Console& console, const CommandLine& line, bool set) {
  if (!set) return status_command(console, line.paths, {line.json, line.recursive});
  if (line.json) return usage(console, "--to and --json exclude each other");
  if (line.recursive) return usage(console, "--to and -r exclude each other");
  return set_status_command(console, line.paths, line.to);
}

int run_ebb(Console& console, std::vector<std::string> arguments) {
  CLI::App app{"ebb: a synced tree as a filesystem", "ebb"};
  app.set_version_flag("--version", kVersionText);
  app.require_subcommand(1);
  CommandLine line;
  const auto* mount = add_mount(app, line);
  const auto* show = add_status(app, line);
  const auto* wait = add_wait(app, line);
  const auto* sync = add_sync(app, line);
  const auto* history = add_history(app, line);
  const auto* restore = add_restore(app, line);
  const auto* free = add_paths(app, line, "free", "Drop content that the server has");
  const auto* pin = add_paths(app, line, "pin", "Have content here, and keep it");
  const auto* unpin = add_paths(app, line, "unpin", "Content need not be kept");
  const auto* check = add_check(app, line);
  const auto* patch = add_patch(app, line);
  const auto fsmap = add_fsmap(app, line);
  std::reverse(arguments.begin(), arguments.end());  // as CLI11 takes them
  try {
    app.parse(arguments);
  } catch (const CLI::Success& asked) {  // --help, --version
    return app.exit(asked, console.out, console.err);
  } catch (const CLI::ParseError& error) {
    return usage(console, error.what());
  }
  if (mount->parsed()) return mount_command(console, line.mount);
  if (show->parsed()) return status(console, line, show->count("--to") != 0);
  if (wait->parsed()) return wait_command(console, line.paths, line.seconds);
  if (history->parsed()) return history_command(console, line.paths, line.json);
  if (restore->parsed()) return restore_command(console, line.paths);
  for (const auto& [command, run] : fsmap) {
    if (command->parsed()) return run(console, line.fsmap);
  }
  if (patch->parsed()) return patch_command(console, line.patch);
  if (sync->parsed()) return sync_command(console, line.paths, line.as);
  if (free->parsed()) return free_command(console, line.paths);
  if (pin->parsed()) return pin_command(console, line.paths);
  if (unpin->parsed()) return unpin_command(console, line.paths);
  if (check->parsed()) return check_command(console, line.state_folder, line.repair);
  return usage(console, "no command");
}

/// mount.ebbfs SOURCE MOUNTPOINT [-sfnv] [-o OPT,...] [-t TYPE]: what mount(8) calls its helpers
/// with.
int run_helper(Console& console, std::vector<std::string> arguments) {
  CLI::App app{"mount.ebbfs: mount(8)'s helper for EbbFS", "mount.ebbfs"};
  MountArguments mount;
  bool ignored = false;
  std::string type;
  app.add_option("SOURCE", mount.source)->required();
  app.add_option("MOUNTPOINT", mount.mountpoint)->required();
  app.add_option("-o", mount.options)->allow_extra_args(false);
  app.add_option("-t", type);
  app.add_flag("-f", mount.pretend, "check the arguments and do nothing");
  app.add_flag("-s,-n,-v", ignored, "taken for mount(8)'s sake");
  std::reverse(arguments.begin(), arguments.end());
  try {
    app.parse(arguments);
  } catch (const CLI::Success& asked) {
    return app.exit(asked, console.out, console.err);
  } catch (const CLI::ParseError& error) {
    return console.fail({error.what(), kUsage});
  }
  return mount_command(console, mount);
}

std::string base_name(const std::string& path) {
  return path.substr(path.rfind('/') + 1);
}

}  // namespace

int run(const std::vector<std::string>& arguments, std::ostream& out, std::ostream& err) {
  Console console(out, err, &out == &std::cout && ::isatty(STDOUT_FILENO) == 1,
                  &err == &std::cerr && ::isatty(STDERR_FILENO) == 1);
  const bool person = console.progress && ::isatty(STDIN_FILENO) == 1;
  if (person) console.in = &std::cin;
  std::vector<std::string> rest(arguments.begin() + (arguments.empty() ? 0 : 1), arguments.end());
  const bool helper = !arguments.empty() && base_name(arguments.front()) == "mount.ebbfs";
  try {
    return helper ? run_helper(console, std::move(rest)) : run_ebb(console, std::move(rest));
  } catch (const std::exception& error) {  // no memory; a daemon that answers in another shape
    return console.fail({error.what(), kFailed});
  }
}

}  // namespace ebb::fusefs
