// Any bytes of a stranger to a server: no crash, and one who is not let in learns nothing of the
// tree. The first byte of an input says how the server receives him and how the rest is cut.
#include <algorithm>

#include "base/check.h"
#include "tests/fuzz/input.h"
#include "tests/support/test_peer.h"

namespace ebb::fuzz {
namespace {

using proto::VersionHandshake;
using server::Admission;

enum class Welcome : std::uint8_t { as_he_says, refused, to_a_subtree, read_only };

server::Admit admission(Welcome welcome) {
  if (welcome == Welcome::as_he_says) return {};
  return [welcome](const VersionHandshake& hello, const std::string&) -> Result<Admission> {
    if (welcome == Welcome::refused) return fail(proto::Errc::not_enrolled, "not enrolled");
    return Admission{hello.client_name, welcome == Welcome::read_only,
                     welcome == Welcome::to_a_subtree ? "folder" : ""};
  };
}

/// A server that lasts for many strangers; what they leave in it is bounded by a new one.
class Door {
 public:
  Door() {
    world_.depot.make_folder("folder");
    world_.depot.make_folder("folder/inner");
    CHECK(world_.start());
    auto peer = world_.service->connected("fuzz");
    world_.service->disconnected(peer);
    tree_ = world_.service->status().tree;
  }
  bool worn() const { return used_ > 5000; }

  void knock(Welcome welcome, std::size_t step, ByteView in) {
    ++used_;
    auto& service = *world_.service;
    const auto peer = service.connected("fuzz", admission(welcome));
    Bytes told;
    while (!in.empty() && !service.wants_close(peer)) {
      const auto some = in.first(std::min(step, in.size()));
      in = in.subspan(some.size());
      service.received(peer, some);
      world_.settle();
      take(peer, told);
    }
    take(peer, told);
    service.disconnected(peer);
    world_.settle();
    const auto id = bytes_of(tree_.bytes);
    const bool named = std::search(told.begin(), told.end(), id.begin(), id.end()) != told.end();
    CHECK(!named || (welcome != Welcome::refused && welcome != Welcome::to_a_subtree));
  }

 private:
  void take(server::PeerId peer, Bytes& told) {
    for (Bytes out = world_.service->next_output(peer); !out.empty();
         out = world_.service->next_output(peer)) {
      told.insert(told.end(), out.begin(), out.end());
    }
  }

  test::ServedTree world_;
  TreeId tree_;
  std::size_t used_ = 0;
};

void run(ByteView in) {
  keep_quiet();
  static std::unique_ptr<Door> door;
  if (!door || door->worn()) door = std::make_unique<Door>();
  Input input(in);
  const auto how = input.byte();
  door->knock(static_cast<Welcome>(how & 3), 1 + (how >> 2) * 16, input.rest());
}

}  // namespace
}  // namespace ebb::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ebb::fuzz::run(std::as_bytes(std::span(data, size)));
  return 0;
}
