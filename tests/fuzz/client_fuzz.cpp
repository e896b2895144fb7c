// A client whose server may send anything, while programs use the mount: no crash.
//
// An input is steps: a server's message (type, session and what else happens, a length of two
// bytes, the body), or something that a program, the clock or the cable does.
#include <fcntl.h>

#include "base/check.h"
#include "fusefs/core/client.h"
#include "proto/connection.h"
#include "tests/fuzz/input.h"
#include "tests/support/fake_file_io.h"
#include "tests/support/test_peer.h"

namespace ebb::fuzz {
namespace {

using fusefs::Client;

constexpr std::size_t kStepsMax = 64;
constexpr const char* kNames[] = {"file", "folder", "link", "new", "other", "kept", "deep", "a"};
constexpr std::uint8_t kOwnSteps = 200;  // types from here on are no messages

class NoKernel final : public fusefs::KernelCaches {
 public:
  void attributes_changed(NodeId) override {}
  void name_changed(NodeId, const std::string&) override {}
};

std::unique_ptr<Client> open_client(Clock& clock, FileIo& io, Random& random, NoKernel& kernel) {
  fusefs::ClientOptions options;
  options.state_folder = "/state";
  options.host_name = "fuzz";
  auto opened = Client::open({clock, io, random, kernel, [] {}}, options);
  CHECK(opened.has_value());
  return std::move(*opened);
}

/// A disk with a state folder on it: making one anew would cost most of an execution.
std::unique_ptr<test::FakeFileIo> disk_with_state() {
  static const auto made = [] {
    auto disk = std::make_unique<test::FakeFileIo>();
    test::SetClock clock;
    test::CountingRandom random;
    NoKernel kernel;
    open_client(clock, *disk, random, kernel);
    return disk;
  }();
  return made->clone();
}

class World {
 public:
  World() : io_(disk_with_state()), client_(open_client(clock_, *io_, random_, kernel_)) {
    connect();
  }

  void step(Input& in) {
    const auto type = in.byte();
    type < kOwnSteps ? message(type, in) : own(type, in);
    drain();
    if (client_->wants_close()) reconnect();
  }

 private:
  void message(std::uint8_t type, Input& in) {
    const auto how = in.byte();
    const auto body = in.bytes(in.pair());
    if (body.size() + 64 > proto::kPacketMaxEver) return;
    client_->link_received(
        framed(static_cast<proto::Type>(type), how & 0x0f, (how & 0x20) != 0, body));
  }

  void own(std::uint8_t what, Input& in) {
    const std::string name = kNames[in.byte() % std::size(kNames)];
    const NodeId folder = in.byte() % 4 == 0 ? last_folder_ : kRootNode;
    switch (what % 10) {
      case 0:
        return (void)client_->lookup(folder, name, [this](auto found) { note(found); });
      case 1:
        return (void)client_->make_folder(folder, name, 0755, {},
                                          [this](auto found) { note(found); });
      case 2:
        return (void)client_->create(folder, name, 0644, O_RDWR, {}, [this](auto made) {
          if (made) write(made->open.handle);
        });
      case 3:
        return (void)client_->unlink(folder, name, [](auto) {});
      case 4:
        return (void)client_->rename(folder, name, kRootNode, kNames[in.byte() % std::size(kNames)],
                                     0, [](auto) {});
      case 5:
        return (void)client_->open(last_, O_RDWR, [this](auto opened) {
          if (opened) read(opened->handle);
        });
      case 6:
        return (void)client_->open_folder(folder, [this](auto handle) {
          if (handle) client_->close_folder(*handle);
        });
      case 7:
        clock_.pass(std::chrono::seconds(in.byte() % 40));
        return client_->advance();
      case 8:
        return (void)client_->set_xattr(last_, "user.ebb.status",
                                        in.byte() % 2 != 0 ? "remote" : "sync", 0, [](auto) {});
      default:
        return reconnect();
    }
  }

  void note(const Result<fusefs::Attributes>& found) {
    if (!found) return;
    (found->kind == fusefs::Kind::folder ? last_folder_ : last_) = found->node;
  }
  void write(fusefs::Handle handle) {
    (void)client_->write(handle, 0, as_bytes("written"), false);
    client_->release(handle);
  }
  void read(fusefs::Handle handle) {
    (void)client_->read(handle, 0, 4096, [](auto) {});
    client_->release(handle);
  }

  void connect() {
    client_->link_up();
    drain();
    proto::VersionHandshakeResponse answer;
    answer.version_min = proto::kVersionMin;
    answer.version_max = proto::kVersionMax;
    answer.version = proto::kVersionMax;
    answer.packet_max = proto::kPacketMaxEver;
    answer.tree.bytes.fill(9);
    answer.epoch = Epoch{5};
    answer.sequence = Seq{100};
    const auto type = proto::Type::version_handshake_response;
    client_->link_received(framed(type, 0, false, proto::encode(answer)));
    drain();
  }
  void reconnect() {
    client_->link_down(Error{proto::make_error_code(proto::Errc::lost), "fuzz"});
    connect();
  }
  void drain() {
    while (!client_->next_output().empty()) {
    }
  }

  test::SetClock clock_;
  std::unique_ptr<test::FakeFileIo> io_;
  test::CountingRandom random_;
  NoKernel kernel_;
  std::unique_ptr<Client> client_;
  NodeId last_ = kRootNode;
  NodeId last_folder_ = kRootNode;
};

void run(ByteView in) {
  keep_quiet();
  Input input(in);
  World world;
  for (std::size_t i = 0; i < kStepsMax && !input.empty(); ++i) world.step(input);
}

}  // namespace
}  // namespace ebb::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ebb::fuzz::run(std::as_bytes(std::span(data, size)));
  return 0;
}
