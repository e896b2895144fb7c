// Any bytes of a peer, in any split: no crash, and what comes out can be sent on.
// The first byte of an input says who we are, whether hands were shaken, and how the rest is cut.
#include "base/check.h"
#include "proto/connection.h"

namespace ebb::proto {
namespace {

/// Sends to a peer what was received: the bounds of the two directions are the same.
void send_on(Connection& to, const Message& message) {
  const Type type = type_of(message.body);
  if (type == Type::version_handshake || type == Type::version_handshake_response) return;
  if (!to.can_send()) return;
  const auto sent = to.send(message.session, message.body);
  CHECK(sent.has_value());
}

void run(ByteView in) {
  if (in.empty()) return;
  const auto how = std::to_integer<unsigned>(in[0]);
  in = in.subspan(1);
  Connection connection((how & 1) != 0 ? Role::client : Role::server, {}, Time{});
  if ((how & 2) != 0) connection.agree(kPacketMaxAtFirst);
  Connection peer(Role::client, {}, Time{});
  peer.agree(kPacketMaxEver);
  const std::size_t step = 1 + (how >> 2) * 16;
  while (!in.empty()) {
    const std::size_t n = std::min(step, in.size());
    const bool good = connection.receive(in.first(n), Time{}).has_value();
    while (auto message = connection.next_message()) send_on(peer, *message);
    while (!connection.next_output().empty()) {
    }
    if (!good) return;
    if (!connection.agreed()) connection.agree(kPacketMaxAtFirst);
    in = in.subspan(n);
  }
}

}  // namespace
}  // namespace ebb::proto

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ebb::proto::run(std::as_bytes(std::span(data, size)));
  return 0;
}
