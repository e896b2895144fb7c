// `ebbd serve`.
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdlib>

#include <asio/io_context.hpp>
#include <asio/signal_set.hpp>
#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/file_io.h"
#include "proto/asio/listener.h"
#include "server/daemon/commands.h"
#include "server/daemon/control.h"
#include "server/daemon/host.h"
#include "server/daemon/program.h"
#include "server/daemon/time_text.h"

namespace ebb::server {
namespace {

int failed(std::ostream& err, const std::string& line) {
  err << "ebbd: " << line << "\n";
  return kExitFailed;
}

/// Each connection, each file on its way is a descriptor.
void allow_many_files() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  (void)::setrlimit(RLIMIT_NOFILE, &limit);
}

/// Empty: may be served.
std::string objection(const std::string& root) {
  struct stat facts {};
  if (::stat(root.c_str(), &facts) != 0) {
    return fmt::format("cannot serve {}: {}", root, std::strerror(errno));
  }
  if (!S_ISDIR(facts.st_mode)) {
    return fmt::format("cannot serve {}: it is not a directory; name one", root);
  }
  if (::access(root.c_str(), R_OK | X_OK) != 0) {
    return fmt::format("cannot serve {}: {}; run as its owner", root, std::strerror(errno));
  }
  struct statfs filesystem {};
  char status[64];
  const bool fuse = ::statfs(root.c_str(), &filesystem) == 0 &&
                    filesystem.f_type == static_cast<decltype(filesystem.f_type)>(FUSE_SUPER_MAGIC);
  if (fuse && ::getxattr(root.c_str(), "user.ebb.status", status, sizeof status) >= 0) {
    return fmt::format("cannot serve {}: it lies inside an ebb mount; serve its source", root);
  }
  return "";
}

std::string objection(const proto::Address& address, bool insecure) {
  if (address.kind != proto::Address::Kind::tcp || !insecure || proto::is_loopback(address))
    return "";
  return fmt::format(
      "cannot listen on {}: with --insecure TCP is not encrypted, so only loopback addresses are "
      "served; "
      "leave --insecure out",
      proto::to_text(address));
}

/// For `ebbd invite`: where clients reach this server.
Result<> note_listening(const std::string& state,
                        const std::vector<std::unique_ptr<proto::Listener>>& listeners) {
  for (const auto& listener : listeners) {
    const auto& address = listener->address();
    if (address.kind != proto::Address::Kind::tcp) continue;
    const std::string text = fmt::format("{}\n{}\n", address.host, address.port);
    return replace_file(system_file_io(), listening_path(state), as_bytes(text));
  }
  return {};
}

std::string explain(const Command& command, const Error& error) {
  if (is_errno(error, EBUSY)) {
    return fmt::format("cannot serve {}: it is served already ({}); stop that server first",
                       command.root, error.detail);
  }
  return fmt::format("cannot serve {}: {}", command.root, error.message());
}

}  // namespace

std::string state_folder(const Command& command) {
  return command.state.empty() ? command.root + "/" + kOwnFolder : command.state;
}

std::string key_path(const std::string& state) {
  return state + "/key.pem";
}

std::string listening_path(const std::string& state) {
  return state + "/listening";
}

int serve(const Command& given, std::ostream& out, std::ostream& err) {
  Command command = given;
  if (auto no = objection(command.root); !no.empty()) return failed(err, no);
  if (char* whole = ::realpath(command.root.c_str(), nullptr)) {
    command.root = whole;
    ::free(whole);  // realpath's
  }
  if (command.listen.empty()) {
    command.listen = {
        "unix:" + command.root + "/.ebbd/socket",
        fmt::format("{}:{}", command.insecure ? "127.0.0.1" : "", proto::kDefaultPort)};
  }
  std::vector<proto::Address> addresses;
  for (const auto& text : command.listen) {
    auto address = proto::parse_listen(text);
    if (!address) return failed(err, address.error().message());
    if (auto no = objection(*address, command.insecure); !no.empty()) return failed(err, no);
    addresses.push_back(std::move(*address));
  }
  (void)std::signal(SIGPIPE, SIG_IGN);
  allow_many_files();

  asio::io_context io;
  HostOptions options{command.root, command.state, command.read_only, 0, true, command.packet_max};
  if (!command.history_max.empty())
    options.history_max = parse_size(command.history_max).value_or(0);
  auto host = Host::open(io, std::move(options));
  if (!host) return failed(err, explain(command, host.error()));
  const std::string state = (*host)->options().state;
  auto key = proto::TlsKey::load_or_make(key_path(state));
  if (!key) return failed(err, "cannot use the server's key: " + key.error().message());
  proto::ListenOptions how;
  if (!command.insecure) how.key = *key;
  std::vector<std::unique_ptr<proto::Listener>> listeners;
  for (const auto& address : addresses) {
    auto listener = proto::Listener::open(
        io, address, how, [raw = host->get()](std::unique_ptr<proto::Stream> stream) {
          raw->admit(std::move(stream));
        });
    if (!listener) return failed(err, "cannot listen: " + listener.error().message());
    listeners.push_back(std::move(*listener));
  }
  if (!command.insecure) {
    if (auto noted = note_listening(state, listeners); !noted)
      return failed(err, "cannot note the address: " + noted.error().message());
  }
  auto control = ControlSocket::open(io, control_path(command), **host);
  if (!control) return failed(err, "cannot open the control socket: " + control.error().message());

  asio::signal_set signals(io, SIGINT, SIGTERM);
  signals.async_wait([&](asio::error_code, int) {
    listeners.clear();
    control->reset();
    (*host)->hang_up();
    io.stop();
  });
  for (const auto& listener : listeners) {
    out << "serving " << command.root << " on " << proto::to_text(listener->address()) << std::endl;
  }
  io.run();
  listeners.clear();
  control->reset();
  host->reset();
  return kExitDone;
}

}  // namespace ebb::server
