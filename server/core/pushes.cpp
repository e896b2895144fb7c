// Pushes: content staged as it arrives, and handed to the batches when its hash is right.
#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/hash.h"
#include "server/core/service_impl.h"

namespace ebb::server {

using proto::EntryKind;
using proto::Errc;

/// What is on a job's way: the push's own fields are left alone meanwhile.
struct PushJob {
  std::shared_ptr<Push> push;
  bool start = false;
  bool finish = false;
  std::uint64_t staging = 0;
  bool over = false;
  Errc refusal = Errc::ok;  // compares with the base, lands nothing; the answer where they differ
  Spot base;
  Facts seen;
  std::uint64_t size = 0;
  std::vector<Range> ranges;
  std::vector<Range> holes;
  std::uint8_t bits = 0;
  proto::Attributes attributes;
  bool whole = false;
  std::uint64_t hash = 0;
  std::deque<proto::FileSyncData> data;
  std::shared_ptr<StagedFile> file;
  std::shared_ptr<DepotFile> base_file;
  std::optional<Borrowed> borrowed;
  Identity staged;
  Result<> outcome;
};

namespace {

constexpr std::size_t kHashStep = 1u << 20;

Result<> check_unmoved(DepotFile& file, const Facts& seen) {
  auto now = file.facts();
  if (!now) return pass(now.error());
  if (!untouched(*now, seen)) return fail(Errc::moved_on, "the file changed on the server");
  return {};
}

Result<std::unique_ptr<DepotFile>> open_seen(Depot& depot, const Spot& spot, const Facts& seen) {
  auto file = depot.open(spot);
  if (!file) {
    const bool other = is_errno(file.error(), ENOENT) || is_errno(file.error(), ENOTDIR) ||
                       file.error().code == Errc::not_regular;
    return other ? fail(Errc::moved_on, "the file changed on the server") : pass(file.error());
  }
  if (auto ok = check_unmoved(**file, seen); !ok) return pass(ok.error());
  return file;
}

/// What the client found in the content that it names.
Result<> borrow(Depot& depot, StagedFile& into, const Borrowed& borrowed) {
  auto source = open_seen(depot, borrowed.at, borrowed.seen);
  if (!source) return pass(source.error());
  for (const auto& copy : borrowed.copies) {
    const Range range{copy.from, copy.from + copy.size};
    if (auto ok = into.copy_from(**source, range, copy.at); !ok) return ok;
  }
  return check_unmoved(**source, borrowed.seen);
}

Result<> begin(Depot& depot, PushJob& job) {
  auto made = depot.stage_file(job.staging);
  if (!made) return pass(made.error());
  job.file = std::move(*made);
  if (job.borrowed) {
    if (auto ok = borrow(depot, *job.file, *job.borrowed); !ok) return ok;
  }
  if (!job.over) return {};
  auto base = open_seen(depot, job.base, job.seen);
  if (!base) return pass(base.error());
  job.base_file = std::move(*base);
  if (job.borrowed) return {};
  // What the session does not send is as it was.
  RangeSet present;
  present.add({0, std::min(job.seen.size, job.size)});
  for (const auto& range : job.ranges) present.remove(range);
  for (const auto& range : job.holes) present.remove(range);
  for (const auto& range : present.list()) {
    if (auto ok = job.file->copy_from(*job.base_file, range, range.begin); !ok) return ok;
  }
  return check_unmoved(*job.base_file, job.seen);
}

Result<> hash_part(StagedFile& file, Range part, Xxh3Stream& hash) {
  Bytes buffer(std::min<std::uint64_t>(kHashStep, part.size()));
  while (!part.empty()) {
    const auto step = std::min<std::uint64_t>(buffer.size(), part.size());
    auto n = file.read_at(part.begin, std::span(buffer).first(step));
    if (!n) return pass(n.error());
    if (*n == 0) return fail(Errc::io, "a staged file is too short");
    hash.update(ByteView(buffer).first(*n));
    part.begin += *n;
  }
  return {};
}

/// What is a hole on disk is known to be zeros without reading it.
Result<std::uint64_t> hash_of(StagedFile& file, std::uint64_t size) {
  Xxh3Stream hash;
  std::uint64_t at = 0;
  while (at < size) {
    const auto parts = file.data_in({at, size}, proto::kRangesMax);
    for (const auto& part : parts) {
      hash.zeros(part.begin - at);
      if (auto ok = hash_part(file, part, hash); !ok) return pass(ok.error());
      at = part.end;
    }
    if (!parts.empty()) continue;
    hash.zeros(size - at);
    at = size;
  }
  return hash.digest();
}

Result<bool> is_equal(StagedFile& file, DepotFile& base, std::uint64_t size) {
  Bytes ours(std::min<std::uint64_t>(kHashStep, size));
  Bytes theirs(ours.size());
  for (std::uint64_t at = 0; at < size;) {
    const auto step = std::min<std::uint64_t>(ours.size(), size - at);
    auto n = file.read_at(at, std::span(ours).first(step));
    if (!n) return pass(n.error());
    auto m = base.read_at(at, std::span(theirs).first(step));
    if (!m) return pass(m.error());
    if (*n == 0 || *n != *m || !std::equal(ours.begin(), ours.begin() + *n, theirs.begin())) {
      return false;
    }
    at += *n;
  }
  return true;
}

/// Byte by byte: a hash that another client could make collide decides nothing here.
Result<> compare(PushJob& job) {
  auto equal = is_equal(*job.file, *job.base_file, job.size);
  if (!equal) return pass(equal.error());
  if (!*equal) return fail(job.refusal, "the server has another content");
  return check_unmoved(*job.base_file, job.seen);
}

Result<> end(PushJob& job) {
  if (!job.whole) {
    if (auto ok = job.file->resize(job.size); !ok) return ok;
    auto hash = hash_of(*job.file, job.size);
    if (!hash) return pass(hash.error());
    job.hash = *hash;
  }
  if (job.borrowed && job.hash != job.borrowed->hash) {
    return fail(Errc::wrong_hash, "what came out is not what was meant");
  }
  if (job.refusal != Errc::ok) {
    auto equal = compare(job);
    job.file.reset();
    job.base_file.reset();
    return equal;
  }
  if (job.over) {
    if (auto ok = job.file->inherit(*job.base_file); !ok) return ok;
  }
  if (auto ok = job.file->set_attributes(job.bits, job.attributes); !ok) return ok;
  auto facts = job.file->facts();
  if (!facts) return pass(facts.error());
  job.staged = std::move(facts->identity);
  job.base_file.reset();
  return {};
}

void run(Depot& depot, PushJob& job) {
  if (job.start) job.outcome = begin(depot, job);
  for (const auto& data : job.data) {
    if (job.outcome) job.outcome = job.file->write_at(data.offset, data.bytes);
  }
  if (job.finish && job.outcome) job.outcome = end(job);
}

/// The next job of a push takes what the push has.
std::shared_ptr<PushJob> job_of(const std::shared_ptr<Push>& push) {
  auto job = std::make_shared<PushJob>();
  job->push = push;
  job->start = !std::exchange(push->started, true);
  job->finish = push->checked;
  job->staging = push->staging;
  job->over = push->over;
  job->refusal = push->refusal;
  job->base = push->base;
  job->seen = push->seen;
  job->size = push->init.size;
  job->ranges = push->init.ranges;
  job->holes = push->init.holes;
  job->borrowed = push->borrowed;
  job->bits = push->init.attribute_bits;
  job->attributes = push->init.attributes;
  job->whole = push->hash->whole();
  job->hash = push->hash->digest();
  job->data = std::exchange(push->unwritten, {});
  job->file = std::move(push->file);
  job->base_file = std::move(push->base_file);
  push->busy = true;
  return job;
}

bool good_ranges(const proto::FileSyncInit& init) {
  std::uint64_t at = 0;
  for (const auto& range : init.ranges) {
    if (range.empty() || range.begin < at || range.end > init.size) return false;
    at = range.end;
  }
  at = 0;
  for (const auto& hole : init.holes) {
    if (hole.empty() || hole.begin < at || hole.end > init.size) return false;
    at = hole.end;
  }
  return true;
}

/// Every byte is sent or copied, none both, and what is copied is there.
bool makes_up(const proto::FileSyncDelta& delta, std::uint64_t source_size) {
  const auto& ranges = delta.init.ranges;
  std::uint64_t at = 0;
  auto range = ranges.begin();
  const auto pass_ranges = [&] {
    for (; range != ranges.end() && range->begin == at; ++range) at = range->end;
  };
  for (const auto& copy : delta.copies) {
    pass_ranges();
    const bool there = copy.from <= source_size && copy.size <= source_size - copy.from;
    if (copy.at != at || !there) return false;
    at += copy.size;
  }
  pass_ranges();
  return range == ranges.end() && at == delta.init.size && delta.init.holes.empty();
}

/// Bytes of the ranges that lie before an offset.
std::uint64_t bytes_before(const std::vector<Range>& ranges, std::uint64_t offset) {
  std::uint64_t bytes = 0;
  for (const auto& range : ranges) {
    if (range.begin < offset) bytes += std::min(range.end, offset) - range.begin;
  }
  return bytes;
}

/// What a client sends again without having waited for the answer to its Init.
void skip_known(proto::FileSyncData& data, std::uint64_t offset) {
  if (data.offset >= offset) return;
  const auto known = std::min<std::uint64_t>(offset - data.offset, data.bytes.size());
  data.bytes.erase(data.bytes.begin(), data.bytes.begin() + static_cast<std::ptrdiff_t>(known));
  data.offset += known;
}

}  // namespace

Result<> Service::Impl::check_push(const proto::FileSyncInit& init, Push& push) const {
  if (options.read_only) return fail(Errc::read_only);
  if (init.size > kFileMax) return fail(Errc::too_large);
  if (!init.operation.id) return fail(Errc::bad_request, "an operation needs an id");
  if (!good_ranges(init)) return fail(Errc::bad_request, "ranges out of order or out of bounds");
  Intent intent;
  intent.deed = init.entry ? Deed::land_over : Deed::land_new;
  intent.entry = NodeId{init.entry.value};
  intent.folder = NodeId{init.place.folder.value};
  intent.name = init.place.name;
  if (init.entry && !init.content_version) {
    return fail(Errc::moved_on, "the version that the content derives from is not named");
  }
  if (auto ok = check_versions(*tree, intent, {init.content_version, Version{}}); !ok) return ok;
  auto planned = plan(*tree, intent);
  if (!planned) return pass(planned.error());
  push.over = intent.deed == Deed::land_over;
  push.base = std::move(planned->at);
  push.seen = std::move(planned->seen);
  return {};
}

bool Service::Impl::find_twin(const proto::FileSyncInit& init, Push& push) const {
  const bool whole = init.size == 0 || init.ranges == std::vector<Range>{{0, init.size}};
  if (!whole) return false;
  NodeId twin{init.entry.value};
  if (!twin) {
    twin = tree->child(NodeId{init.place.folder.value}, init.place.name).value_or(NodeId{});
  }
  auto seen = twin ? tree->facts(twin) : Result<Facts>(fail(Errc::not_found));
  auto entry = tree->entry(twin);
  auto spots = tree->spots(twin);
  const bool fits = seen && entry && spots && !spots->empty() && seen->kind == EntryKind::file &&
                    seen->size == init.size;
  if (!fits) return false;
  push.twin = twin;
  push.twin_version = entry->content_version;
  push.over = true;
  push.base = spots->front();
  push.seen = std::move(*seen);
  return true;
}

bool Service::Impl::still_twin(const Mutation& mutation) const {
  const auto& push = *mutation.push;
  if (push.init.entry) return true;
  const auto& place = push.init.place;
  return tree->child(NodeId{place.folder.value}, place.name).value_or(NodeId{}) == push.twin;
}

bool Service::Impl::known_to(ClientId client, OpId operation) const {
  const auto receipt = receipts->find(client, operation);
  return landing.count({client, operation}) != 0 || (receipt && receipt->has_value());
}

/// A push whose content is made up of what is sent and of parts of a content that this client may
/// read.  One that is repeated may have changed its own source: its receipt is the answer.
void Service::Impl::push_delta(Peer& peer, Session session, proto::FileSyncDelta delta) {
  if (!peer.connection.can(proto::kDelta)) return refuse(peer, session, {Errc::not_supported, ""});
  Borrowed borrowed{delta.source, delta.source_version, {}, {}, {}, delta.hash};
  if (!known_to(peer.client, delta.init.operation.id)) {
    const auto refused = [&](Errc code, const char* why) {
      reply(peer, session, proto::FileSyncInitResponse{code, why, 0});
    };
    const NodeId id{delta.source.value};
    const auto source = readable(delta.source, delta.source_version);
    auto seen = tree->facts(id);
    auto spots = tree->spots(id);
    if (!source || !delta.source_version || !seen || !spots || spots->empty()) {
      return refused(Errc::moved_on, "the source is no more, or has another version");
    }
    if (!makes_up(delta, seen->size)) {
      return refused(Errc::bad_request,
                     "what is sent and what is copied do not make up the content");
    }
    borrowed.seen = std::move(*seen);
    borrowed.at = spots->front();
  }
  borrowed.copies = std::move(delta.copies);
  push(peer, session, std::move(delta.init), std::move(borrowed));
}

void Service::Impl::push(Peer& peer, Session session, proto::FileSyncInit init,
                         std::optional<Borrowed> borrowed) {
  const auto refused = [&](const Error& error) {
    if (error.code == Errc::moved_on || error.code == Errc::exists) ++conflicts;
    reply(peer, session, proto::FileSyncInitResponse{errc_of(error), error.detail, 0});
  };
  if (session_taken(peer, session)) {
    return refuse(peer, session, {Errc::bad_request, "the session is in use"});
  }
  if (peer.read_only) return refused({Errc::read_only, ""});
  if (peer.pushes.size() >= kPushesMax) return refused({Errc::busy, "too many pushes at once"});
  auto known = receipts->find(peer.client, init.operation.id);
  if (!known) return refused(known.error());
  // The connection may have broken while the first one lands: its receipt is the answer to this
  // one, too.
  const bool duplicate = known->has_value() || landing.count({peer.client, init.operation.id}) != 0;
  Push checked;
  if (!duplicate) {
    leave_elsewhere(peer, init.operation.id);
    if (auto ok = check_push(init, checked); !ok) {
      checked.refusal = errc_of(ok.error());
      const bool comparable = checked.refusal == Errc::exists || checked.refusal == Errc::moved_on;
      if (!comparable || !find_twin(init, checked)) {
        if (auto left = take_adrift(peer.client, init, borrowed)) discard(left);
        return refused(ok.error());
      }
    }
  }
  auto made = duplicate ? nullptr : take_adrift(peer.client, init, borrowed);
  // What is compared has another beginning than what lands.
  if (made && (made->twin || checked.twin)) discard(std::exchange(made, nullptr));
  std::uint64_t done = duplicate ? init.size : 0;
  if (made) {
    done = made->hash->offset();
    made->resumed = true;
  } else {
    made = std::make_shared<Push>();
    made->duplicate = duplicate;
    if (!duplicate) made->staging = next_staging++;
    made->hash = std::make_unique<proto::SessionHash>(init.size, init.ranges);
  }
  made->peer = peer.id;
  made->client = peer.client;
  made->session = session;
  made->over = checked.over;
  made->base = std::move(checked.base);
  made->seen = std::move(checked.seen);
  made->twin = checked.twin;
  made->twin_version = checked.twin_version;
  made->refusal = checked.refusal;
  made->borrowed = std::move(borrowed);
  const auto resume_at = bytes_before(init.ranges, done);
  made->init = std::move(init);
  peer.pushes[session] = std::move(made);
  reply(peer, session, proto::FileSyncInitResponse{Errc::ok, "", resume_at});
}

void Service::Impl::push_data(Peer& peer, Session session, proto::FileSyncData data) {
  const auto it = peer.pushes.find(session);
  if (it == peer.pushes.end()) return;  // refused or ended: what was on its way is swallowed
  auto& push = *it->second;
  if (push.duplicate || push.checked) return;
  if (push.resumed) {
    skip_known(data, push.hash->offset());
    if (data.bytes.empty()) return;
  }
  if (!push.hash->update(data.offset, data.bytes)) {
    return push_refused(it->second, {Errc::bad_request, "data out of order"});
  }
  peer.unwritten += data.bytes.size();
  push.unwritten.push_back(std::move(data));
  if (peer.unwritten > kUnwrittenEver) close(peer, Errc::too_much, "more data than can be written");
}

void Service::Impl::push_check(Peer& peer, Session session, const proto::FileSyncCheckHash& check) {
  const auto it = peer.pushes.find(session);
  if (it == peer.pushes.end()) return;
  const auto push = it->second;
  if (push->checked) return;
  if (!push->duplicate && (!push->hash->complete() || push->hash->digest() != check.sent)) {
    return push_refused(push, {Errc::wrong_hash, ""});
  }
  push->checked = true;
  auto mutation = std::make_shared<Mutation>();
  mutation->peer = peer.id;
  mutation->session = session;
  mutation->push = push;
  mutation->ready = push->duplicate;
  auto& intent = mutation->intent;
  const auto& init = push->init;
  intent.deed = init.entry ? Deed::land_over : Deed::land_new;
  intent.client = peer.client;
  intent.operation = init.operation.id;
  intent.answered = init.operation.answered;
  intent.entry = NodeId{init.entry.value};
  intent.folder = NodeId{init.place.folder.value};
  intent.name = init.place.name;
  mutation->seen.content = init.content_version;
  if (!push->duplicate) landing.emplace(peer.client, init.operation.id);
  if (push->twin) {
    intent.deed = Deed::set_attributes;
    intent.entry = push->twin;
    intent.bits = init.attribute_bits;
    intent.attributes = init.attributes;
    mutation->seen.content = push->twin_version;
  } else {
    intent.staging = push->staging;
    intent.bits = init.attribute_bits & proto::kOwner;
    intent.attributes.uid = init.attributes.uid;
    intent.attributes.gid = init.attributes.gid;
  }
  enqueue(std::move(mutation));
}

/// One job at a time for each push; what has arrived until then goes along.  Small ones share a
/// job.
void Service::Impl::start_push_jobs() {
  std::vector<std::shared_ptr<PushJob>> together;
  const auto start = [&](const std::shared_ptr<Push>& push) {
    const bool work_left =
        !push->started || !push->unwritten.empty() || (push->checked && !push->finished);
    if (push->duplicate || push->busy || push->finished || !work_left) return;
    auto job = job_of(push);
    if (push->init.size > kSmall || push->borrowed) return run_push_jobs({std::move(job)});
    together.push_back(std::move(job));
    if (together.size() == kTogether) run_push_jobs(std::exchange(together, {}));
  };
  for (const auto& [id, peer] : peers) {
    if (peer->closing) continue;
    for (const auto& [session, push] : peer->pushes) start(push);
  }
  for (const auto& push : adrift) start(push);
  if (!together.empty()) run_push_jobs(std::move(together));
}

void Service::Impl::run_push_jobs(std::vector<std::shared_ptr<PushJob>> together) {
  work(
      [depot = &seams.depot, together] {
        for (const auto& job : together) run(*depot, *job);
      },
      [this, together] {
        for (const auto& job : together) push_job_done(job->push, *job);
      });
}

void Service::Impl::push_job_done(const std::shared_ptr<Push>& push, PushJob& job) {
  push->busy = false;
  push->file = std::move(job.file);
  push->base_file = std::move(job.base_file);
  std::size_t written = 0;
  for (const auto& data : job.data) written += data.bytes.size();
  if (Peer* peer = find(push->peer)) {
    peer->unwritten -= std::min(peer->unwritten, written);
    touch(peer->id);
  }
  if (push->dropped) return discard(push);
  if (!job.outcome) return push_refused(push, job.outcome.error());
  if (!job.finish) return;
  push->finished = true;
  std::erase(adrift, push);
  if (push->twin) discard(push);
  push->staged = job.staged;
  push->whole_hash = job.hash;
  for (auto& mutation : queue) {
    if (mutation->push != push) continue;
    mutation->ready = true;
    mutation->intent.staged = push->staged;
    mutation->intent.hash = push->whole_hash;
  }
}

/// Ends the session with a refusal in the receipt's place.
void Service::Impl::push_refused(const std::shared_ptr<Push>& push, const Error& error) {
  if (error.code == Errc::moved_on) {
    ++conflicts;
    refresh_entry(push->twin ? push->twin : NodeId{push->init.entry.value}, [] {});
  }
  if (errc_of(error) == Errc::no_space) make_room();
  Peer* peer = find(push->peer);
  if (peer == nullptr) {
    unqueue(push);
    std::erase(adrift, push);
    return discard(push);
  }
  proto::FileSyncCheckHashResponse out;
  out.code = errc_of(error);
  out.sentence = error.detail;
  reply(*peer, push->session, std::move(out));
  drop_push(*peer, push->session);
}

}  // namespace ebb::server
