#include "fusefs/core/listings.h"

#include <cerrno>

#include "base/log.h"
#include "fusefs/core/core.h"

namespace ebb::fusefs {
namespace {

/// Entries of folders beneath that the server may send unasked: few for the first folder, so that
/// it is not all that a first `ls` waits behind, then more and more, so that a walk costs few round
/// trips.
constexpr std::uint32_t kBudgetLeast = 64;
constexpr std::uint32_t kBudgetMost = 4096;
/// Folders asked for one after the other within this time are a walk.
constexpr Duration kWalk = std::chrono::seconds(1);
/// Folders asked for at once that nobody waits for; the others stay in the table meanwhile.
constexpr std::size_t kAskedAtOnce = 16;
/// And with those that somebody waits for.
constexpr std::size_t kAskedMost = 128;
constexpr Duration kRetry = std::chrono::seconds(1);
/// Unfinished pages of one request: a server that never says `last` cannot fill the memory.
constexpr std::size_t kEntriesMax = 2'000'000;

}  // namespace

Ticket Listings::wait(NodeId folder, std::function<void(Ticket, const Result<>&)> resume,
                      Ticket again) {
  if (core_.link.away()) {
    resume(again, fail_errno(EHOSTDOWN, "the server is out of reach"));
    return 0;
  }
  const AskedPtr asked = ask(folder);
  const Ticket ticket =
      core_.waits.add(core_.now() + core_.options.timeout, std::move(resume), again);
  if (ticket != 0) asked->waiters.push_back(ticket);
  core_.effects.wake = true;
  pump();
  return ticket;
}

void Listings::want(NodeId folder) {
  const auto asked = ask(folder);
  // What comes from now on is newer than what made us ask; what has come is not.
  asked->again = asked->again || asked->pages.count(asked->entry) != 0;
  pump();
}

Listings::AskedPtr Listings::ask(NodeId folder) {
  auto& asked = asked_[folder];
  if (!asked) {
    asked = std::make_shared<Asked>();
    asked->folder = folder;
  }
  return asked;
}

void Listings::ready() {
  core_.tree->in_doubt([this](NodeId folder) { return ask(folder), true; });
  pump();
}

void Listings::lost() {
  failed_.clear();
  for (const auto& [folder, asked] : asked_) {
    asked->session = 0;
    asked->again = false;
    asked->pages.clear();
    asked->entries = 0;
  }
}

void Listings::away() {
  const auto all = std::exchange(asked_, {});
  for (const auto& [folder, asked] : all) {
    for (const Ticket ticket : asked->waiters) {
      core_.waits.finish(ticket, fail_errno(EHOSTDOWN, "the server is out of reach"));
    }
  }
}

void Listings::pump() {
  if (!failed_.empty() && core_.now() >= retry_at_) {
    for (const NodeId folder : std::exchange(failed_, {})) ask(folder);
  }
  std::size_t under_way = 0;
  for (const auto& [folder, asked] : asked_) under_way += asked->session != 0 ? 1 : 0;
  // A copy: what cannot be asked for leaves the table.
  const auto all = asked_;
  for (const auto& [folder, asked] : all) {
    if (under_way >= kAskedMost || !core_.link.can_send()) return;
    const bool later = under_way >= kAskedAtOnce && asked->waiters.empty();
    if (asked->session != 0 || later) continue;
    send(asked);
    ++under_way;
  }
}

void Listings::send(const AskedPtr& asked) {
  const auto node = core_.tree->node(asked->folder);
  if (!node) return finish(asked, pass(node.error()));
  if (!node->entry) return finish(asked, {});
  asked->entry = node->entry;
  asked->session = core_.link.open_session(
      [this, asked](Lock&, const proto::Body& body) { heard(asked, body); });
  core_.link.send(asked->session, proto::List{node->entry, next_budget()});
}

std::uint32_t Listings::next_budget() {
  const bool walk = budget_ != 0 && core_.now() < asked_at_ + kWalk;
  asked_at_ = core_.now();
  budget_ = walk ? std::min(std::max(budget_, kBudgetLeast) * 4, kBudgetMost) : kBudgetLeast;
  return budget_;
}

void Listings::heard(const AskedPtr& asked, const proto::Body& body) {
  if (const auto* part = std::get_if<proto::ListPage>(&body)) return page(asked, *part);
  const auto* error = std::get_if<proto::ErrorMessage>(&body);
  if (error == nullptr) return;
  // The server's word on a folder that went in the meantime comes by the watch; there is nothing in
  // it now.
  finish(asked, fail(proto::make_error_code(error->code), error->sentence));
}

void Listings::page(const AskedPtr& asked, const proto::ListPage& page) {
  const Time deadline = core_.now() + core_.options.timeout;
  for (const Ticket ticket : asked->waiters) core_.waits.extend(ticket, deadline);
  Page& folder = asked->pages[page.folder];
  if (page.first) folder = Page{{}, page.sequence};
  folder.entries.insert(folder.entries.end(), page.entries.begin(), page.entries.end());
  asked->entries += page.entries.size();
  if (asked->entries > kEntriesMax && !page.last) {
    core_.link.send(asked->session, proto::Cancel{});
    return finish(asked, fail_errno(E2BIG, "the folder has too many entries"));
  }
  if (page.last) {
    const Page complete = std::move(folder);
    asked->pages.erase(page.folder);
    asked->entries -= std::min(asked->entries, complete.entries.size());
    if (const auto node = core_.tree->of_entry(page.folder)) {
      log_debug("list of {}: {} names, as of {}", page.folder.value, complete.entries.size(),
                complete.sequence.value);
      core_.contents.look_at_all();
      auto done = core_.tree->listed_by_server(*node, complete.entries, is_newest(asked, *node));
      if (!done && *node == asked->folder) return finish(asked, done);
      if (!done) log_warn("a folder's list cannot be worked in: {}", done.error().message());
      core_.watching.again_after(page.folder, complete.sequence);
      core_.pushes.queue_changed();
      // Who waits for this folder does not wait for those beneath it.
      if (done && *node == asked->folder) resume(asked, {});
    }
  }
  if (page.end) finish(asked, {});
}

void Listings::finish(const AskedPtr& asked, const Result<>& result) {
  if (asked->session != 0) core_.link.close_session(asked->session);
  const auto it = asked_.find(asked->folder);
  if (it != asked_.end() && it->second == asked) asked_.erase(it);
  if (asked->again && result) ask(asked->folder);
  if (!result) ask_later(asked->folder);
  resume(asked, result);
  pump();
}

/// Whether no doubt about the names came up since this was asked for.
bool Listings::is_newest(const AskedPtr& asked, NodeId folder) const {
  const auto own = asked_.find(folder);
  return own == asked_.end() || (own->second == asked && !asked->again);
}

/// What is in doubt must not stay so because the server's disk failed once.
void Listings::ask_later(NodeId folder) {
  const auto node = core_.tree->node(folder);
  if (!node || !node->has(store::kInDoubt) || !core_.link.ready()) return;
  if (failed_.empty()) retry_at_ = core_.now() + kRetry;
  failed_.insert(folder);
}

Time Listings::next_deadline() const {
  return failed_.empty() || !core_.link.ready() ? kNever : retry_at_;
}

void Listings::resume(const AskedPtr& asked, const Result<>& result) {
  for (const Ticket ticket : std::exchange(asked->waiters, {})) {
    core_.waits.finish(ticket, result);
  }
}

}  // namespace ebb::fusefs
