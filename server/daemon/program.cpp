#include "server/daemon/program.h"

#include <CLI/CLI.hpp>

#include "base/log.h"
#include "proto/asio/address.h"
#include "server/daemon/commands.h"
#include "server/daemon/time_text.h"

namespace ebb::server {
namespace {

constexpr const char* kVersion = "ebbd 0.1.0";

std::string check_listen(const std::string& text) {
  if (text.find(':') == std::string::npos) return text + ": HOST:PORT or unix:PATH is meant";
  auto address = proto::parse_listen(text);
  return address ? "" : address.error().message();
}

std::string check_size(const std::string& text) {
  const auto size = parse_size(text);
  return size && *size != 0 ? "" : text + ": not a size; say 500M or 20G";
}

void add_tree(CLI::App& app, Command& command) {
  app.add_option("ROOT", command.root, "the served directory")->required();
  app.add_option("--state", command.state, "the server's database (default: ROOT/.ebbd)");
}

/// CLI11's message may have several lines; an error here has one.
std::string one_line(std::string text) {
  for (char& c : text) {
    if (c == '\n') c = ' ';
  }
  return text;
}

}  // namespace

int run_ebbd(const std::vector<std::string>& arguments, std::ostream& out, std::ostream& err) {
  CLI::App app("serves a directory to EbbFS clients", "ebbd");
  app.set_version_flag("--version", kVersion);
  app.require_subcommand(1);
  Command command;
  auto* serving = app.add_subcommand("serve", "serve ROOT until SIGTERM");
  add_tree(*serving, command);
  serving->add_option("--listen", command.listen, "HOST:PORT or unix:PATH, again for more")
      ->check(check_listen);
  serving->add_flag("--read-only", command.read_only, "refuse every change");
  serving->add_flag("--insecure", command.insecure, "allow plain TCP, on loopback only");
  serving
      ->add_option("--history-max", command.history_max,
                   "room for what is replaced and deleted (default: a tenth of the filesystem)")
      ->check(check_size);
  serving
      ->add_option("--packet-max", command.packet_max,
                   "bytes of the longest packet that is sent or taken (default: a MiB)")
      ->check(CLI::Range(proto::kPacketMaxAtFirst, proto::kPacketMaxEver));
  serving->add_flag("--verbose", command.verbose, "say more on stderr");
  auto* showing = app.add_subcommand("status", "say what the server of ROOT is doing");
  add_tree(*showing, command);
  showing->add_flag("--json", command.json, "one JSON object");
  auto* checking =
      app.add_subcommand("check", "check the database of ROOT, which must not be served");
  add_tree(*checking, command);
  checking->add_flag("--repair", command.repair, "rebuild what can be rebuilt, say what was lost");

  auto* undoing = app.add_subcommand("undo", "bring back what a client deleted or replaced");
  add_tree(*undoing, command);
  undoing->add_option("--client", command.client, "its name, as status shows it")->required();
  undoing->add_option("--since", command.since, "2h, 2026-11-28T05:12:01Z, @SECONDS")->required();
  undoing->add_flag("--json", command.json, "one JSON object");

  auto* inviting = app.add_subcommand("invite", "print a link with which one client enrols");
  add_tree(*inviting, command);
  inviting->add_option("--host", command.host,
                       "NAME[:PORT] under which the client reaches this server");
  inviting->add_flag("--read-only", command.read_only, "the client may change nothing");
  inviting->add_option("--subtree", command.subtree,
                       "the client gets this folder of the tree alone");
  inviting->add_option("--expires", command.expires, "how long the link is good: 90s, 15m, 2h, 3d")
      ->default_str("7d");
  auto* listing = app.add_subcommand("clients", "list the enrolled clients, the name first");
  add_tree(*listing, command);
  listing->add_flag("--json", command.json, "one JSON object a line");
  auto* revoking = app.add_subcommand("revoke", "let a client in no more");
  add_tree(*revoking, command);
  revoking->add_option("NAME", command.name, "as clients shows it")->required();

  std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());
  try {
    app.parse(reversed);
  } catch (const CLI::Success& done) {
    return app.exit(done, out, err) == 0 ? kExitDone : kExitUsage;
  } catch (const CLI::ParseError& wrong) {
    err << "ebbd: " << one_line(wrong.what()) << "; see ebbd --help\n";
    return kExitUsage;
  }
  log_open(command.verbose ? LogLevel::debug : LogLevel::warn, "");
  if (serving->parsed()) return serve(command, out, err);
  if (inviting->parsed()) return invite(command, out, err);
  if (listing->parsed()) return show_clients(command, out, err);
  if (revoking->parsed()) return revoke(command, out, err);
  if (undoing->parsed()) return undo(command, out, err);
  if (showing->parsed()) return show_status(command, out, err);
  return check(command, out, err);
}

}  // namespace ebb::server
