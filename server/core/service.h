// ebbd without sockets: the requests of many clients over one depot.  Bytes in, bytes out.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/file_io.h"
#include "base/ids.h"
#include "base/result.h"
#include "base/seams.h"
#include "proto/connection.h"

namespace ebb::server {

class Depot;

struct ServiceOptions {
  std::string state_folder;  // the database: `data/` and what else the server keeps
  bool read_only = false;
  proto::Limits limits;
  std::uint64_t changes_max = 1'000'000;  // kept in the log of changes
  std::uint64_t history_max = 0;          // bytes; 0: a tenth of the filesystem
};

struct ServiceSeams {
  Clock& clock;
  FileIo& io;          // of the state folder
  Depot& depot;        // the served tree
  Executor& executor;  // for everything that may block on a disk
  Random& random;
};

/// One connection, as the driver knows it.
using PeerId = std::uint32_t;

/// As whom a peer is let in.
struct Admission {
  std::string name;
  bool read_only = false;
  std::string subtree;  // the folder, from the root, that is the tree to the peer; empty: all of it
};
/// Asked at a peer's handshake, on the executor; `known_as` is the name under which the client's id
/// was seen before, if it was.  An error is the refusal, and the peer learns nothing else.
using Admit = std::function<Result<Admission>(const proto::VersionHandshake& hello,
                                              const std::string& known_as)>;

struct PeerStatus {
  PeerId id = 0;
  ClientId client;
  std::string name;
  std::uint64_t bytes_in = 0;
  std::uint64_t bytes_out = 0;
};

/// Many entries that one client deleted one after the other.
struct MassDeletion {
  ClientId client;
  std::string name;
  std::uint64_t count = 0;
  WallNs begin = 0;
  WallNs end = 0;
};

/// What an undo has done.
struct UndoReport {
  std::uint64_t restored = 0;
  std::vector<std::string> beside;                          // paths: the former ones are taken
  std::vector<std::pair<std::string, std::string>> failed;  // path, why
};

struct ServiceStatus {
  TreeId tree;
  Epoch epoch;
  Seq sequence;
  std::uint64_t entries_known = 0;
  std::uint64_t mutations = 0;  // applied since the start
  std::uint64_t conflicts = 0;  // refused because the client's versions were old
  std::uint64_t history_bytes = 0;
  std::uint64_t history_max = 0;
  std::vector<MassDeletion> deletions;  // oldest first
  std::vector<PeerStatus> peers;
};

/// All calls on one thread, on which the executor's `done` runs, too.  The order in which mutations
/// of one client are applied is the order in which it sent them.
class Service {
 public:
  /// Opens the database (a new one for an unknown tree), completes or undoes every intent, begins
  /// an epoch.
  static Result<std::unique_ptr<Service>> open(ServiceSeams seams, ServiceOptions options);
  /// Jobs of the executor that still run must not outlive the seams; their `done` may come later
  /// and does nothing.
  ~Service();

  /// Without `admit` the peer is let in as who it says it is.
  PeerId connected(std::string from, Admit admit = {});
  void received(PeerId peer, ByteView bytes);
  /// The link is gone.  What was under way is dropped or, once landing has begun, finished.
  void disconnected(PeerId peer);

  /// Whether hands were shaken.
  bool is_known(PeerId peer) const;

  /// The next bytes for this peer; empty when there are none now.
  Bytes next_output(PeerId peer);
  /// The driver sends what next_output() still has and then closes.
  bool wants_close(PeerId peer) const;
  /// False: the driver reads no more from this peer for now; on_output()'s function is called when
  /// that ends.
  bool wants_input(PeerId peer) const;
  /// Called, on the service's thread, when a peer may have new output or wants to be closed.
  void on_output(std::function<void(PeerId)> wake);

  Time next_deadline() const;
  void advance(Time now);

  /// From now on changes that other programs make are looked for: at once in all that is known,
  /// then whenever look_outside() is called because the depot has notices.
  void watch_outside();
  void look_outside();
  /// Called, on the service's thread, when next_deadline() may have become earlier by itself.
  void on_deadline(std::function<void()> moved);
  /// Nothing new is begun: what is under way ends.
  void stop_watching();

  /// Brings back what the client of this name has deleted or overwritten since.
  void undo(const std::string& client, WallNs since, std::function<void(Result<UndoReport>)> then);

  /// True when nothing is under way, for an orderly end and for tests.
  bool idle() const;
  ServiceStatus status() const;

 private:
  struct Impl;
  explicit Service(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace ebb::server
