#include "fusefs/ebb/mount_daemon.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "fusefs/ebb/control.h"
#include "fusefs/ebb/kept_log.h"
#include "fusefs/ebb/probe.h"
#include "fusefs/ebb/source_link.h"
#include "fusefs/ebb/state_folder.h"
#include "proto/errors.h"

namespace ebb::fusefs {
namespace {

/// From the serving thread to run(): the mount is gone.
constexpr int kGoneSignal = SIGUSR1;

sigset_t end_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (int number : {SIGTERM, SIGINT, SIGHUP, kGoneSignal}) sigaddset(&set, number);
  return set;
}

std::string subtree_of(const Source& source) {
  return source.address ? source.address->subtree : std::string();
}

/// As many as may be had; half of them for content, the rest for the store, sockets and threads.
std::size_t open_files_max() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 256;
  limit.rlim_cur = limit.rlim_max;
  (void)::setrlimit(RLIMIT_NOFILE, &limit);
  return static_cast<std::size_t>(std::clamp<rlim_t>(limit.rlim_max / 2, 64, 65536));
}

std::string real_folder(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::weakly_canonical(path, ignored).string();
}

/// Looks every 20 ms until `done` or the limit.
template <class Done>
bool wait_until(Duration limit, Done done) {
  const Time end = system_clock().now() + limit;
  while (!done()) {
    if (system_clock().now() >= end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return true;
}

}  // namespace

void block_end_signals() {
  const sigset_t set = end_signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
}

MountDaemon::MountDaemon(MountPlan plan)
    : plan_(std::move(plan)), work_(asio::make_work_guard(io_)), waker_(io_) {}

MountDaemon::~MountDaemon() {
  end();
}

Outcome<> MountDaemon::start() {
  ::umask(077);
  KeptLog kept(!plan_.foreground);
  log_open(LogLevel::info, "");
  if (auto done = open_source(); !done) return done;
  if (auto done = find_state(); !done) return done;
  kept.move_to(state_folder_ + "/ebb.log");
  log_info("mounting {} on {}", plan_.source.text(), plan_.mountpoint);
  if (auto done = open_client(); !done) return done;
  driver_ = std::make_unique<Driver>(io_, *client_, *dialer_, waker_);
  auto control = ControlServer::listen(
      io_, *client_,
      {plan_.mountpoint, plan_.source.text(), state_folder_, [this] { return ending_.load(); }});
  if (!control) return tl::unexpected(control.error());
  control_ = std::move(*control);
  link_thread_ = std::thread([this] { io_.run(); });
  if (auto done = wait_for_server(); !done) return done;
  return mount();
}

Outcome<> MountDaemon::open_source() {
  auto link =
      fusefs::open_source(io_, plan_.source, plan_.settings.insecure, plan_.settings.read_only);
  if (!link) return tl::unexpected(link.error());
  dialer_ = std::move(link->dialer);
  enrolment_ = std::move(link->enrolment);
  return {};
}

Outcome<TreeId> MountDaemon::ask_tree(bool known) {
  const std::string secret = enrolment_ ? enrolment_->secret : std::string();
  auto tree = probe_tree(io_, *dialer_, known ? kKnownAnswerTimeout : kAnswerTimeout,
                         {host_name(), secret, subtree_of(plan_.source)});
  if (tree) return *tree;
  const bool unwelcome = tree.error().code == proto::Errc::not_enrolled;
  if (unwelcome || is_errno(tree.error(), EKEYREJECTED)) {
    kept_out_ = true;
    return refuse("source {}: {}", plan_.source.text(), tree.error().detail);
  }
  if (tree.error().code == proto::Errc::not_found) {
    return refuse("source {}: {}", plan_.source.text(), tree.error().detail);
  }
  return refuse("source {}: no answer: {}; the first mount of a tree needs its server",
                plan_.source.text(), tree.error().message());
}

/// With the server: the folder of the tree it serves.  Without: the folder of the tree that it
/// served last time.
Outcome<> MountDaemon::find_state() {
  const std::string source = plan_.source.text();
  const auto base = default_state_base();
  if (!base && plan_.settings.state.empty()) return tl::unexpected(base.error());
  const auto remembered = base ? remembered_tree(*base, source) : std::nullopt;
  const bool kept = !plan_.settings.state.empty() && has_state(plan_.settings.state);
  const auto answered = ask_tree(remembered || kept);
  if (!answered && (kept_out_ || (!remembered && !kept))) return tl::unexpected(answered.error());
  if (answered && enrolment_ && !enrolment_->secret.empty()) {
    auto noted = keep_enrolment(*plan_.source.address, enrolment_->server);
    if (!noted) return noted;
  }
  std::string folder = plan_.settings.state;
  if (folder.empty()) folder = *base + "/" + to_text(answered ? *answered : *remembered);
  if (!plan_.source.address && is_within(real_folder(folder), plan_.source.folder)) {
    return refuse(
        "state folder {}: lies in the tree that is mounted, {}; give another with -o state=DIR",
        folder, plan_.source.folder);
  }
  auto prepared = prepare_state_folder(folder);
  if (!prepared) return tl::unexpected(prepared.error());
  state_folder_ = *prepared;
  if (!answered) return {};
  if (auto same = check_state_tree(state_folder_, *answered); !same) return same;
  return base ? remember_tree(*base, source, *answered) : Outcome<>{};
}

Outcome<> MountDaemon::open_client() {
  const MountSettings& settings = plan_.settings;
  ClientOptions options;
  options.state_folder = state_folder_;
  options.delay = settings.delay;
  options.timeout = settings.timeout;
  options.root = settings.root;
  options.hydrate = settings.hydrate;
  options.fsync_server = settings.fsync_server;
  options.read_only = settings.read_only;
  options.list_xattrs = settings.list_xattrs;
  options.server_owners = settings.allow_other && ::getuid() == 0;
  options.open_files_max = open_files_max();
  options.passthrough_from = settings.passthrough_from;
  options.uid = ::getuid();
  options.gid = ::getgid();
  options.host_name = host_name();
  options.subtree = subtree_of(plan_.source);
  slow_work_.emplace(io_);
  const ClientSeams seams{.clock = system_clock(),
                          .io = system_file_io(),
                          .random = system_random(),
                          .kernel = notifier_,
                          .wake = [this] { waker_.wake(); },
                          .files = &files_,
                          .executor = &*slow_work_};
  Result<std::unique_ptr<Client>> client = fail_errno(EBUSY);
  // A mount that has just ended may be pushing its last changes still.
  wait_until(kEndTimeout + std::chrono::seconds(1), [&] {
    client = Client::open(seams, options);
    return client || !is_errno(client.error(), EBUSY) ||
           is_mounted_state(state_folder_ + "/" + std::string(kControlSocket));
  });
  if (client) {
    client_ = std::move(*client);
    return {};
  }
  if (is_errno(client.error(), EBUSY)) {
    return refuse(
        "state folder {}: in use by another mount ({}); unmount that one, or give another with "
        "-o state=DIR",
        state_folder_, client.error().detail);
  }
  return refuse("state folder {}: {}", state_folder_, client.error().message());
}

Outcome<> MountDaemon::wait_for_server() {
  if (wait_until(kAnswerTimeout, [this] { return !client_->needs_server(); })) return {};
  const std::string problem = client_->status().problem;
  return refuse("source {}: {}; the first mount of a tree needs its server", plan_.source.text(),
                problem.empty() ? "no answer" : problem);
}

Outcome<> MountDaemon::mount() {
  auto session = Session::create(*client_, notifier_,
                                 {.source = plan_.source.text(),
                                  .read_only = plan_.settings.read_only,
                                  .allow_other = plan_.settings.allow_other,
                                  .no_exec = plan_.settings.no_exec});
  if (!session) return refuse("{}", session.error().message());
  session_ = std::move(*session);
  if (auto mounted = session_->mount(plan_.mountpoint); !mounted) {
    return refuse("mountpoint {}: cannot be mounted: {}", plan_.mountpoint,
                  mounted.error().message());
  }
  if (plan_.settings.passthrough) files_.attach(session_->raw(), state_folder_);
  serving_ = std::thread([this, waiter = ::pthread_self()] {
    if (auto served = session_->serve(); !served) log_error("{}", served.error().message());
    pthread_kill(waiter, kGoneSignal);
  });
  // Answered by the workers: from here on the mount works.
  auto device = device_of(plan_.mountpoint);
  if (!device) return tl::unexpected(device.error());
  if (auto guarded = watchdog_.guard(*device); !guarded) {
    log_warn(
        "processes that wait for this mount may have to be freed by umount -f when this process is "
        "killed: {}",
        guarded.error().message());
  }
  auto registration = Registration::make(*device, control_->path());
  if (!registration) return tl::unexpected(registration.error());
  registration_ = std::make_unique<Registration>(std::move(*registration));
  return {};
}

void MountDaemon::run() {
  const sigset_t set = end_signals();
  int number = 0;
  while (sigwait(&set, &number) != 0) {
  }
  log_info("ending: {}", number == kGoneSignal ? "unmounted" : strsignal(number));
  end();
}

void MountDaemon::end() {
  ending_ = true;
  registration_.reset();
  files_.detach();
  if (session_) session_->unmount();
  if (serving_.joinable()) serving_.join();
  if (client_ && link_thread_.joinable()) {
    client_->hurry();
    const bool connected = client_->status().connected;
    const bool quiet =
        wait_until(connected ? kEndTimeout : kEndTimeoutAway, [this] { return client_->quiet(); });
    log_info("ended: {}",
             quiet ? "everything is pushed" : "what is left is pushed at the next mount");
  }
  work_.reset();
  io_.stop();
  if (link_thread_.joinable()) link_thread_.join();
  slow_work_.reset();
  control_.reset();
  driver_.reset();
  client_.reset();   // answers what still waits,
  session_.reset();  // so the session is there until now
  dialer_.reset();
}

}  // namespace ebb::fusefs
