// Bringing content here: what readers wait for first, then what they are about to read, then the
// rest of open files, then what a status wants here.  Each session is a few ranges of one version,
// checked by its hash.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "fusefs/core/lock.h"
#include "fusefs/core/open_content.h"
#include "proto/messages.h"
#include "proto/session_hash.h"

namespace ebb::fusefs {

struct Core;

/// A file up to this size is always pulled whole.
inline constexpr std::uint64_t kSmallFile = 128 * 1024;

/// Under the client's lock.
class Pulls {
 public:
  explicit Pulls(Core& core) : core_(core) {}

  /// The ranges that are not here are wanted: a reader waits (now), soon (ahead), or all of it some
  /// day.
  void want_now(const ContentPtr& content, Range range);
  void want_ahead(const ContentPtr& content, Range range);
  void want_all(const ContentPtr& content);
  /// The last handle is closed: what only its reading wanted is wanted no more.
  void unwant(const ContentPtr& content);
  /// The tree's list of nodes whose content is wanted has grown.
  void background_changed() { background_done_ = false; }

  void ready();
  void lost();
  /// All that was asked for is not wanted from this server; it is asked for again.
  void take_back();
  void away();
  void pump(Lock& lock);
  /// Something of it is here that was not, perhaps all.
  void came(const ContentPtr& content);
  Time next_deadline() const;
  /// Contents whose content is being pulled, or is wanted.
  std::uint64_t count() const { return wanted_.size(); }

 private:
  struct Session {
    std::uint32_t id = 0;
    ContentPtr content;
    std::uint64_t generation = 0;
    EntryId entry;
    Version version;
    std::vector<Range> ranges;
    std::uint8_t priority = 0;
    bool began = false;
    bool ended = false;
    proto::SessionHash hash;
    RangeSet landed;
  };
  using SessionPtr = std::shared_ptr<Session>;

  std::vector<Range> next_ranges(const OpenContent& content, std::uint8_t priority) const;
  bool start(const ContentPtr& content, std::uint8_t priority);
  void pump_priority(std::uint8_t priority);
  bool room_for_session(std::uint8_t priority) const;
  void load_background();
  void heard(Lock& lock, const SessionPtr& session, const proto::Body& body);
  void began(Lock& lock, const SessionPtr& session, const proto::FileSyncInit& init);
  void data(Lock& lock, const SessionPtr& session, const proto::FileSyncData& data);
  void check(const SessionPtr& session, const proto::FileSyncCheckHash& check);
  void not_kept(const SessionPtr& session, const Error& why);
  void failed(const SessionPtr& session, proto::Errc code, const std::string& sentence);
  bool moved_by_us(const SessionPtr& session);
  void version_is_gone(const SessionPtr& session);
  void end(const SessionPtr& session, bool cancel);
  void forget(const ContentPtr& content);
  void give_up(const ContentPtr& content, const Result<>& why);
  void became_wanted(const ContentPtr& content);

  Core& core_;
  std::map<std::uint32_t, SessionPtr> sessions_;
  std::uint64_t coming_ = 0;  // bytes that they bring
  std::map<NodeId, ContentPtr> wanted_;
  bool background_done_ = false;
};

}  // namespace ebb::fusefs
