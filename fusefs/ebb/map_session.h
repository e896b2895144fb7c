// One connection to a server that hands out maps: requests out, answers in.  Without sockets.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/clock.h"
#include "fusefs/ebb/map_source.h"
#include "proto/connection.h"
#include "proto/session_hash.h"

namespace ebb::fusefs {

/// Files asked for at once.
inline constexpr std::size_t kFilesAsked = 128;

/// A question is asked by one of the ask_ calls; done() says when its answer is there, or that
/// there will be none: failure().
class MapSession {
 public:
  MapSession(const proto::VersionHandshake& hello, Time now);

  // ---- the link
  void received(ByteView bytes, Time now);
  Bytes next_output() { return connection_.next_output(); }
  void advance(Time now);
  void lost(const Error& why);

  /// The handshake is answered, or the question.
  bool done() const { return failure_ || !waiting_; }
  const std::optional<Error>& failure() const { return failure_; }
  /// The connection serves no more.
  bool broken() const { return broken_; }
  /// When the server last said something about the question.
  Time heard_at() const { return heard_at_; }
  const TreeId& tree() const { return tree_; }

  void ask_figures(DigestKind kind);
  void ask_hashes(DigestKind kind, const MapFigures& of);
  void ask_files(DigestKind kind, const MapFigures& of, const std::vector<WantedFile>& wanted,
                 FileSink& sink);

  MapFigures figures{};
  store::Minified hashes{};

 private:
  struct Coming {
    WantedFile wanted;
    ComingFile file;
    bool begun = false;
    std::unique_ptr<proto::SessionHash> hash;
  };
  using Handler = std::function<Result<>(const proto::Body&)>;

  std::uint32_t open(Handler handler);
  void fail_with(const Error& why, bool broken);
  void heard(const proto::Message& message);
  void greeted(const proto::VersionHandshakeResponse& answer);
  Result<> page(std::uint32_t session, const proto::FsmapHashesPage& page);
  void ask_more_files();
  Result<> file_message(std::uint32_t session, const std::shared_ptr<Coming>& coming,
                        const proto::Body& body);
  Result<> file_begins(Coming& coming, const proto::FileSyncInit& init);
  Result<> file_ends(std::uint32_t session, const std::shared_ptr<Coming>& coming,
                     const proto::FileSyncCheckHash& check);
  void file_again(std::uint32_t session, const WantedFile& wanted);

  proto::Connection connection_;
  Time now_;
  Time heard_at_;
  const bool of_subtree_;
  bool shaken_ = false;
  bool waiting_ = true;
  bool broken_ = false;
  std::optional<Error> failure_;
  TreeId tree_;
  std::uint32_t next_session_ = 1;
  std::map<std::uint32_t, Handler> sessions_;

  // The files that are being fetched.
  proto::FsmapOf of_;
  MapFigures map_;
  std::deque<WantedFile> wanted_;
  std::map<std::uint64_t, int> tries_;  // of files that did not come at once
  FileSink* sink_ = nullptr;
};

}  // namespace ebb::fusefs
