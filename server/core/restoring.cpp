// Kept versions come back: as changes like any other, through the same queue of mutations.
//
// A restore walks down from the root by names, makes the folders that are missing, and lands a copy
// of what is kept.  The kept one stays.
#include <algorithm>
#include <cerrno>

#include "base/conflict_name.h"
#include "base/hash.h"
#include "base/log.h"
#include "server/core/history.h"
#include "server/core/service_impl.h"

namespace ebb::server {

using proto::EntryKind;
using proto::Errc;

namespace {

constexpr int kTries = 5;  // another program, or another client, may be at the same place
constexpr std::size_t kCopyStep = 1u << 20;
constexpr int kBesideMax = 100;

/// A kept version as a new one in staging.
struct Copy {
  std::shared_ptr<StagedFile> file;  // none of a symlink
  Identity staged;
  std::uint64_t hash = 0;
};

Result<std::uint64_t> hash_of(StagedFile& file, std::uint64_t size) {
  Xxh3Stream hash;
  Bytes buffer(std::min<std::uint64_t>(kCopyStep, size));
  for (std::uint64_t at = 0; at < size;) {
    auto n = file.read_at(at, buffer);
    if (!n) return pass(n.error());
    if (*n == 0) return fail(Errc::io, "a kept version is too short");
    hash.update(ByteView(buffer).first(*n));
    at += *n;
  }
  return hash.digest();
}

Result<Copy> copy_file(Depot& depot, const std::string& name, const Facts& facts,
                       std::uint64_t number) {
  auto kept = depot.open_kept(name);
  if (!kept) return pass(kept.error());
  auto file = depot.stage_file(number);
  if (!file) return pass(file.error());
  Copy copy;
  copy.file = std::move(*file);
  if (facts.size != 0) {
    auto ok = copy.file->copy_from(**kept, {0, facts.size}, 0);
    if (!ok) return pass(ok.error());
  }
  if (auto ok = copy.file->resize(facts.size); !ok) return pass(ok.error());
  if (auto ok = copy.file->inherit(**kept); !ok) return pass(ok.error());
  auto ok = copy.file->set_attributes(proto::kMtime, facts.attributes);
  if (!ok) return pass(ok.error());
  auto hash = hash_of(*copy.file, facts.size);
  if (!hash) return pass(hash.error());
  copy.hash = *hash;
  auto staged = copy.file->facts();
  if (!staged) return pass(staged.error());
  copy.staged = std::move(staged->identity);
  return copy;
}

Result<Copy> copy_kept(Depot& depot, const std::string& name, std::uint64_t number) {
  auto facts = depot.stat_kept(name);
  if (!facts) return fail(Errc::not_found, "the kept version is no more");
  if (facts->kind == EntryKind::file) {
    auto copy = copy_file(depot, name, *facts, number);
    if (!copy) (void)depot.unstage(number);
    return copy;
  }
  auto staged = depot.stage_symlink(number, facts->target, proto::kMtime, facts->attributes);
  if (!staged) return pass(staged.error());
  Copy copy;
  copy.staged = std::move(staged->identity);
  return copy;
}

bool try_again(const Error& error) {
  return error.code == Errc::moved_on || error.code == Errc::exists || error.code == Errc::busy ||
         error.code == Errc::not_found || is_errno(error, ENOENT) || is_errno(error, EEXIST);
}

std::string parent_of(const std::string& path) {
  const auto slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, slash + 1);
}

}  // namespace

void Service::Impl::restore(std::shared_ptr<Restoring> task) {
  restore_in(task, kRootNode, 0);
}

/// From a folder on the way down; `at` is where in the path the next name begins.
void Service::Impl::restore_in(const std::shared_ptr<Restoring>& task, NodeId folder,
                               std::size_t at) {
  for (auto end = task->path.find('/', at); end != std::string::npos;
       end = task->path.find('/', at)) {
    auto next = tree->child(folder, task->path.substr(at, end - at));
    auto node = next && *next ? store->node(*next) : Result<store::Node>(fail_errno(ENOENT, ""));
    if (!node || !node->is_folder()) {
      return refresh(folder, [this, task, folder, at, end](Result<> ok) {
        if (!ok) return restore_failed(task, ok.error());
        restore_folder(task, folder, at, end);
      });
    }
    folder = *next;
    at = end + 1;
  }
  refresh(folder, [this, task, folder, at](Result<> ok) {
    if (!ok) return restore_failed(task, ok.error());
    restore_leaf(task, folder, task->path.substr(at));
  });
}

