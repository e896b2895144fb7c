#include "server/core/deeds.h"

#include <cerrno>

#include "proto/errors.h"

namespace ebb::server {

using proto::EntryKind;
using proto::Errc;
using store::Table;

namespace {

/// Staging numbers of links on their way: beside those of contents, which count up from one.
constexpr std::uint64_t kLinkStaging = std::uint64_t{1} << 63;

Result<EntryKind> kind_of(const Tree& tree, NodeId id) {
  auto facts = tree.facts(id);
  if (!facts) return fail(Errc::not_found, "the entry is no more");
  return facts->kind;
}

Result<> check_folder(const Tree& tree, NodeId id) {
  auto kind = kind_of(tree, id);
  if (!kind) return pass(kind.error());
  if (*kind != EntryKind::folder) return fail(Errc::not_folder);
  return {};
}

/// A name that nothing holds, in a folder.
Result<Spot> free_spot(const Tree& tree, NodeId folder, const std::string& name) {
  if (auto ok = check_folder(tree, folder); !ok) return pass(ok.error());
  auto spot = tree.spot(folder, name);
  if (!spot) return fail(Errc::not_found, "the folder is no more");
  if (name.empty()) return fail(Errc::bad_name, "a name must not be empty");
  if (auto ok = check_spot(*spot); !ok) return pass(ok.error());
  auto taken = tree.child(folder, name);
  if (!taken) return pass(taken.error());
  if (*taken) return fail(Errc::exists, name);
  return spot;
}

/// A name that must hold this entry.
Result<Spot> spot_of(const Tree& tree, NodeId folder, const std::string& name, NodeId entry) {
  auto there = tree.child(folder, name);
  if (!there) return pass(there.error());
  if (!*there) return fail(Errc::not_found, name);
  if (*there != entry) return fail(Errc::moved_on, name + " is another entry now");
  auto spot = tree.spot(folder, name);
  if (!spot) return fail(Errc::not_found, "the folder is no more");
  return spot;
}

/// True when `folder` is `entry` or beneath it.
bool inside(const std::string& folder, const Spot& entry) {
  const std::string path =
      entry.folder.path.empty() ? entry.name : entry.folder.path + "/" + entry.name;
  return folder == path || folder.rfind(path + "/", 0) == 0;
}

Result<Plan> plan_existing(const Tree& tree, const Intent& intent) {
  Plan out;
  auto seen = tree.facts(intent.entry);
  if (!seen) return fail(Errc::not_found, "the entry is no more");
  out.seen = std::move(*seen);
  auto spots = tree.spots(intent.entry);
  if (!spots || spots->empty()) return fail(Errc::not_found, "the entry has no name any more");
  out.at = spots->front();
  out.others.assign(spots->begin() + 1, spots->end());
  return out;
}

Result<Plan> plan_exchange(const Tree& tree, const Intent& intent, Plan out) {
  auto to = spot_of(tree, intent.folder, intent.name, intent.other);
  if (!to) return pass(to.error());
  out.to = std::move(*to);
  auto other = tree.facts(intent.other);
  if (!other) return fail(Errc::not_found);
  out.seen_other = std::move(*other);
  if (inside(out.to.folder.path, out.at) || inside(out.at.folder.path, out.to)) {
    return fail(Errc::would_cycle);
  }
  return out;
}

}  // namespace

Result<Plan> plan(const Tree& tree, const Intent& intent) {
  if (intent.deed == Deed::land_new) {
    auto spot = free_spot(tree, intent.folder, intent.name);
    if (!spot) return pass(spot.error());
    Plan out;
    out.at = std::move(*spot);
    return out;
  }
  auto out = plan_existing(tree, intent);
  if (!out) return out;
  switch (intent.deed) {
    case Deed::land_over:
      if (out->seen.kind == EntryKind::folder) return fail(Errc::is_folder);
      if (out->seen.kind != EntryKind::file) return fail(Errc::not_regular);
      return out;
    case Deed::set_attributes:
      return out;
    case Deed::link: {
      if (out->seen.kind == EntryKind::folder) return fail(Errc::is_folder);
      auto to = free_spot(tree, intent.folder, intent.name);
      if (!to) return pass(to.error());
      out->to = std::move(*to);
      return out;
    }
    default:
      break;
  }
  if (intent.entry == kRootNode) return fail(Errc::bad_request, "the root");
  auto at = spot_of(tree, intent.from_folder, intent.from_name, intent.entry);
  if (!at) return pass(at.error());
  out->at = std::move(*at);
  if (intent.deed == Deed::remove) return out;
  if (intent.deed == Deed::exchange) return plan_exchange(tree, intent, std::move(*out));
  auto to = free_spot(tree, intent.folder, intent.name);
  if (!to) return pass(to.error());
  out->to = std::move(*to);
  if (inside(out->to.folder.path, out->at)) return fail(Errc::would_cycle);
  return out;
}

Result<> check_versions(const Tree& tree, const Intent& intent, const Seen& seen) {
  if (intent.deed == Deed::land_new) return {};
  auto entry = tree.entry(intent.entry);
  if (!entry) return fail(Errc::not_found, "the entry is no more");
  const bool content = seen.content && entry->kind != EntryKind::folder;
  if (content && entry->content_version != seen.content) {
    return fail(Errc::moved_on, "the content has a newer version");
  }
  if (seen.attributes && entry->attributes_version != seen.attributes) {
    return fail(Errc::moved_on, "the attributes have a newer version");
  }
  return {};
}

// ---- the disk

namespace {

/// True when the depot's error says that the tree is as it was.
bool definite(const Error& error) {
  return error.code == Errc::moved_on || is_errno(error, EEXIST) || is_errno(error, ENOTEMPTY) ||
         is_errno(error, ENOENT) || is_errno(error, ENOTDIR);
}

/// The further names of what has landed get it, too.  One that another program changed keeps what
/// it has now, as an entry of its own.
Result<> land_links(Depot& depot, const Intent& intent, const Plan& plan, Landed& landed) {
  for (const auto& other : plan.others) {
    auto linked = depot.land_link(plan.at, other, landed.before, intent.staging | kLinkStaging,
                                  intent.sequence);
    if (!linked && !definite(linked.error())) return pass(linked.error());
    if (linked) landed.after = linked->after;
  }
  return {};
}

Result<Landed> land_over(Depot& depot, const Intent& intent, const Plan& plan) {
  auto landed = depot.land_over(intent.staging, plan.at, plan.seen, intent.sequence);
  if (!landed) return landed;
  auto linked = land_links(depot, intent, plan, *landed);
  return linked ? landed : Result<Landed>(pass(linked.error()));
}

Result<Landed> perform_step(Depot& depot, const Intent& intent, const Plan& plan) {
  switch (intent.deed) {
    case Deed::land_new:
      return depot.land_new(intent.staging, plan.at);
    case Deed::land_over:
      return land_over(depot, intent, plan);
    case Deed::link:
      return depot.link(plan.at, plan.seen.identity, plan.to);
    case Deed::rename:
      return depot.rename(plan.at, plan.seen.identity, plan.to);
    case Deed::exchange:
      return depot.exchange(plan.at, plan.seen.identity, plan.to, plan.seen_other.identity);
    case Deed::remove:
      return depot.remove(plan.at, plan.seen, intent.sequence);
    case Deed::set_attributes:
      return depot.set_attributes(plan.at, plan.seen.identity, intent.bits, intent.attributes);
  }
  return fail(Errc::bad_request);
}

/// Errors other than "nothing there" are errors: what cannot be looked at must not be taken for
/// gone.
Result<bool> stands(Depot& depot, const Spot& spot, const Identity& identity) {
  auto facts = depot.stat(spot);
  if (facts) return facts->identity == identity;
  if (is_errno(facts.error(), ENOENT) || is_errno(facts.error(), ENOTDIR) ||
      facts.error().code == Errc::not_regular) {
    return false;
  }
  return pass(facts.error());
}

/// What is in staging under the intent's number: our content goes, what an exchange brought out is
/// kept: its name in history.
Result<std::string> clear_staging(Depot& depot, const Intent& intent) {
  auto left = depot.staged(intent.staging);
  if (!left) {
    return is_errno(left.error(), ENOENT) ? Result<std::string>("") : pass(left.error());
  }
  if (left->identity != intent.staged) return depot.keep(intent.staging, intent.sequence);
  auto ok = depot.unstage(intent.staging);
  return ok ? Result<std::string>("") : pass(ok.error());
}

/// Writes down what a change that a crash cut short has put into history.
Result<> note_kept(Depot& depot, const std::string& name, Landed& done) {
  if (name.empty()) return {};
  auto facts = depot.stat_kept(name);
  if (!facts) return pass(facts.error());
  done.kept = true;
  done.kept_as = name;
  done.kept_bytes = facts->allocated;
  return {};
}

Result<std::optional<Landed>> recover_landing(Depot& depot, const Intent& intent, const Plan& plan,
                                              Landed done) {
  auto landed = stands(depot, plan.at, intent.staged);
  if (!landed) return pass(landed.error());
  auto kept = clear_staging(depot, intent);
  if (!kept) return pass(kept.error());
  if (!*landed) return std::optional<Landed>();
  if (kept->empty() && intent.deed == Deed::land_over) {
    auto found = find_kept(depot, intent.sequence, plan.seen.identity);
    if (!found) return pass(found.error());
    if (*found) *kept = std::move(**found);
  }
  if (auto ok = note_kept(depot, *kept, done); !ok) return pass(ok.error());
  if (!plan.others.empty()) {
    auto cleared = depot.unstage(intent.staging | kLinkStaging);
    if (cleared) cleared = land_links(depot, intent, plan, done);
    if (!cleared) return pass(cleared.error());
  }
  return std::optional(std::move(done));
}

/// Whether the step is done, and with what before; `after` is filled in by the caller.
Result<std::optional<Landed>> recover_step(Depot& depot, const Intent& intent, const Plan& plan) {
  Landed done;
  done.before = plan.seen;
  Result<bool> stood = true;
  switch (intent.deed) {
    case Deed::land_new:
    case Deed::land_over:
      return recover_landing(depot, intent, plan, std::move(done));
    case Deed::link:
    case Deed::rename:
      stood = stands(depot, plan.to, plan.seen.identity);
      break;
    case Deed::exchange:
      stood = stands(depot, plan.at, plan.seen_other.identity);
      break;
    case Deed::remove: {
      stood = stands(depot, plan.at, plan.seen.identity);
      if (stood) stood = !*stood;
      if (!stood || !*stood) break;
      auto found = find_kept(depot, intent.sequence, plan.seen.identity);
      if (!found) return pass(found.error());
      if (!*found) break;
      if (auto ok = note_kept(depot, **found, done); !ok) return pass(ok.error());
      break;
    }
    case Deed::set_attributes: {
      // Done again: it may have been done in part.
      auto again =
          depot.set_attributes(plan.at, plan.seen.identity, intent.bits, intent.attributes);
      if (!again) return std::optional<Landed>();
      const bool other_size = again->before.size != plan.seen.size;
      if (other_size && intent.hash != 0) return std::optional<Landed>();
      if (other_size) done.before = std::move(again->before);
    }
  }
  if (!stood) return pass(stood.error());
  return *stood ? std::optional(std::move(done)) : std::optional<Landed>();
}

}  // namespace

namespace {

/// A content that was found equal to the one that is there: only the attributes follow, and no
/// other content may have come in between.
bool adopts(const Intent& intent) {
  return intent.deed == Deed::set_attributes && intent.hash != 0;
}

}  // namespace

Result<Landed> perform(Depot& depot, const Intent& intent, const Plan& plan) {
  auto landed = perform_step(depot, intent, plan);
  if (landed && adopts(intent) && !same_content(landed->before, plan.seen)) {
    landed = fail(Errc::moved_on, "the file changed on the server");
  }
  if (landed) return landed;
  if (definite(landed.error())) {
    if (intent.staging != 0 && !clear_staging(depot, intent)) return fail(Errc::lost);
    return landed;
  }
  auto done = recover(depot, intent, plan);
  if (!done) return fail(Errc::lost, done.error().message());
  if (*done) return std::move(**done);
  return landed;
}

Result<std::optional<Landed>> recover(Depot& depot, const Intent& intent, const Plan& plan) {
  auto done = recover_step(depot, intent, plan);
  if (!done || !*done || intent.deed == Deed::remove) return done;
  const bool elsewhere =
      intent.deed == Deed::link || intent.deed == Deed::rename || intent.deed == Deed::exchange;
  auto after = depot.stat(elsewhere ? plan.to : plan.at);
  if (!after) return pass(after.error());
  (*done)->after = std::move(*after);
  if (intent.deed == Deed::exchange) {
    auto other = depot.stat(plan.at);
    if (!other) return pass(other.error());
    (*done)->other = std::move(*other);
  }
  return done;
}

// ---- the record

namespace {

/// What the server does by itself, for whomever, is nobody's operation.
Origin origin_of(const Intent& intent) {
  return intent.operation ? Origin{intent.client, intent.operation} : Origin{};
}

/// What another program had done to the entry before our step, then what our step did.
Result<> follow(store::Transaction& tx, Tree& tree, const Intent& intent, const Landed& landed) {
  auto ok = tree.observe(tx, intent.entry, landed.before, false);
  if (!ok) return ok;
  // Written to in the very moment: the record stays behind, and the next look sees the difference.
  const bool times = (intent.bits & proto::kMtime) != 0;
  if (!times && !same_content(landed.before, landed.after)) return {};
  if (auto done = tree.put(tx, intent.entry, landed.after, Version{}, Version{}); !done)
    return done;
  if (intent.deed != Deed::exchange) return {};
  return tree.observe(tx, intent.other, landed.other, true);
}

Result<Seq> account_new(store::Transaction& tx, Tree& tree, const Intent& intent,
                        const Landed& landed, NodeId& entry) {
  auto added = tree.add(tx, landed.after, Version{tx.next_sequence()});
  if (!added) return pass(added.error());
  entry = *added;
  if (intent.hash != 0 && landed.after.kind == EntryKind::file) {
    if (auto ok = tree.set_hash(tx, entry, intent.hash); !ok) return pass(ok.error());
  }
  return tree.bind(tx, intent.folder, intent.name, entry, origin_of(intent));
}

Result<Seq> account_changed(store::Transaction& tx, Tree& tree, ChangeLog& log,
                            const Intent& intent, const Landed& landed) {
  auto sequence = log.append(
      tx, {{}, proto::ChangeKind::entry_changed, intent.entry, {}, "", origin_of(intent)});
  if (!sequence) return sequence;
  const Version version{sequence->value};
  if (intent.deed == Deed::set_attributes) {
    auto ok = tree.put(tx, intent.entry, landed.after, Version{}, version);
    return ok ? sequence : Result<Seq>(pass(ok.error()));
  }
  if (auto ok = tree.put(tx, intent.entry, landed.after, version, version); !ok) {
    return pass(ok.error());
  }
  if (auto ok = tree.set_hash(tx, intent.entry, intent.hash); !ok) return pass(ok.error());
  return sequence;
}

Result<Seq> account_moved(store::Transaction& tx, Tree& tree, const Intent& intent) {
  const auto origin = origin_of(intent);
  // First the new name, then the end of the old one: nobody who follows sees the entry without a
  // name.
  auto set = tree.bind(tx, intent.folder, intent.name, intent.entry, origin);
  if (!set || intent.deed == Deed::link) return set;
  if (intent.deed == Deed::exchange) {
    return tree.bind(tx, intent.from_folder, intent.from_name, intent.other, origin);
  }
  return tree.unbind(tx, intent.from_folder, intent.from_name, origin);
}

Result<Seq> account_removed(store::Transaction& tx, store::Store& store, Tree& tree,
                            const Intent& intent) {
  auto gone = tree.unbind(tx, intent.from_folder, intent.from_name, origin_of(intent));
  if (!gone) return gone;
  auto names = store.names_of(intent.entry);
  if (!names) return pass(names.error());
  if (!names->empty()) return gone;
  auto ok = tree.drop(tx, intent.entry);
  return ok ? gone : Result<Seq>(pass(ok.error()));
}

/// What the change has put into history, or has taken away without keeping anything.
std::optional<Kept> kept_by(const Books& books, const Intent& intent, const Plan& plan,
                            const Landed& landed) {
  const bool removed = intent.deed == Deed::remove;
  if (!removed && !landed.kept) return std::nullopt;
  Kept kept;
  kept.number = intent.sequence;
  kept.path = path_of(plan.at);
  kept.kind = landed.before.kind;
  kept.deleted = removed;
  kept.entry = EntryId{intent.entry.value};
  if (auto entry = books.tree.entry(intent.entry)) kept.version = entry->content_version;
  kept.size = landed.before.size;
  kept.bytes = landed.kept_bytes;
  kept.mode = landed.before.attributes.mode;
  kept.mtime = landed.before.attributes.mtime;
  kept.when = books.now;
  kept.client = intent.client;
  kept.client_name = books.receipts.name(intent.client);
  kept.file = landed.kept_as;
  return kept;
}

Result<Seq> account_step(store::Transaction& tx, store::Store& store, Tree& tree, ChangeLog& log,
                         const Intent& intent, const Landed& landed, NodeId& entry) {
  switch (intent.deed) {
    case Deed::land_new:
      return account_new(tx, tree, intent, landed, entry);
    case Deed::land_over:
      return account_changed(tx, tree, log, intent, landed);
    case Deed::remove:
      return account_removed(tx, store, tree, intent);
    case Deed::set_attributes: {
      auto ok = tree.observe(tx, intent.entry, landed.before, false);
      if (!ok) return pass(ok.error());
      return account_changed(tx, tree, log, intent, landed);
    }
    case Deed::link:
    case Deed::rename:
    case Deed::exchange: {
      if (auto ok = follow(tx, tree, intent, landed); !ok) return pass(ok.error());
      return account_moved(tx, tree, intent);
    }
  }
  return fail(Errc::bad_request);
}

}  // namespace

Result<Receipt> account(store::Transaction& tx, const Books& books, const Intent& intent,
                        const Plan& plan, const Landed& landed) {
  auto kept = kept_by(books, intent, plan, landed);
  NodeId id = intent.entry;
  auto sequence = account_step(tx, books.store, books.tree, books.log, intent, landed, id);
  if (!sequence) return pass(sequence.error());
  const bool sets_owner = (intent.bits & proto::kOwner) != 0 &&
                          (intent.deed == Deed::land_new || intent.deed == Deed::land_over ||
                           intent.deed == Deed::set_attributes);
  if (sets_owner) {
    auto ok = books.tree.set_owner(tx, id, intent.attributes.uid, intent.attributes.gid);
    if (!ok) return pass(ok.error());
  }
  Receipt receipt;
  receipt.entry = EntryId{id.value};
  receipt.sequence = *sequence;
  receipt.hash = intent.hash;
  if (auto entry = books.tree.entry(id)) {
    receipt.content_version = entry->content_version;
    receipt.attributes_version = entry->attributes_version;
  }
  if (kept) {
    if (!kept->deleted) kept->after = receipt.content_version;
    if (auto ok = books.history.note(tx, *kept); !ok) return pass(ok.error());
  }
  if (intent.operation) {
    auto ok = books.receipts.put(tx, intent.client, intent.operation, receipt);
    if (!ok) return pass(ok.error());
  }
  if (auto ok = erase_intent(tx, books.store, intent.sequence); !ok) return pass(ok.error());
  return receipt;
}

}  // namespace ebb::server
