// One served tree with its service, its disk threads and its connections, on an io_context.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/steady_timer.hpp>

#include "proto/asio/stream.h"
#include "server/core/directory_depot.h"
#include "server/core/service.h"
#include "server/daemon/disk_threads.h"

namespace ebb::server {

struct HostOptions {
  std::string root;
  std::string state;  // empty: ROOT/.ebbd
  bool read_only = false;
  std::uint64_t history_max = 0;  // bytes; 0: as the service has it
  bool watch = true;              // notice what other programs change
  std::uint32_t packet_max = proto::kPacketMaxEver;
};

/// All calls on the io_context's thread.
class Host {
 public:
  /// Recovers what a crash left.  EBUSY with the holder when another server has the tree or the
  /// state folder.
  static Result<std::unique_ptr<Host>> open(asio::io_context& io, HostOptions options);
  ~Host();
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  /// Peers over TLS of whom it is not known yet who they are.  Where more come, the oldest is hung
  /// up on: silent ones take no place from those who are enrolled.
  static constexpr std::size_t kStrangersMax = 64;

  void admit(std::unique_ptr<proto::Stream> stream);
  /// Hangs up on everybody; what is landing is finished by the destructor.
  void hang_up();

  void undo(const std::string& client, WallNs since, std::function<void(Result<UndoReport>)> then) {
    service_->undo(client, since, std::move(then));
  }

  /// Hangs up on clients that are enrolled no more.
  void drop_revoked();

  const Service& service() const { return *service_; }
  const HostOptions& options() const { return options_; }

 private:
  Host(asio::io_context& io, HostOptions options);
  Admit admission_of(const proto::Stream& stream) const;
  void make_room_for_stranger();
  void drop(PeerId peer);
  void bytes(PeerId peer, ByteView in);
  void closed(PeerId peer, const Error& why);
  void wake(PeerId peer);
  void set_timer();
  void begin_watching(asio::io_context& io);
  void wait_for_notices();

  HostOptions options_;
  std::shared_ptr<void> tree_lock_;  // of ROOT, also where the state lies elsewhere
  std::unique_ptr<DirectoryDepot> depot_;
  std::unique_ptr<DiskThreads> threads_;
  std::unique_ptr<Service> service_;
  std::map<PeerId, std::unique_ptr<proto::Stream>> streams_;
  std::deque<PeerId> strangers_;  // oldest first; some may have gone, or be known by now
  asio::steady_timer timer_;
  std::optional<asio::posix::stream_descriptor> notices_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace ebb::server