/// A folder on the way that was not known a moment ago: made, unless it is there after all.
void Service::Impl::restore_folder(const std::shared_ptr<Restoring>& task, NodeId folder,
                                   std::size_t at, std::size_t end) {
  const std::string name = task->path.substr(at, end - at);
  auto there = tree->child(folder, name);
  if (!there) return restore_failed(task, there.error());
  if (*there) {
    auto node = store->node(*there);
    if (!node || !node->is_folder()) {
      return restore_failed(task, {Errc::not_folder, task->path.substr(0, end)});
    }
    return restore_in(task, *there, end + 1);
  }
  std::uint32_t mode = 0755;
  if (auto former = history->of_path(task->path.substr(0, end), 1); former && !former->empty()) {
    if (former->front().kind == EntryKind::folder) mode = former->front().mode;
  }
  make_own_folder(folder, name, mode, [this, task, end](const Mutation& done) {
    if (done.error) return restore_failed(task, *done.error);
    restore_in(task, NodeId{done.receipt->entry.value}, end + 1);
  });
}

void Service::Impl::make_own_folder(NodeId folder, const std::string& name, std::uint32_t mode,
                                    std::function<void(const Mutation&)> then) {
  auto made = std::make_shared<Mutation>();
  made->ready = true;
  made->then = std::move(then);
  made->intent.deed = Deed::land_new;
  made->intent.folder = folder;
  made->intent.name = name;
  made->intent.attributes.mode = mode;
  proto::Mutate request;
  request.kind = proto::MutationKind::make_folder;
  request.attribute_bits = proto::kMode;
  stage(made, request);
  enqueue(std::move(made));
}

void Service::Impl::restore_leaf(const std::shared_ptr<Restoring>& task, NodeId folder,
                                 const std::string& name) {
  auto there = tree->child(folder, name);
  if (!there) return restore_failed(task, there.error());
  std::optional<proto::Entry> entry;
  if (*there) {
    auto found = tree->entry(*there);
    if (!found) return restore_failed(task, found.error());
    entry = std::move(*found);
  }
  const auto& kept = task->kept;
  if (kept.kind == EntryKind::folder) {
    if (entry && entry->kind == EntryKind::folder) {
      return task->then(
          Receipt{entry->id, entry->content_version, entry->attributes_version, 0, Seq{}});
    }
    if (entry) return restore_failed(task, {Errc::exists, task->path});
    return make_own_folder(folder, name, kept.mode,
                           [this, task](const Mutation& done) { restored(task, done); });
  }
  if (entry && task->beside) return restore_beside(task);
  if (entry && entry->kind == EntryKind::folder) {
    return restore_failed(task, {Errc::is_folder, task->path});
  }
  if (kept.file.empty()) return restore_link(task, folder, name, entry.has_value());
  if (entry && (entry->kind != EntryKind::file || kept.kind != EntryKind::file)) {
    return restore_instead(task, folder, name, *entry);
  }
  restore_land(task, folder, name, entry);
}

/// The name is somebody else's by now: what is kept comes back under another one next to it.
void Service::Impl::restore_beside(const std::shared_ptr<Restoring>& task) {
  if (++task->count > kBesideMax) return restore_failed(task, {Errc::exists, task->path});
  const std::string parent = parent_of(task->kept.path);
  const std::string name = task->kept.path.substr(parent.size());
  task->path = parent + conflict_name(name, "undo", seams.clock.wall(), task->count);
  restore(task);
}

/// Only a name had gone; the content is still there under another one.
void Service::Impl::restore_link(const std::shared_ptr<Restoring>& task, NodeId folder,
                                 const std::string& name, bool taken) {
  auto made = std::make_shared<Mutation>();
  made->ready = true;
  made->intent.deed = Deed::link;
  made->intent.client = task->client;
  made->intent.entry = NodeId{task->kept.entry.value};
  made->intent.folder = folder;
  made->intent.name = name;
  if (taken) return restore_failed(task, {Errc::exists, task->path});
  made->then = [this, task](const Mutation& done) { restored(task, done); };
  enqueue(std::move(made));
}

/// A symlink where a file was, or the reverse: it goes to history first.
void Service::Impl::restore_instead(const std::shared_ptr<Restoring>& task, NodeId folder,
                                    const std::string& name, const proto::Entry& entry) {
  auto made = std::make_shared<Mutation>();
  made->ready = true;
  made->intent.deed = Deed::remove;
  made->intent.client = task->client;
  made->intent.entry = NodeId{entry.id.value};
  made->intent.from_folder = folder;
  made->intent.from_name = name;
  made->seen.content = entry.content_version;
  made->then = [this, task](const Mutation& done) {
    done.error ? restore_failed(task, *done.error) : restore(task);
  };
  enqueue(std::move(made));
}

