// A served tree in one thread: service, disk, tree and time in memory, and peers that speak real
// packets to it.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/seams.h"
#include "proto/connection.h"
#include "server/core/service.h"
#include "tests/support/fake_depot.h"
#include "tests/support/fake_file_io.h"

namespace ebb::test {

/// Jobs and their ends wait until they are run.
class QueueExecutor final : public Executor {
 public:
  void run(std::function<void()> job, std::function<void()> done) override {
    queue_.emplace_back(std::move(job), std::move(done));
  }
  bool run_one();
  void clear() { queue_.clear(); }

 private:
  std::deque<std::pair<std::function<void()>, std::function<void()>>> queue_;
};

/// Goes on when a test says so, and by a nanosecond at each look: as with a real clock no two looks give
/// the same instant, and what is computed from one must not be compared with another.
class SetClock final : public Clock {
 public:
  Time now() const override { return now_ += Duration(1); }
  WallNs wall() const override {
    return 1'700'000'000'000'000'000 + now_.time_since_epoch().count();
  }
  void pass(Duration duration) { now_ += duration; }

 private:
  mutable Time now_{Duration(1'000'000'000)};
};

class CountingRandom final : public Random {
 public:
  std::uint64_t next() override { return next_ += 0x9E3779B97F4A7C15u; }

 private:
  std::uint64_t next_ = 1;
};

class ServedTree {
 public:
  explicit ServedTree(server::ServiceOptions options = {});

  /// The service is gone and comes again; false where it could not open.
  bool start();
  void stop();  // in order
  void kill();  // kill -9: what was written stays
  void power_cut(std::uint64_t seed);
  /// Until nothing moves any more.
  void settle();

  FakeDepot depot;
  FakeFileIo io;
  SetClock clock;
  CountingRandom random;
  QueueExecutor executor;
  server::ServiceOptions options;
  std::unique_ptr<server::Service> service;
  std::string open_error;

 private:
  friend class TestPeer;
  std::vector<class TestPeer*> peers_;
};

/// One client.  Its calls do what a client would send and run the world until it stands still.
class TestPeer {
 public:
  explicit TestPeer(ServedTree& world, std::uint64_t client = 7, bool shake = true,
                    server::Admit admit = {});
  ~TestPeer();

  proto::VersionHandshake hello() const;
  std::optional<proto::VersionHandshakeResponse> shake(const proto::VersionHandshake& hello);
  void send(std::uint32_t session, const proto::Body& body);
  void raw(ByteView bytes);
  void settle() { world_.settle(); }

  std::uint32_t next_session() { return ++session_; }
  /// What came on a session, in order; emptied.
  std::vector<proto::Body> take(std::uint32_t session);
  template <class T>
  std::optional<T> take_one(std::uint32_t session) {
    for (auto& body : take(session)) {
      if (auto* found = std::get_if<T>(&body)) return std::move(*found);
    }
    return std::nullopt;
  }
  bool closed() const { return closed_; }
  bool exchange();  // true when bytes moved
  /// Everything that went to the service, and everything that came.
  const Bytes& sent() const { return sent_; }
  const Bytes& received() const { return received_; }
  /// The cable is pulled.
  void unplug();

  // ---- whole conversations
  std::map<std::string, proto::Entry> list(EntryId folder, std::uint32_t budget = 0);
  std::optional<proto::Entry> find(const std::string& path);
  struct Pulled {
    proto::Errc code = proto::Errc::ok;
    std::string bytes;  // in the order they came
    bool hash_fits = false;
    proto::FileSyncInit init;
  };
  Pulled pull(EntryId entry, Version version, std::vector<Range> ranges = {});
  proto::FileSyncInit init_new(EntryId folder, const std::string& name, std::uint64_t size);
  proto::FileSyncInit init_over(const proto::Entry& entry, std::uint64_t size);
  /// Sends the ranges of `content` that the Init names and gives the receipt, or the refusal in its
  /// place.
  proto::FileSyncCheckHashResponse push(proto::FileSyncInit init, const std::string& content);
  std::uint32_t begin_push(proto::FileSyncInit init, const std::string& content);
  std::optional<proto::FileSyncCheckHashResponse> receipt(std::uint32_t session);
  proto::MutateResponse mutate(proto::Mutate mutation);
  std::uint32_t begin_mutate(const proto::Mutate& mutation);
  proto::Operation next_operation() { return {OpId{++operation_}, OpId{}}; }

 private:
  friend class ServedTree;

  ServedTree& world_;
  ClientId client_;
  proto::Connection connection_;
  server::PeerId peer_ = 0;
  std::uint32_t session_ = 0;
  std::uint64_t operation_ = 100;
  bool closed_ = false;
  Bytes sent_;
  Bytes received_;
  std::map<std::uint32_t, std::vector<proto::Body>> inbox_;
};

}  // namespace ebb::test
