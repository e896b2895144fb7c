#include "fusefs/ebb/probe.h"

#include <cerrno>
#include <optional>
#include <variant>

#include "proto/connection.h"

namespace ebb::fusefs {
namespace {

constexpr ClientId kProbeClient{1};

class Probe {
 public:
  Probe(Dialer& dialer, const ProbeIdentity& identity)
      : identity_(identity),
        connection_(proto::Role::client, proto::Limits{}, system_clock().now()) {
    dialer.dial(
        [this](Result<std::unique_ptr<proto::Stream>> stream) { dialed(std::move(stream)); });
  }

  std::optional<Result<TreeId>> result;

 private:
  void dialed(Result<std::unique_ptr<proto::Stream>> stream) {
    if (!stream) return end(tl::unexpected(stream.error()));
    stream_ = std::move(*stream);
    proto::VersionHandshake hello;
    hello.version_min = proto::kVersionMin;
    hello.version_max = proto::kVersionMax;
    // Refused on purpose, as a client of another tree: the refusal names the tree, and the server
    // opens nothing for it.
    hello.client = kProbeClient;
    hello.client_name = identity_.host_name;
    const auto proof = as_bytes(identity_.secret);
    hello.proof.assign(proof.begin(), proof.end());
    hello.tree.bytes.fill(0xff);
    hello.capabilities = proto::kSubtrees;
    hello.subtree = identity_.subtree;
    if (auto sent = connection_.send(0, hello); !sent) return end(tl::unexpected(sent.error()));
    stream_->start({.bytes = [this](ByteView bytes) { received(bytes); },
                    .next_output = [this] { return connection_.next_output(); },
                    .closed = [this](Error why) { end(tl::unexpected(std::move(why))); }});
  }

  void received(ByteView bytes) {
    const auto taken = connection_.receive(bytes, system_clock().now());
    while (auto message = connection_.next_message()) {
      if (const auto* answer = std::get_if<proto::VersionHandshakeResponse>(&message->body)) {
        return end(tree_of(*answer));
      }
      if (const auto* error = std::get_if<proto::ErrorMessage>(&message->body)) {
        return end(fail(error->code, error->sentence));
      }
    }
    if (!taken) end(tl::unexpected(taken.error()));
  }

  Result<TreeId> tree_of(const proto::VersionHandshakeResponse& answer) const {
    if (answer.code != proto::Errc::ok && answer.code != proto::Errc::other_tree) {
      return fail(answer.code, answer.sentence);
    }
    if (!identity_.subtree.empty() && (answer.capabilities & proto::kSubtrees) == 0) {
      return fail(proto::Errc::not_supported, "the server is older and serves whole trees alone");
    }
    if (!answer.tree) return fail(proto::Errc::bad_packet, "the server names no tree");
    return answer.tree;
  }

  void end(Result<TreeId> with) {
    if (!result) result = std::move(with);
  }

  const ProbeIdentity identity_;
  proto::Connection connection_;
  std::unique_ptr<proto::Stream> stream_;
};

}  // namespace

Result<TreeId> probe_tree(asio::io_context& io, Dialer& dialer, Duration limit,
                          const ProbeIdentity& identity) {
  const Time end = system_clock().now() + limit;
  Probe probe(dialer, identity);
  while (!probe.result && system_clock().now() < end) {
    io.run_one_for(std::chrono::milliseconds(50));
    if (io.stopped()) io.restart();
  }
  dialer.cancel();
  return probe.result ? *probe.result : fail_errno(ETIMEDOUT);
}

}  // namespace ebb::fusefs
