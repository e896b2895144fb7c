// A server and a client that may send anything once hands were shaken: no crash, and the client of
// a subtree neither changes nor learns what is outside of it.
//
// An input is the kind of client, then messages: type, session and what else happens, a length of
// two bytes, the body.
#include <map>

#include "base/check.h"
#include "proto/connection.h"
#include "tests/fuzz/input.h"
#include "tests/support/test_peer.h"

namespace ebb::fuzz {
namespace {

constexpr std::size_t kMessagesMax = 64;
constexpr const char* kSecret = "\x01secret\x02of\x03others\x04";

enum Happens : std::uint8_t {
  kSession = 0x07,
  kSettles = 0x08,
  kTimePasses = 0x10,
  kGoesOn = 0x20
};

server::Admit confined() {
  return [](const proto::VersionHandshake& hello, const std::string&) {
    return Result<server::Admission>({hello.client_name, false, "part"});
  };
}

/// Serves one peer after the other, for a new one costs a hundred times as much, until something
/// has been changed in it or its clock has gone on: an input does the same whatever came before.
class World {
 public:
  explicit World(bool part) : part_(part) {
    auto& depot = served_.depot;
    depot.make_folder("part");
    depot.make_folder("part/sub");
    depot.write("part/file", "content");
    depot.write("part/sub/deep", "deep");
    depot.make_symlink("part/link", "file");
    depot.write("outside", kSecret);
    CHECK(served_.start());
    test::TestPeer whole(served_, 7);
    whole.list(kRootEntry, 100);
    before_ = outside();
    begin();
    served_.service->disconnected(peer_);
    served_.settle();
    sequence_ = served_.service->status().sequence;
  }

  void begin() {
    told_.clear();
    peer_ = served_.service->connected("fuzz", part_ ? confined() : server::Admit{});
    shake();
  }
  bool as_new() const {
    const auto status = served_.service->status();
    return status.sequence == sequence_ && status.mutations == 0 && !clock_moved_ &&
           served_.depot.staged_count() == 0;
  }

  /// False: hung up on.
  bool take(Input& in) {
    const auto type = in.byte();
    const auto how = in.byte();
    const auto body = in.bytes(in.pair());
    if (body.size() > proto::kPacketMaxEver / 2) return false;
    served_.service->received(peer_, framed(static_cast<proto::Type>(type), 1 + (how & kSession),
                                            (how & kGoesOn) != 0, body));
    if ((how & kTimePasses) != 0) {
      clock_moved_ = true;
      served_.clock.pass(std::chrono::seconds(7));
      served_.service->advance(served_.clock.now());
    }
    if ((how & kSettles) != 0) settle();
    return !served_.service->wants_close(peer_);
  }

  void end() {
    settle();
    served_.service->disconnected(peer_);
    served_.settle();
    if (!part_) return;
    CHECK(outside() == before_);
    CHECK(as_text(told_).find(kSecret) == std::string_view::npos);
  }

 private:
  void shake() {
    proto::VersionHandshake hello;
    hello.version_min = proto::kVersionMin;
    hello.version_max = proto::kVersionMax;
    hello.packet_max = proto::kPacketMaxEver;
    hello.client = ClientId{8};
    const Bytes body = proto::encode(hello);
    served_.service->received(peer_, framed(proto::Type::version_handshake, 0, false, body));
    settle();
  }
  void settle() {
    served_.settle();
    for (Bytes out = served_.service->next_output(peer_); !out.empty();
         out = served_.service->next_output(peer_)) {
      told_.insert(told_.end(), out.begin(), out.end());
      served_.settle();
    }
  }
  std::map<std::string, std::string> outside() const {
    auto all = served_.depot.tree();
    std::erase_if(all, [](const auto& entry) { return entry.first.starts_with("part"); });
    return all;
  }

  const bool part_;
  test::ServedTree served_;
  server::PeerId peer_ = 0;
  std::map<std::string, std::string> before_;
  Bytes told_;
  Seq sequence_;
  bool clock_moved_ = false;
};

void run(ByteView in) {
  keep_quiet();
  static std::unique_ptr<World> worlds[2];  // of clients of the whole, of those of a part
  Input input(in);
  const bool part = (input.byte() & 1) != 0;
  auto& world = worlds[part];
  if (!world) world = std::make_unique<World>(part);
  world->begin();
  for (std::size_t i = 0; i < kMessagesMax && !input.empty(); ++i) {
    if (!world->take(input)) break;
  }
  world->end();
  if (!world->as_new()) world.reset();
}

}  // namespace
}  // namespace ebb::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ebb::fuzz::run(std::as_bytes(std::span(data, size)));
  return 0;
}
