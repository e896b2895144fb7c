#include "fusefs/core/link.h"

#include <algorithm>

#include "base/log.h"
#include "fusefs/core/core.h"

namespace ebb::fusefs {
namespace {

constexpr Duration kBackoffFirst = std::chrono::milliseconds(200);
constexpr Duration kBackoffMost = std::chrono::seconds(30);
constexpr int kBackoffSteps = 8;  // 0.2 s * 2^8 is past the most

bool ends_for_good(proto::Errc code) {
  return code == proto::Errc::other_tree || code == proto::Errc::no_common_version ||
         code == proto::Errc::not_enrolled;
}

}  // namespace

void Link::up() {
  proto::Limits limits = core_.options.limits;
  limits.clock = &core_.seams.clock;
  connection_.emplace(proto::Role::client, limits, core_.now());
  state_ = State::greeting;
  wants_close_ = false;
  greet();
}

void Link::greet() {
  proto::VersionHandshake hello;
  hello.version_min = proto::kVersionMin;
  hello.version_max = proto::kVersionMax;
  hello.packet_max = core_.options.limits.packet_max;
  hello.client = core_.settings.client();
  hello.client_name = core_.options.host_name;
  hello.tree = core_.settings.tree();
  hello.capabilities = proto::kSubtrees | core_.options.limits.capabilities;
  hello.subtree = core_.options.subtree;
  hello.epoch = core_.settings.epoch();
  hello.sequence = core_.settings.sequence();
  if (auto sent = connection_->send(0, hello); !sent) broken(sent.error());
  core_.effects.wake = true;
}

bool Link::early() const {
  return state_ == State::greeting && !wants_close_ && core_.settings.tree();
}

void Link::greeted(Lock& lock, const proto::VersionHandshakeResponse& response) {
  if (response.code != proto::Errc::ok) {
    stopped_ = ends_for_good(response.code);
    refused(response.sentence.empty() ? std::string(proto::sentence(response.code))
                                      : response.sentence);
    return;
  }
  if (!core_.options.subtree.empty() && (response.capabilities & proto::kSubtrees) == 0) {
    stopped_ = true;
    return refused("the server is older and serves whole trees alone");
  }
  const TreeId known = core_.settings.tree();
  if (known && known != response.tree) {
    stopped_ = true;
    return refused("the server serves another tree than this state folder is for");
  }
  if (!known) {
    if (auto done = core_.settings.set_tree(response.tree); !done) return broken(done.error());
  }
  connection_->agree(response.packet_max, response.capabilities);
  state_ = State::ready;
  failed_ = false;
  attempts_ = 0;
  problem_.clear();
  read_only_ = response.read_only;
  sequence_ = response.sequence;
  // The versions that were asked for meanwhile may be others in this past of the tree.
  if (!response.continues) core_.pulls.take_back();
  core_.watching.begin(response.continues);
  core_.listings.ready();
  core_.stats.ready();
  core_.stats.space();
  core_.pulls.ready();
  core_.pushes.ready();
  core_.pulls.pump(lock);
}

void Link::refused(std::string why) {
  problem_ = std::move(why);
  log_warn("the server refuses: {}", problem_);
  wants_close_ = true;
}

void Link::broken(const Error& why) {
  problem_ = why.message();
  log_info("the connection is given up: {}", problem_);
  wants_close_ = true;
  core_.effects.wake = true;
}

void Link::received(Lock& lock, ByteView bytes) {
  if (!connection_ || wants_close_) return;
  const auto taken = connection_->receive(bytes, core_.now());
  while (connection_ && !wants_close_) {
    const auto message = connection_->next_message();
    if (!message) break;
    dispatch(lock, *message);
  }
  if (!taken) broken(taken.error());
}

void Link::dispatch(Lock& lock, const proto::Message& message) {
  if (const auto* response = std::get_if<proto::VersionHandshakeResponse>(&message.body)) {
    if (state_ == State::greeting) greeted(lock, *response);
    return;
  }
  if (message.session == 0) {
    const auto* error = std::get_if<proto::ErrorMessage>(&message.body);
    if (error == nullptr) return;
    stopped_ = stopped_ || ends_for_good(error->code);
    return refused(error->sentence);
  }
  // A session that we have closed may still be answered.
  const auto it = sessions_.find(message.session);
  if (it == sessions_.end()) return;
  const auto handler = it->second;
  (*handler)(lock, message.body);
}

void Link::down(const Error& why) {
  const bool was_ready = ready();
  state_ = State::down;
  connection_.reset();
  sessions_.clear();
  wants_close_ = false;
  if (problem_.empty()) problem_ = why.message();
  if (!was_ready) failed_ = true;
  connect_at_ = stopped_ ? kNever : core_.now() + backoff();
  core_.watching.lost();
  core_.listings.lost();
  core_.comparing.lost();
  core_.stats.lost();
  core_.kept_versions.lost();
  core_.formers.lost();
  core_.pulls.lost();
  core_.pushes.lost();
  if (away()) {
    core_.listings.away();
    core_.pulls.away();
    core_.transitions.away();
  }
  core_.effects.wake = true;
}

Duration Link::backoff() {
  const Duration full =
      std::min(kBackoffMost, kBackoffFirst * (1 << std::min(attempts_, kBackoffSteps)));
  ++attempts_;
  // Between a half and the whole of it, so that many clients of one server do not come at once.
  const auto half = static_cast<std::uint64_t>(full.count() / 2);
  return Duration(static_cast<Duration::rep>(half + core_.seams.random.next() % (half + 1)));
}

Bytes Link::next_output() {
  return connection_ ? connection_->next_output(core_.now()) : Bytes{};
}

Time Link::next_deadline() const {
  return connection_ ? connection_->next_deadline() : kNever;
}

void Link::advance() {
  if (!connection_ || wants_close_) return;
  if (auto alive = connection_->advance(core_.now()); !alive) broken(alive.error());
}

std::uint32_t Link::open_session(Handler handler) {
  do {
    ++last_session_;
  } while (last_session_ == 0 || sessions_.count(last_session_) != 0);
  sessions_.emplace(last_session_, std::make_shared<Handler>(std::move(handler)));
  return last_session_;
}

bool Link::send_data(std::uint32_t session, std::uint64_t offset, ByteView bytes) {
  if (!ready()) return false;
  core_.effects.wake = true;
  return connection_->send_data(session, offset, bytes).has_value();
}

bool Link::send(std::uint32_t session, const proto::Body& body) {
  const bool may = ready() || (early() && std::holds_alternative<proto::Pull>(body));
  if (!may) return false;
  core_.effects.wake = true;
  return connection_->send(session, body).has_value();
}

}  // namespace ebb::fusefs