void Service::Impl::restore_land(const std::shared_ptr<Restoring>& task, NodeId folder,
                                 const std::string& name, const std::optional<proto::Entry>& over) {
  auto made = std::make_shared<Mutation>();
  made->intent.deed = over ? Deed::land_over : Deed::land_new;
  made->intent.client = task->client;
  if (over) {
    made->intent.entry = NodeId{over->id.value};
    made->seen.content = over->content_version;
  } else {
    made->intent.folder = folder;
    made->intent.name = name;
  }
  made->then = [this, task](const Mutation& done) { restored(task, done); };
  const std::uint64_t number = next_staging++;
  auto copied = std::make_shared<Result<Copy>>();
  work([depot = &seams.depot, copied, file = task->kept.file,
        number] { *copied = copy_kept(*depot, file, number); },
       [this, task, made, copied, number] {
         if (!*copied) return restore_failed(task, copied->error());
         made->file = std::move((*copied)->file);
         made->intent.staging = number;
         made->intent.staged = std::move((*copied)->staged);
         made->intent.hash = (*copied)->hash;
         made->ready = true;
         enqueue(made);
       });
}

void Service::Impl::restored(const std::shared_ptr<Restoring>& task, const Mutation& done) {
  done.error ? restore_failed(task, *done.error) : task->then(*done.receipt);
}

void Service::Impl::restore_failed(const std::shared_ptr<Restoring>& task, const Error& error) {
  if (!try_again(error) || ++task->tries > kTries) return task->then(pass(error));
  restore(task);
}

// ---- what clients ask for

namespace {

/// Names from the root, each of them one that could be served.
bool served_path(const std::string& path) {
  if (path.empty() || !proto::valid_path(path)) return false;
  return path != kOwnFolder && path.rfind(std::string(kOwnFolder) + "/", 0) != 0;
}

}  // namespace

/// Newest first: of the entry wherever it was, and of the path whatever stood there.
Result<std::vector<Kept>> Service::Impl::kept_of(const Peer& peer, EntryId entry,
                                                 const std::string& path) const {
  if (!path.empty() && !served_path(path)) return fail(Errc::bad_name, path);
  std::vector<Kept> all;
  if (entry) {
    auto found = history->of_entry(entry, kVersionsMax);
    if (!found) return found;
    all = std::move(*found);
  }
  auto found = history->of_path(path, kVersionsMax);
  if (!found) return found;
  for (auto& kept : *found) {
    if (!entry || kept.entry != entry) all.push_back(std::move(kept));
  }
  std::erase_if(all, [&](const Kept& kept) { return !peer.view.shows(kept.path); });
  std::sort(all.begin(), all.end(),
            [](const Kept& a, const Kept& b) { return a.number > b.number; });
  if (all.size() > kVersionsMax) all.resize(kVersionsMax);
  return all;
}

void Service::Impl::tell_history(Peer& peer, Session session, const proto::History& request) {
  auto all = kept_of(peer, request.entry, request.path);
  if (!all) return refuse(peer, session, all.error());
  proto::HistoryPage page;
  std::size_t used = 0;
  for (const auto& kept : *all) {
    proto::KeptVersion version{kept.version, kept.kind,   kept.deleted,     kept.size, kept.mtime,
                               kept.when,    kept.client, kept.client_name, kept.path};
    used += 128 + kept.path.size() + kept.client_name.size();
    page.versions.push_back(std::move(version));
    if (used < proto::kListPageBytes) continue;
    reply(peer, session, std::exchange(page, {}));
    used = 0;
  }
  page.end = true;
  reply(peer, session, std::move(page));
}

void Service::Impl::restore_for(Peer& peer, Session session, const proto::Restore& request) {
  const auto answer = [this, who = peer.id, session](const Result<Receipt>& done) {
    Peer* waiting = find(who);
    if (waiting == nullptr) return;
    waiting->requests -= std::min<std::size_t>(waiting->requests, 1);
    if (!done) return refuse(*waiting, session, done.error());
    reply(*waiting, session,
          proto::RestoreResponse{done->entry, done->content_version, done->sequence});
  };
  if (peer.requests >= kRequestsMax) return refuse(peer, session, {Errc::busy, ""});
  ++peer.requests;
  if (peer.read_only) return answer(fail(Errc::read_only));
  auto all = kept_of(peer, request.entry, request.path);
  if (!all) return answer(pass(all.error()));
  const auto wanted = std::find_if(all->begin(), all->end(), [&](const Kept& kept) {
    return !request.version || kept.version == request.version;
  });
  if (wanted == all->end()) return answer(fail(Errc::not_found, "no such version is kept"));
  if (wanted->kind == EntryKind::folder) return restore_tree(*wanted, answer);
  auto task = std::make_shared<Restoring>();
  task->kept = std::move(*wanted);
  task->client = peer.client;
  task->path = request.path.empty() ? task->kept.path : request.path;
  // The entry may be elsewhere by now than the client knows, or than it was then.
  if (request.entry) {
    auto spots = tree->spots(NodeId{request.entry.value});
    if (spots && !spots->empty()) task->path = path_of(spots->front());
  }
  task->then = answer;
  restore(task);
}

}  // namespace ebb::server
