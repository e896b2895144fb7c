// Mutations: in the order of their arrival, in batches that share their syncs.  A batch: check
// everything against the record; intents into the database; on the executor: contents and then
// intents to disk, the changes one by one, the folders to disk; the record; the record to disk;
// then the answers.
#include <algorithm>

#include "base/log.h"
#include "server/core/service_impl.h"

namespace ebb::server {

using proto::Errc;
using proto::MutationKind;

namespace {

constexpr std::size_t kFoldersSynced = 8;  // up to so many are synced one by one

using Batch = std::vector<std::shared_ptr<Mutation>>;

Result<> sync_contents(Depot& depot, const Batch& batch) {
  std::vector<StagedFile*> files;
  bool staged = false;
  for (const auto& mutation : batch) {
    staged = staged || mutation->intent.staging != 0;
    if (mutation->push && mutation->push->file) files.push_back(mutation->push->file.get());
    if (mutation->file) files.push_back(mutation->file.get());
  }
  if (files.size() > kSyncEach) return depot.sync_all();
  for (auto* file : files) {
    if (auto ok = file->sync(); !ok) return ok;
  }
  return staged ? depot.sync_staged() : Result<>();
}

Result<> sync_names(Depot& depot, const Batch& batch) {
  std::map<std::string, FolderRef> folders;
  bool staging = false;
  for (const auto& mutation : batch) {
    if (!mutation->landed) continue;
    const auto& plan = mutation->plan;
    staging = staging || mutation->intent.staging != 0 || mutation->landed->kept;
    // By path alone: a change before it in this batch may have moved nothing above it.
    folders.emplace(plan.at.folder.path, FolderRef{plan.at.folder.path, {}});
    if (!plan.to.name.empty()) {
      folders.emplace(plan.to.folder.path, FolderRef{plan.to.folder.path, {}});
    }
    for (const auto& other : plan.others) {
      folders.emplace(other.folder.path, FolderRef{other.folder.path, {}});
    }
    // Attributes lie in the inode, which the folder's sync need not write.
    if (mutation->intent.deed == Deed::set_attributes) return depot.sync_all();
  }
  if (folders.size() > kFoldersSynced) return depot.sync_all();
  for (const auto& [path, folder] : folders) {
    if (auto ok = depot.sync_folder(folder); !ok) return ok;
  }
  return staging ? depot.sync_staged() : Result<>();
}

/// Attributes that could be set in part only are our doing, and no change of the content.
void look_at_part(Depot& depot, Mutation& mutation) {
  if (mutation.intent.deed != Deed::set_attributes) return;
  auto facts = depot.stat(mutation.plan.at);
  if (facts && same_content(*facts, mutation.plan.seen)) mutation.left = std::move(*facts);
}

/// The executor's part.  An error leaves every intent undone.
Result<> perform_all(Depot& depot, store::Store& store, Batch& batch) {
  auto ok = sync_contents(depot, batch);
  if (ok) ok = store.sync();
  if (!ok) return ok;
  for (auto& mutation : batch) {
    auto landed = perform(depot, mutation->intent, mutation->plan);
    if (landed) {
      mutation->landed = std::move(*landed);
    } else {
      mutation->error = landed.error();
      if (landed.error().code == Errc::lost) break;
      look_at_part(depot, *mutation);
    }
    if (mutation->push) mutation->push->file.reset();
    mutation->file.reset();
  }
  return sync_names(depot, batch);
}

bool unsure(const Batch& batch) {
  return std::any_of(batch.begin(), batch.end(), [](const auto& mutation) {
    return mutation->error && mutation->error->code == Errc::lost;
  });
}

}  // namespace

// ---- what comes in

Result<std::shared_ptr<Mutation>> Service::Impl::mutation_of(const Peer& peer,
                                                             proto::Mutate request) {
  auto out = std::make_shared<Mutation>();
  out->peer = peer.id;
  out->ready = true;
  auto& intent = out->intent;
  intent.client = peer.client;
  intent.operation = request.operation.id;
  intent.answered = request.operation.answered;
  intent.entry = NodeId{request.entry.value};
  intent.other = NodeId{request.other.value};
  intent.from_folder = NodeId{request.from.folder.value};
  intent.from_name = request.from.name;
  intent.folder = NodeId{request.place.folder.value};
  intent.name = request.place.name;
  intent.bits = request.attribute_bits;
  intent.attributes = std::move(request.attributes);
  switch (request.kind) {
    case MutationKind::make_folder:
    case MutationKind::make_symlink:
      intent.deed = Deed::land_new;
      break;
    case MutationKind::link:
      intent.deed = Deed::link;
      break;
    case MutationKind::rename:
      intent.deed = Deed::rename;
      break;
    case MutationKind::exchange:
      intent.deed = Deed::exchange;
      break;
    case MutationKind::remove:
      intent.deed = Deed::remove;
      out->seen = {request.content_version, Version{}};
      break;
    case MutationKind::set_attributes:
      intent.deed = Deed::set_attributes;
      out->seen.attributes = request.attributes_version;
      break;
    default:
      return fail(Errc::bad_request, "an unknown kind of mutation");
  }
  if (intent.deed != Deed::set_attributes && intent.deed != Deed::land_new) intent.bits = 0;
  if (!intent.operation) return fail(Errc::bad_request, "an operation needs an id");
  if (peer.read_only) return fail(Errc::read_only);
  return out;
}

void Service::Impl::mutate(Peer& peer, Session session, proto::Mutate request) {
  if (session_taken(peer, session)) {
    return refuse(peer, session, {Errc::bad_request, "the session is in use"});
  }
  if (peer.mutations >= kMutationsMax) return refuse(peer, session, {Errc::busy, ""});
  auto made = mutation_of(peer, request);
  if (!made) {
    proto::MutateResponse out;
    out.code = errc_of(made.error());
    out.sentence = made.error().detail;
    return reply(peer, session, std::move(out));
  }
  (*made)->session = session;
  if ((*made)->intent.deed == Deed::land_new) stage(*made, request);
  enqueue(std::move(*made));
}

/// A folder or symlink is made in staging first, so that it appears under its name with its
/// attributes on.
void Service::Impl::stage(const std::shared_ptr<Mutation>& mutation, const proto::Mutate& request) {
  auto known = receipts->find(mutation->intent.client, mutation->intent.operation);
  if (!known || *known) return;  // answered from the receipt when its turn comes
  // What would be refused now is not staged; the checks are made again when its turn has come.
  if (!plan(*tree, mutation->intent)) return;
  mutation->ready = false;
  const std::uint64_t number = next_staging++;
  auto outcome = std::make_shared<Result<Facts>>();
  work(
      [depot = &seams.depot, outcome, number, kind = request.kind, target = request.target,
       bits = request.attribute_bits, attributes = mutation->intent.attributes] {
        *outcome = kind == MutationKind::make_folder
                       ? depot->stage_folder(number, bits, attributes)
                       : depot->stage_symlink(number, target, bits, attributes);
        if (!*outcome) (void)depot->unstage(number);
      },
      [mutation, outcome, number] {
        mutation->ready = true;
        if (*outcome) {
          mutation->intent.staging = number;
          mutation->intent.staged = (*outcome)->identity;
        } else {
          mutation->error = outcome->error();
        }
      });
}

void Service::Impl::enqueue(std::shared_ptr<Mutation> mutation) {
  if (Peer* peer = find(mutation->peer)) ++peer->mutations;
  queue.push_back(std::move(mutation));
}

// ---- a batch

/// Takes what may go together: for each peer what is ready, in order, up to the first that touches
/// what one before it changes.
std::vector<std::shared_ptr<Mutation>> Service::Impl::gather() {
  Batch batch;
  std::set<PeerId> held;
  std::set<NodeId> entries;
  std::set<std::pair<NodeId, std::string>> names;
  std::deque<std::shared_ptr<Mutation>> rest;
  bool closed = false;
  for (auto& mutation : queue) {
    const auto& intent = mutation->intent;
    const bool touched_already =
        (intent.entry && entries.count(intent.entry) != 0) ||
        (intent.other && entries.count(intent.other) != 0) ||
        names.count({intent.folder, intent.name}) != 0 ||
        (intent.from_folder && names.count({intent.from_folder, intent.from_name}) != 0);
    // The same push again, while the first one lands: it waits for that one's receipt.
    const bool waits = mutation->push && mutation->push->duplicate &&
                       landing.count({intent.client, intent.operation}) != 0;
    if (closed || waits || !mutation->ready || held.count(mutation->peer) != 0 || touched_already ||
        batch.size() >= kBatchMax) {
      held.insert(mutation->peer);
      rest.push_back(std::move(mutation));
      continue;
    }
    if (intent.entry) entries.insert(intent.entry);
    if (intent.other) entries.insert(intent.other);
    if (intent.folder) names.insert({intent.folder, intent.name});
    if (intent.from_folder) names.insert({intent.from_folder, intent.from_name});
    // A folder that moves or goes changes the paths of what comes after it.
    auto node = store->node(intent.entry);
    const bool moves =
        intent.deed == Deed::rename || intent.deed == Deed::exchange || intent.deed == Deed::remove;
    auto other = store->node(intent.other);
    if (moves && ((node && node->is_folder()) || (other && other->is_folder()))) closed = true;
    batch.push_back(std::move(mutation));
  }
  queue = std::move(rest);
  return batch;
}

/// False: answered already, from a receipt or with a refusal.
bool Service::Impl::prepare(const std::shared_ptr<Mutation>& mutation) {
  auto known = receipts->find(mutation->intent.client, mutation->intent.operation);
  if (!known) {
    mutation->error = known.error();
    return false;
  }
  if (*known) {
    mutation->receipt = **known;
    mutation->error.reset();
    return false;
  }
  if (mutation->error) return false;
  if (mutation->push && mutation->push->duplicate) {
    // The one that was landing did not: the client asks again.
    mutation->error = Error{Errc::busy, ""};
    return false;
  }
  if (mutation->push && mutation->push->twin && !still_twin(*mutation)) {
    mutation->error = Error{Errc::busy, "the name is another entry now"};
    return false;
  }
  if (auto ok = check_versions(*tree, mutation->intent, mutation->seen); !ok) {
    mutation->error = ok.error();
    return false;
  }
  if (auto full = history_refusal(mutation->intent)) {
    mutation->error = std::move(*full);
    history_short = true;
    return false;
  }
  auto planned = plan(*tree, mutation->intent);
  if (!planned) {
    mutation->error = planned.error();
    return false;
  }
  if (mutation->intent.deed == Deed::land_new && mutation->intent.staging == 0) {
    // Refused when it came, possible now: the client asks again.
    mutation->error = Error{Errc::busy, ""};
    return false;
  }
  mutation->plan = std::move(*planned);
  return true;
}

void Service::Impl::start_batch() {
  if (batch_running || queue.empty() || broken) return;
  Batch candidates = gather();
  if (candidates.empty()) return;
  Batch batch;
  std::vector<std::shared_ptr<Mutation>> answered;
  store::Transaction tx(*store);
  Result<> ok;
  for (auto& mutation : candidates) {
    if (!prepare(mutation)) {
      answered.push_back(mutation);
      continue;
    }
    if (ok) ok = save_intent(tx, mutation->intent);
    batch.push_back(std::move(mutation));
  }
  if (ok && !batch.empty()) ok = tx.commit();
  if (dirty || syncing) {
    // A receipt is told only when it cannot be taken back any more.
    after_sync([this, answered](bool synced) {
      for (const auto& mutation : answered) {
        if (synced) answer(mutation);
      }
    });
  } else {
    for (const auto& mutation : answered) answer(mutation);
  }
  if (!ok) {
    for (const auto& mutation : batch) {
      mutation->error = ok.error();
      mutation->intent.sequence = 0;
      answer(mutation);
    }
    return;
  }
  if (batch.empty()) return;
  batch_running = true;
  ++batches_begun;
  const auto changes = [this](NodeId folder) {
    changed_in[folder] = batches_begun;
    not_current(folder);
  };
  for (const auto& mutation : batch) {
    for (const auto folder : {mutation->intent.folder, mutation->intent.from_folder}) {
      if (folder) changes(folder);
    }
    if (auto names = store->names_of(mutation->intent.entry)) {
      for (const auto& name : *names) changes(name.folder);
    }
  }
  auto outcome = std::make_shared<Result<>>();
  auto shared = std::make_shared<Batch>(std::move(batch));
  work(
      [depot = &seams.depot, weak = std::weak_ptr(store), outcome, shared] {
        if (auto open = weak.lock()) *outcome = perform_all(*depot, *open, *shared);
      },
      [this, outcome, shared] { batch_performed(std::move(*shared), std::move(*outcome)); });
}

Result<> Service::Impl::account_all(Batch& batch) {
  store::Transaction tx(*store);
  for (auto& mutation : batch) {
    if (!mutation->landed) {
      if (auto ok = erase_intent(tx, *store, mutation->intent.sequence); !ok) return ok;
      if (!mutation->left) continue;
      if (auto ok = tree->observe(tx, mutation->intent.entry, *mutation->left, true); !ok)
        return ok;
      continue;
    }
    auto receipt = account(tx, books(), mutation->intent, mutation->plan, *mutation->landed);
    if (!receipt) return pass(receipt.error());
    if (auto ok = note_deletions(tx, *mutation); !ok) return ok;
    mutation->receipt = *receipt;
    if (auto ok = receipts->forget(tx, mutation->intent.client, mutation->intent.answered); !ok) {
      return ok;
    }
  }
  for (const auto& [client, operation] : finished_ops) {
    if (auto ok = receipts->forget_one(tx, client, operation); !ok) return ok;
  }
  finished_ops.clear();
  return tx.commit();
}

void Service::Impl::batch_performed(Batch batch, Result<> outcome) {
  const bool none_landed = std::none_of(batch.begin(), batch.end(),
                                        [](const auto& mutation) { return mutation->landed; });
  if (unsure(batch) || (!outcome && !none_landed)) {
    // Changes are on the disk that the record does not have: only a recovery can tell.
    const bool named = !outcome;
    return give_up(named ? outcome.error()
                         : Error{Errc::io, "a change of the tree failed half way"});
  }
  for (auto& mutation : batch) {
    if (!outcome && !mutation->error) mutation->error = outcome.error();
  }
  if (!outcome) {
    for (const auto& mutation : batch) {
      unstage(*mutation);
    }
  }
  if (auto ok = account_all(batch); !ok) return give_up(ok.error());
  dirty = true;
  batch_running = false;
  batches_ended = batches_begun;
  if (readings.empty() && !looking) changed_in.clear();
  if (history->bytes() > options.history_max) expire_history(options.history_max);
  for (auto& [folder, reading] : readings) {
    if (std::exchange(reading.behind_batch, false)) read_folder(folder);
  }
  for (const auto& mutation : batch) {
    const bool surprised = mutation->landed && !mutation->landed->conflict_name.empty();
    if (surprised) {
      log_warn("another program changed {} while it was replaced: kept as {}",
               mutation->plan.at.name, mutation->landed->conflict_name);
    }
    // The record was behind the disk here.
    if (mutation->error || surprised) {
      if (mutation->intent.entry) refresh_entry(mutation->intent.entry, [] {});
      if (mutation->intent.folder) refresh(mutation->intent.folder, [](Result<>) {});
    }
  }
  after_sync([this, batch = std::move(batch)](bool ok) {
    if (!ok) return;
    for (const auto& mutation : batch) answer(mutation);
  });
}

// ---- answers

void Service::Impl::answer(const std::shared_ptr<Mutation>& mutation) {
  if (mutation->receipt) ++mutations_done;
  if (mutation->error) {
    const Errc code = errc_of(*mutation->error);
    if (code == Errc::moved_on || code == Errc::exists) ++conflicts;
    if (code == Errc::no_space) make_room();
  }
  if (mutation->push && !mutation->push->duplicate) {
    landing.erase({mutation->intent.client, mutation->intent.operation});
  }
  if (mutation->then) mutation->then(*mutation);
  if (Peer* peer = find(mutation->peer)) {
    peer->mutations -= std::min<std::size_t>(peer->mutations, 1);
    mutation->push ? answer_push(*peer, *mutation) : answer_mutate(*peer, *mutation);
  }
  // Refused, or answered from the receipt of an earlier time: nothing of it landed.
  if (mutation->intent.sequence == 0) unstage(*mutation);
}

void Service::Impl::unstage(const Mutation& mutation) {
  if (mutation.push) return discard(mutation.push);
  if (mutation.intent.staging == 0) return;
  work([depot = &seams.depot, number = mutation.intent.staging] { (void)depot->unstage(number); },
       [] {});
}

void Service::Impl::answer_push(Peer& peer, const Mutation& mutation) {
  if (mutation.push->dropped) return;
  proto::FileSyncCheckHashResponse out;
  if (mutation.receipt) {
    const auto& receipt = *mutation.receipt;
    out = {Errc::ok,
           "",
           receipt.entry,
           receipt.content_version,
           receipt.attributes_version,
           receipt.hash,
           receipt.sequence};
    peer.answered[mutation.session] = mutation.intent.operation;
    if (peer.answered.size() > kAnsweredMax) peer.answered.erase(peer.answered.begin());
  } else {
    out.code = errc_of(*mutation.error);
    out.sentence = mutation.error->detail;
  }
  reply(peer, mutation.session, std::move(out));
  peer.pushes.erase(mutation.session);
}

void Service::Impl::answer_mutate(Peer& peer, const Mutation& mutation) {
  proto::MutateResponse out;
  if (mutation.receipt) {
    const auto& receipt = *mutation.receipt;
    out = {Errc::ok,        "", receipt.entry, receipt.content_version, receipt.attributes_version,
           receipt.sequence};
  } else {
    out.code = errc_of(*mutation.error);
    out.sentence = mutation.error->detail;
  }
  reply(peer, mutation.session, std::move(out));
}

}  // namespace ebb::server
