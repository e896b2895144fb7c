// `ebbd undo`: what one client deleted or overwrote since a moment comes back.
//
// Of each entry the version that stood before the client's first change.  It takes its place only
// where nobody else has changed the entry since; everywhere else it comes back beside.
#include <algorithm>
#include <set>
#include <tuple>
#include <unordered_map>

#include "server/core/history.h"
#include "server/core/service_impl.h"

namespace ebb::server {

namespace {

constexpr std::size_t kAtOnce = 32;

}  // namespace

struct Undoing {
  std::deque<std::shared_ptr<Restoring>> waiting;
  std::size_t under_way = 0;
  UndoReport report;
  std::function<void(Result<UndoReport>)> then;
};

namespace {

struct Traces {
  Kept first;                // of this client
  std::uint64_t number = 0;  // of the newest record of anybody
  bool by_others = false;
  Version after;
};

}  // namespace

Result<std::vector<std::shared_ptr<Restoring>>> Service::Impl::plan_undo(const std::string& client,
                                                                         WallNs since) const {
  std::unordered_map<std::uint64_t, Traces> traces;
  auto ok = history->read(0, [&](const Kept& kept) {
    if (kept.when < since) return true;
    const auto it = traces.find(kept.entry.value);
    const bool theirs = kept.client_name == client;
    if (it == traces.end()) {
      if (theirs) traces.emplace(kept.entry.value, Traces{kept, kept.number, false, kept.after});
      return true;
    }
    it->second.number = kept.number;
    it->second.by_others = it->second.by_others || !theirs;
    it->second.after = kept.after;
    return true;
  });
  if (!ok) return pass(ok.error());
  std::vector<std::shared_ptr<Restoring>> out;
  for (auto& [id, trace] : traces) {
    auto task = std::make_shared<Restoring>();
    task->kept = std::move(trace.first);
    task->path = task->kept.path;
    task->beside = true;
    const NodeId entry{task->kept.entry.value};
    auto spots = tree->spots(entry);
    auto now = tree->entry(entry);
    if (spots && !spots->empty() && now && !task->kept.file.empty()) {
      const bool untouched_since = !trace.by_others && now->content_version == trace.after;
      task->beside = !untouched_since;
      if (untouched_since) task->path = path_of(spots->front());
    }
    out.push_back(std::move(task));
  }
  // Folders before what was in them, so that they come back with their modes.
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) {
    return std::tie(a->path, a->kept.number) < std::tie(b->path, b->kept.number);
  });
  // Where several stood in turn, the first one is what the client found.
  out.erase(std::unique(out.begin(), out.end(),
                        [](const auto& a, const auto& b) { return a->path == b->path; }),
            out.end());
  return out;
}

/// A deleted folder with what went with it: what the same client deleted beneath it, back to the
/// first longer pause.
void Service::Impl::restore_tree(const Kept& folder, std::function<void(Result<Receipt>)> then) {
  std::vector<Kept> with;
  auto ok = history->read(0, [&](const Kept& kept) {
    if (kept.number >= folder.number) return false;
    const bool beneath = kept.path.rfind(folder.path + "/", 0) == 0;
    if (kept.deleted && kept.client == folder.client && beneath) with.push_back(kept);
    return true;
  });
  if (!ok) return then(pass(ok.error()));
  auto undoing = std::make_shared<Undoing>();
  std::set<std::string> paths;
  WallNs last = folder.when;
  with.push_back(folder);
  for (auto it = with.rbegin(); it != with.rend() && last - it->when <= kRunGap; ++it) {
    last = it->when;
    if (!paths.insert(it->path).second) continue;
    auto task = std::make_shared<Restoring>();
    task->kept = std::move(*it);
    task->path = task->kept.path;
    task->beside = true;
    undoing->waiting.push_back(std::move(task));
  }
  undoing->then = [this, path = folder.path, then](const Result<UndoReport>& report) {
    if (!report) return then(pass(report.error()));
    if (!report->failed.empty()) {
      return then(fail(proto::Errc::busy,
                       report->failed.front().first + ": " + report->failed.front().second));
    }
    Receipt receipt;
    receipt.sequence = durable;
    then(receipt);
  };
  undo_more(undoing);
}

void Service::Impl::undo(const std::string& client, WallNs since,
                         std::function<void(Result<UndoReport>)> then) {
  if (options.read_only) return then(fail(proto::Errc::read_only));
  auto tasks = plan_undo(client, since);
  if (!tasks) return then(pass(tasks.error()));
  auto undoing = std::make_shared<Undoing>();
  undoing->then = std::move(then);
  undoing->waiting.assign(tasks->begin(), tasks->end());
  undo_more(undoing);
}

void Service::Impl::undo_more(const std::shared_ptr<Undoing>& undoing) {
  while (!undoing->waiting.empty() && undoing->under_way < kAtOnce) {
    auto task = undoing->waiting.front();
    undoing->waiting.pop_front();
    ++undoing->under_way;
    task->then = [this, undoing, weak = std::weak_ptr(task)](const Result<Receipt>& done) {
      const auto ended = weak.lock();
      --undoing->under_way;
      auto& report = undoing->report;
      if (!done) {
        report.failed.emplace_back(ended->kept.path, done.error().message());
      } else {
        ++report.restored;
        if (ended->count > 0) report.beside.push_back(ended->path);
      }
      undo_more(undoing);
    };
    restore(task);
  }
  if (undoing->waiting.empty() && undoing->under_way == 0 && undoing->then) {
    std::exchange(undoing->then, nullptr)(std::move(undoing->report));
  }
}

}  // namespace ebb::server
