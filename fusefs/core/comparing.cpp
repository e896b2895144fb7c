#include "fusefs/core/comparing.h"

#include <algorithm>

#include "base/log.h"
#include "fusefs/core/core.h"

namespace ebb::fusefs {
namespace {

/// Folders of one question: their summaries are made under the lock.
constexpr std::size_t kFoldersAsked = 256;
constexpr std::size_t kQuestionsMax = 4;

}  // namespace

void Comparing::begin() {
  drop();
  const auto folders = core_.tree->listed_folders();
  waiting_.assign(folders.begin(), folders.end());
  log_info("the server's log of changes does not reach back: {} folders are compared",
           waiting_.size());
  core_.stats.want(kRootNode);  // no folder has the root in it
  pump();
}

void Comparing::lost() {
  for (const auto& [session, folders] : asked_) {
    waiting_.insert(waiting_.end(), folders.begin(), folders.end());
  }
  asked_.clear();
}

void Comparing::drop() {
  for (const auto& [session, folders] : asked_) core_.link.close_session(session);
  waiting_.clear();
  asked_.clear();
}

void Comparing::pump() {
  while (!waiting_.empty() && asked_.size() < kQuestionsMax && core_.link.ready() &&
         core_.link.can_send()) {
    ask();
  }
}

void Comparing::ask() {
  proto::Compare question;
  std::vector<NodeId> asked;
  while (!waiting_.empty() && asked.size() < kFoldersAsked) {
    const NodeId folder = waiting_.front();
    waiting_.pop_front();
    auto known = core_.tree->folder_summary(folder);
    // Gone since, or no more of what the server has.
    if (!known || !known->folder) continue;
    question.folders.push_back(*known);
    asked.push_back(folder);
  }
  if (asked.empty()) return;
  auto id = std::make_shared<std::uint32_t>(0);
  *id = core_.link.open_session([this, id](Lock&, const proto::Body& body) { heard(*id, body); });
  asked_[*id] = std::move(asked);
  core_.link.send(*id, question);
}

void Comparing::heard(std::uint32_t session, const proto::Body& body) {
  const auto* answer = std::get_if<proto::CompareResponse>(&body);
  const auto it = asked_.find(session);
  if (it == asked_.end()) return;
  std::vector<EntryId> different;
  if (answer != nullptr) {
    different = answer->different;
  } else {
    // A server that compares nothing, or not now.
    for (const NodeId folder : it->second) {
      if (const auto node = core_.tree->node(folder)) different.push_back(node->entry);
    }
  }
  for (const EntryId folder : different) {
    // Not recorded: the question stays, and is asked again by the next connection.
    if (!list_anew(folder)) return;
  }
  core_.link.close_session(session);
  asked_.erase(it);
  pump();
}

bool Comparing::list_anew(EntryId entry) {
  const auto folder = core_.tree->of_entry(entry);
  if (!folder) return true;
  // What was known is shown until the list has come.
  const auto done = core_.tree->doubt(*folder);
  if (done) return true;
  log_error("a folder is not recorded as in doubt: {}", done.error().message());
  core_.link.broken(done.error());
  return false;
}

}  // namespace ebb::fusefs
