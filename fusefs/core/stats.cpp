#include "fusefs/core/stats.h"

#include <cerrno>

#include "base/log.h"
#include "fusefs/core/core.h"

namespace ebb::fusefs {
namespace {

constexpr std::size_t kAskedAtOnce = 64;
constexpr Duration kSpaceAge = std::chrono::seconds(5);

}  // namespace

void Stats::want(NodeId node) {
  wanted_.insert(node);
  core_.effects.wake = true;
}

void Stats::ready() {
  core_.tree->unsure([this](NodeId node) { return wanted_.insert(node), true; });
}

void Stats::lost() {
  wanted_.insert(asked_.begin(), asked_.end());
  asked_.clear();
  space_asked_ = {};
}

SpaceFigures Stats::space() {
  const bool fresh = space_known_ && core_.now() < space_asked_ + kSpaceAge;
  if (fresh || !core_.link.can_send()) return space_;
  space_asked_ = core_.now();
  space_known_ = true;
  auto id = std::make_shared<std::uint32_t>(0);
  *id = core_.link.open_session([this, id](Lock&, const proto::Body& body) {
    core_.link.close_session(*id);
    const auto* figures = std::get_if<proto::StatFsResponse>(&body);
    if (figures == nullptr) return;
    space_ = {figures->bytes_total, figures->bytes_free, figures->files_total, figures->files_free,
              figures->bytes_available};
  });
  core_.link.send(*id, proto::StatFs{});
  return space_;
}

void Stats::pump() {
  while (!wanted_.empty() && asked_.size() < kAskedAtOnce && core_.link.can_send()) {
    const NodeId node = *wanted_.begin();
    wanted_.erase(wanted_.begin());
    const auto record = core_.tree->node(node);
    if (!record || !record->entry || asked_.count(node) != 0) continue;
    asked_.insert(node);
    auto id = std::make_shared<std::uint32_t>(0);
    *id = core_.link.open_session(
        [this, node, id, entry = record->entry](Lock&, const proto::Body& body) {
          heard(node, entry, *id, body);
        });
    core_.link.send(*id, proto::Stat{record->entry});
  }
}

void Stats::heard(NodeId node, EntryId entry, std::uint32_t session, const proto::Body& body) {
  core_.link.close_session(session);
  const auto* response = std::get_if<proto::StatResponse>(&body);
  const auto* error = std::get_if<proto::ErrorMessage>(&body);
  const bool gone = error != nullptr && error->code == proto::Errc::not_found;
  if (response == nullptr && !gone) {
    asked_.erase(node);
    return;
  }
  core_.contents.look_at_entry(entry);
  const auto done =
      gone ? core_.tree->entry_gone(entry) : core_.tree->entry_from_server(response->entry);
  const bool disk = !done && (is_errno(done.error(), EIO) || is_errno(done.error(), ENOSPC));
  if (!done) {
    log_warn("the server's word on an entry cannot be worked in: {}", done.error().message());
  }
  // What our disk did not take stays asked for, and is asked again on the next connection.
  if (disk) return core_.link.broken(done.error());
  asked_.erase(node);
}

}  // namespace ebb::fusefs
