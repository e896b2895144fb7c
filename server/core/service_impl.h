// Inside of Service.  One struct, a file for each noun: peers.cpp, listing.cpp, pulls.cpp,
// pushes.cpp, chunk_lists.cpp, batches.cpp, watching.cpp, maps.cpp, comparing.cpp, opening.cpp.
//
// Invariants.
// - The store is touched on the service's thread only, but for sync(), which the executor calls.
// - Nothing leaves that is not on disk: what a peer is told of a change waits for a sync that began
// after it.
// - One batch of mutations is under way at a time, and one sync.
// - A folder that was read while a batch changed it is read again: the record follows either the
// batch or
//   the disk, never an older disk.
#pragma once

#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <unordered_map>
#include <unordered_set>

#include "proto/chunker.h"
#include "proto/session_hash.h"
#include "server/core/change_log.h"
#include "server/core/deeds.h"
#include "server/core/depot.h"
#include "server/core/history.h"
#include "server/core/receipts.h"
#include "server/core/service.h"
#include "server/core/tree.h"
#include "server/core/view.h"
#include "store/fsmap_tree.h"

namespace ebb::server {

using Session = std::uint32_t;

// What a peer can make the server keep.
inline constexpr std::size_t kPeersMax = 1024;  // connections: descriptors and buffers
inline constexpr std::size_t kPushesMax = 512;  // sessions staging or landing: files, descriptors
inline constexpr std::size_t kUnwrittenMax = 16u
                                             << 20;  // bytes of pushes in memory: then input waits
inline constexpr std::size_t kUnwrittenEver =
    64u << 20;                                      // for a peer that sends on nevertheless: closed
inline constexpr std::size_t kPullsMax = 4096;      // sessions asked for: a small record each
inline constexpr std::size_t kPullsOpen = 16;       // sessions reading: a file and a buffer each
inline constexpr std::size_t kSmallOpen = 128;      // and as many of small contents
inline constexpr std::uint64_t kSmall = 64u << 10;  // contents of which several go into one job ...
inline constexpr std::size_t kTogether = 16;        // ... for handing one over costs as much
inline constexpr std::size_t kPullAhead = 512u << 10;  // bytes read and not sent, of a session
inline constexpr std::size_t kReadStep = 256u << 10;   // bytes of one read
inline constexpr std::size_t kTellingsMax = 64;  // lists of chunks asked for: read one at a time
inline constexpr std::size_t kListingsMax = 256;
inline constexpr std::size_t kListAhead = 4;           // folders being read for one listing
inline constexpr std::size_t kListFoldersMax = 65536;  // folders waiting in one listing
inline constexpr std::size_t kMutationsMax = 4096;     // of a peer, not answered
inline constexpr std::size_t kRequestsMax = 4096;      // stats and the like, not answered
inline constexpr std::size_t kRepliesMax = 16384;  // answers that the peer does not read: closed
inline constexpr std::size_t kAnsweredMax =
    4096;  // receipts sent and not acknowledged on their session
inline constexpr std::size_t kBatchMax = 1024;      // mutations of one batch
inline constexpr std::size_t kSyncEach = 4;         // up to so many contents are synced one by one
inline constexpr std::size_t kVersionsMax = 10000;  // of one path, told at once
inline constexpr std::size_t kMapPagesMax = 16;     // maps on their way to one peer
inline constexpr std::size_t kMapsKept = 8;         // maps in memory, of all peers
inline constexpr std::uint64_t kMapFilesKept = 4u
                                               << 20;  // files in them; a larger map stands alone
inline constexpr Duration kMapKeptFor = std::chrono::minutes(10);  // since it was last asked for
inline constexpr std::size_t kCompareAhead = 4;   // folders being read for one comparison
inline constexpr std::size_t kComparingMax = 16;  // comparisons of a peer
inline constexpr std::uint64_t kFileMax = std::uint64_t{1} << 62;
// Pushes whose connection broke, staged in part, until the client comes again.
inline constexpr std::size_t kAdriftMax = 64;
inline constexpr std::uint64_t kAdriftBytesMax = std::uint64_t{16} << 30;
inline constexpr Duration kAdriftFor = std::chrono::hours(1);

/// What a push takes from a content that is here.
struct Borrowed {
  EntryId source;
  Version source_version;
  Spot at;  // it
  Facts seen;
  std::vector<proto::Copy> copies;
  std::uint64_t hash = 0;  // of the whole, as the client has it
};

struct Push {
  PeerId peer = 0;
  ClientId client;
  Session session = 0;
  proto::FileSyncInit init;
  std::uint64_t staging = 0;
  bool over = false;  // onto a file that is there
  Spot base;          // it
  Facts seen;
  NodeId twin;           // the content cannot land: it is compared with this file's
  Version twin_version;  // as it is there
  proto::Errc refusal = proto::Errc::ok;  // the answer where they differ
  std::unique_ptr<proto::SessionHash> hash;
  std::deque<proto::FileSyncData> unwritten;
  bool duplicate = false;  // the receipt is known, or will be: data is swallowed
  bool resumed = false;    // what is there of it came over an earlier connection
  Time left_at{};          // adrift: since when
  bool started = false;    // the staging file is made
  bool busy = false;       // a job has `file` and `base_file`
  bool checked = false;    // CheckHash came and fits
  bool finished = false;   // staged whole: ready to land
  bool dropped = false;    // nobody waits for it
  std::shared_ptr<StagedFile> file;
  std::shared_ptr<DepotFile> base_file;
  Identity staged;
  std::uint64_t whole_hash = 0;
  std::optional<Borrowed> borrowed;  // a delta
};

struct PushJob;
struct PullStep;

struct Mutation {
  PeerId peer = 0;
  Session session = 0;
  Intent intent;
  Seen seen;
  EntryId answer_entry;
  std::shared_ptr<Push> push;                 // a push, else a Mutate, else our own
  std::shared_ptr<StagedFile> file;           // of our own: not synced yet
  std::function<void(const Mutation&)> then;  // our own: who waits for the end
  bool ready = false;                         // what it lands is staged
  std::optional<Error> error;
  Plan plan;
  std::optional<Landed> landed;
  std::optional<Facts> left;  // what attributes that could be set in part only have left behind
  std::optional<Receipt> receipt;
};

/// A kept version on its way back.
struct Restoring {
  Kept kept;
  std::string path;     // where to
  bool beside = false;  // where the name is taken: under another one
  int count = 0;        // of names tried
  ClientId client;      // who wants it; none: the server itself
  int tries = 0;
  std::function<void(Result<Receipt>)> then;
};
struct Undoing;

/// A name that another program may have changed, on its way to the disk and back.
struct LookedAt {
  enum class State : std::uint8_t {
    unknown,
    there,
    gone,
    elsewhere,  // its folder is not where the record has it
  };
  NodeId folder;
  Found found;
  Spot spot;
  State state = State::unknown;
};

/// A map as it was at some moment.
struct KeptMap {
  NodeId folder;
  std::string path;  // the folder's, when it was walked
  std::shared_ptr<const store::FsmapIndex> map;
  Time used{};
};

/// A walk of the disk that is under way, and who waits for its map.
struct Mapping {
  using Waiting = std::vector<std::pair<PeerId, Session>>;
  Waiting waiting;
  Waiting next;  // came after it had begun: it may have passed what they want to see
  std::shared_ptr<std::atomic<bool>> stop;
};

struct MapPages {
  Session session = 0;
  std::shared_ptr<const store::FsmapIndex> map;
  std::uint64_t next = 0;
};

/// A file of a map, by its path from the root.
struct MappedFile {
  std::string path;  // as the map has it
  Spot spot;
  store::FsmapFile facts;
};

struct Comparing {
  Session session = 0;
  std::vector<proto::FolderSummary> folders;
  std::vector<bool> different;
  std::size_t next = 0;
  std::size_t under_way = 0;
};

struct Pull {
  Session session = 0;
  std::shared_ptr<const MappedFile> mapped;  // else the entry of `request`
  bool path_told = false;
  proto::Pull request;
  std::shared_ptr<DepotFile> file;
  Facts seen;
  std::vector<Range> ranges;  // asked for; once the file is open, what of them is sent
  std::vector<Range> holes;
  std::unique_ptr<proto::SessionHash> hash;
  bool opened = false;
  bool announced = false;  // FileSyncInit is sent
  bool busy = false;
  bool cancelled = false;
  std::size_t range = 0;      // of `ranges`: where reading is
  std::uint64_t read_at = 0;  // next byte to read
  std::deque<proto::FileSyncData> ahead;
  std::size_t ahead_bytes = 0;
  std::size_t ahead_sent = 0;  // of the front
  std::uint64_t turn = 0;      // when it was last served
};

/// A list of chunks under way.
struct ChunkTelling {
  explicit ChunkTelling(std::uint64_t size) : chunker(size) {}

  Session session = 0;
  NodeId id;
  Facts seen;
  std::shared_ptr<DepotFile> file;
  proto::Chunker chunker;
  Xxh3Stream hash;  // of the whole
};

struct Listing {
  struct Item {
    NodeId folder;
    enum class State : std::uint8_t { waiting, reading, ready, failed } state = State::waiting;
    std::optional<Error> error;
  };
  Session session = 0;
  NodeId top;
  std::uint64_t budget = 0;
  std::deque<Item> items;  // front: the one whose pages are being sent
  std::uint64_t cookie = 0;
  bool begun = false;  // the first page of the front has been sent
};

struct Watching {
  Session session = 0;
  Seq sent;
};

struct Peer {
  Peer(PeerId number, std::string where, const proto::Limits& limits, Time now)
      : id(number), from(std::move(where)), connection(proto::Role::server, limits, now) {}

  PeerId id;
  std::string from;
  proto::Connection connection;
  Admit admit;  // while it has not been asked yet, or has said no
  View view;
  bool shaken = false;
  bool read_only = false;
  bool closing = false;
  ClientId client;
  std::string name;
  std::uint64_t bytes_in = 0;
  std::uint64_t bytes_out = 0;
  std::deque<std::pair<Session, proto::Body>> replies;
  std::size_t requests = 0;
  std::size_t mutations = 0;
  std::map<Session, std::shared_ptr<Push>> pushes;
  std::size_t unwritten = 0;
  std::map<Session, OpId> answered;  // pushes whose receipt was sent, until FileSyncFinish
  bool held = false;                 // input was refused at the last look
  std::map<Session, std::shared_ptr<Pull>> pulls;
  std::map<Session, std::shared_ptr<ChunkTelling>> tellings;
  bool tells = false;  // a job reads for one of them
  std::map<Session, std::shared_ptr<Listing>> listings;
  std::map<Session, MapPages> map_pages;
  std::map<Session, std::shared_ptr<Comparing>> comparing;
  std::optional<Watching> watching;
};

struct Service::Impl {
  Impl(ServiceSeams s, ServiceOptions o) : seams(s), options(std::move(o)) {}

  // ---- opening.cpp
  Result<> open();
  Result<> recover_all();
  Result<> look_at_root();
  Result<> begin_epoch();
  bool in_history(Epoch epoch, Seq sequence) const;

  // ---- service.cpp
  /// Runs a job on the executor and `done` here, unless the service has gone in the meantime.
  void work(std::function<void()> job, std::function<void()> done);
  /// Everything that follows from what happened: at the end of every entry from outside.
  void settle();
  void pump(Peer& peer);
  void touch(PeerId peer) { touched.insert(peer); }
  Peer* find(PeerId peer);
  /// Calls back when everything committed up to now is on disk.
  void after_sync(std::function<void(bool ok)> then);
  void start_sync();
  /// The database cannot be trusted to go on: everybody is sent away; the next start recovers.
  void give_up(const Error& why);
  bool idle() const;

  // ---- peers.cpp
  void take(Peer& peer, proto::Message message);
  void take_all(Peer& peer);
  void close(Peer& peer, proto::Errc code, const std::string& sentence);
  void reply(Peer& peer, Session session, proto::Body body);
  void refuse(Peer& peer, Session session, const Error& error);
  /// As the peer is to see it.
  Result<> send(Peer& peer, Session session, proto::Body body);
  void stat(Peer& peer, Session session, const proto::Stat& request);
  void answer_stat(PeerId peer, Session session, NodeId id);
  void stat_fs(Peer& peer, Session session);
  void cancel(Peer& peer, Session session);
  void finish(Peer& peer, Session session);
  bool session_taken(const Peer& peer, Session session) const;

  // ---- greeting.cpp
  void shake(Peer& peer, const proto::VersionHandshake& hello);
  void admitted(Peer& peer, const proto::VersionHandshake& hello, Admission admission);
  void welcome(Peer& peer, const proto::VersionHandshake& hello);
  void turn_away(Peer& peer, proto::Errc code, std::string sentence);
  proto::VersionHandshakeResponse greeting(const Peer& peer) const;
  void find_folder(const std::string& path, std::function<void(Result<NodeId>)> then);
  void find_folder_in(NodeId folder, const std::string& path, std::size_t at,
                      std::function<void(Result<NodeId>)> then);

  // ---- listing.cpp
  void list(Peer& peer, Session session, const proto::List& request);
  void pump_listings(Peer& peer);
  bool pump_listing(Peer& peer, Listing& listing);
  void take_from_others(Peer& peer, NodeId folder);
  void end_listing(Peer& peer, const Listing& listing);
  void read_ahead(PeerId peer, const std::shared_ptr<Listing>& listing);
  bool send_page(Peer& peer, Listing& listing);
  /// Reads the folder and takes into the record what is different; `then` gets an error when it is
  /// no more.
  void refresh(NodeId folder, std::function<void(Result<>)> then);
  /// The same, from the record where a change on the disk would have been noticed: then at once.
  void bring_up_to_date(NodeId folder, std::function<void(Result<>)> then);
  void read_folder(NodeId folder);
  void note_current(NodeId folder);
  void folder_was_read(NodeId folder, std::uint64_t since,
                       Result<std::unique_ptr<Reconciliation>> read);
  Result<bool> take_in(Reconciliation& read);
  /// Looks at one entry; where it is not what was known, its folder is read.
  void refresh_entry(NodeId id, std::function<void()> then);

  // ---- outside.cpp
  void watch_outside();
  void stop_watching();
  void look_outside();
  void not_current(NodeId folder);
  void due_outside(NodeId folder, const std::string& name, Time at);
  void look_at_due();
  void looked_at(std::vector<LookedAt> names, std::uint64_t since);
  void look_at_all();
  void scan_next();
  void scan_beneath(NodeId folder, std::uint64_t cookie);
  Time outside_deadline() const;
  void poll_outside();
  void not_watched(const Error& why);

  // ---- pulls.cpp
  void pull(Peer& peer, Session session, proto::Pull request);
  /// The entry, when it is a file and its content is of that version.
  Result<proto::Entry> readable(EntryId id, Version content_version) const;
  void pump_pulls(Peer& peer);
  void read_pulls(Peer& peer);
  std::shared_ptr<PullStep> next_step(Peer& peer, const std::shared_ptr<Pull>& pull);
  void run_steps(PeerId peer, std::vector<std::shared_ptr<PullStep>> together);
  void step_done(PeerId peer, PullStep& step);
  bool send_step(Peer& peer, Pull& pull);
  void pull_failed(PeerId peer, Session session, const Error& error);
  void content_failed(Peer& peer, Session session, NodeId id, const Error& error);

  // ---- chunk_lists.cpp
  void chunks(Peer& peer, Session session, const proto::Chunks& request);
  void pump_tellings(Peer& peer);

  // ---- maps.cpp
  void tell_map(Peer& peer, Session session, const proto::Fsmap& request);
  void walk(NodeId folder, DigestKind kind);
  void walked(NodeId folder, DigestKind kind, Result<KeptMap> made);
  void tell_hashes(Peer& peer, Session session, const proto::FsmapHashes& request);
  void pump_hashes(Peer& peer);
  void pull_mapped(Peer& peer, Session session, const proto::FsmapFile& request);
  const KeptMap* kept_map(const proto::FsmapOf& of, const Digest& summary);
  void bound_maps();
  void leave_maps(PeerId peer);
  void stop_maps();

  // ---- comparing.cpp
  void compare(Peer& peer, Session session, proto::Compare request);
  void compare_more(PeerId peer, const std::shared_ptr<Comparing>& comparing);
  Result<Digest> names_summary(NodeId folder) const;

  // ---- pushes.cpp
  void push(Peer& peer, Session session, proto::FileSyncInit init,
            std::optional<Borrowed> borrowed = {});
  void push_delta(Peer& peer, Session session, proto::FileSyncDelta delta);
  /// Whether it was done, or is being done.
  bool known_to(ClientId client, OpId operation) const;
  void push_data(Peer& peer, Session session, proto::FileSyncData data);
  void push_check(Peer& peer, Session session, const proto::FileSyncCheckHash& check);
  void start_push_jobs();
  void run_push_jobs(std::vector<std::shared_ptr<PushJob>> together);
  void push_job_done(const std::shared_ptr<Push>& push, PushJob& job);
  void push_refused(const std::shared_ptr<Push>& push, const Error& error);
  Result<> check_push(const proto::FileSyncInit& init, Push& push) const;
  /// What a content that cannot land may be equal to: then it counts as landed.
  bool find_twin(const proto::FileSyncInit& init, Push& push) const;
  bool still_twin(const Mutation& mutation) const;

  // ---- push_ends.cpp
  void drop_push(Peer& peer, Session session);
  void leave_push(Peer& peer, Session session);
  void unqueue(const std::shared_ptr<Push>& push);
  void discard(const std::shared_ptr<Push>& push);
  std::shared_ptr<Push> take_adrift(ClientId client, const proto::FileSyncInit& init,
                                    const std::optional<Borrowed>& borrowed);
  void leave_elsewhere(const Peer& peer, OpId operation);
  void bound_adrift();
  void drop_adrift();

  // ---- batches.cpp
  void mutate(Peer& peer, Session session, proto::Mutate request);
  Result<std::shared_ptr<Mutation>> mutation_of(const Peer& peer, proto::Mutate request);
  void stage(const std::shared_ptr<Mutation>& mutation, const proto::Mutate& request);
  void enqueue(std::shared_ptr<Mutation> mutation);
  void start_batch();
  std::vector<std::shared_ptr<Mutation>> gather();
  bool prepare(const std::shared_ptr<Mutation>& mutation);
  void batch_performed(std::vector<std::shared_ptr<Mutation>> batch, Result<> outcome);
  Result<> account_all(std::vector<std::shared_ptr<Mutation>>& batch);
  void answer(const std::shared_ptr<Mutation>& mutation);
  void unstage(const Mutation& mutation);
  void answer_push(Peer& peer, const Mutation& mutation);
  void answer_mutate(Peer& peer, const Mutation& mutation);
  void forget_receipts(const std::vector<std::shared_ptr<Mutation>>& batch);

  // ---- keeping.cpp
  Result<> open_history();
  Books books() const { return {*store, *tree, *log, *receipts, *history, seams.clock.wall()}; }
  std::optional<Error> history_refusal(const Intent& intent) const;
  void look_at_history();
  void expire_history(std::uint64_t bytes_max);
  void remove_expired(bool more, std::uint64_t bytes_max);
  void make_room();
  Result<> note_deletions(store::Transaction& tx, const Mutation& mutation);

  // ---- restoring.cpp
  void restore(std::shared_ptr<Restoring> task);
  void restore_in(const std::shared_ptr<Restoring>& task, NodeId folder, std::size_t at);
  void restore_folder(const std::shared_ptr<Restoring>& task, NodeId folder, std::size_t at,
                      std::size_t end);
  void make_own_folder(NodeId folder, const std::string& name, std::uint32_t mode,
                       std::function<void(const Mutation&)> then);
  void restore_leaf(const std::shared_ptr<Restoring>& task, NodeId folder, const std::string& name);
  void restore_beside(const std::shared_ptr<Restoring>& task);
  void restore_link(const std::shared_ptr<Restoring>& task, NodeId folder, const std::string& name,
                    bool taken);
  void restore_instead(const std::shared_ptr<Restoring>& task, NodeId folder,
                       const std::string& name, const proto::Entry& entry);
  void restore_land(const std::shared_ptr<Restoring>& task, NodeId folder, const std::string& name,
                    const std::optional<proto::Entry>& over);
  void restored(const std::shared_ptr<Restoring>& task, const Mutation& done);
  void restore_failed(const std::shared_ptr<Restoring>& task, const Error& error);
  Result<std::vector<Kept>> kept_of(const Peer& peer, EntryId entry, const std::string& path) const;
  void tell_history(Peer& peer, Session session, const proto::History& request);
  void restore_for(Peer& peer, Session session, const proto::Restore& request);

  // ---- undoing.cpp
  void undo(const std::string& client, WallNs since, std::function<void(Result<UndoReport>)> then);
  void restore_tree(const Kept& folder, std::function<void(Result<Receipt>)> then);
  void undo_more(const std::shared_ptr<Undoing>& undoing);
  Result<std::vector<std::shared_ptr<Restoring>>> plan_undo(const std::string& client,
                                                            WallNs since) const;

  // ---- watching.cpp
  void watch(Peer& peer, Session session, const proto::Watch& request);
  void pump_watch(Peer& peer);

  ServiceSeams seams;
  ServiceOptions options;
  std::shared_ptr<bool> alive = std::make_shared<bool>(true);
  std::shared_ptr<store::Store> store;
  std::unique_ptr<ChangeLog> log;
  std::unique_ptr<Tree> tree;
  std::unique_ptr<Receipts> receipts;
  std::unique_ptr<History> history;
  Epoch epoch;
  bool broken = false;

  std::map<PeerId, std::unique_ptr<Peer>> peers;
  PeerId next_peer = 1;
  std::set<PeerId> touched;
  std::function<void(PeerId)> wake;
  bool settling = false;
  std::size_t jobs = 0;
  std::uint64_t turns = 0;

  // Durability: `durable` is a sequence that is on disk.
  Seq durable;
  bool dirty = false;  // committed since the last sync began
  bool syncing = false;
  std::vector<std::function<void(bool)>> sync_waiters;
  bool checkpointing = false;
  void checkpoint_if_due();

  // Pushes.
  std::set<std::pair<ClientId, OpId>> landing;  // checked, without a receipt yet
  std::vector<std::shared_ptr<Push>> adrift;    // without a connection, oldest first

  // Mutations.
  std::deque<std::shared_ptr<Mutation>> queue;
  bool batch_running = false;
  std::uint64_t batches_begun = 0;
  std::uint64_t batches_ended = 0;
  std::unordered_map<NodeId, std::uint64_t> changed_in;  // folder -> number of the last batch there
  std::vector<std::pair<ClientId, OpId>> finished_ops;   // receipts that may go
  std::uint64_t next_staging = 1;
  std::uint64_t mutations_done = 0;
  std::uint64_t conflicts = 0;

  // History.
  bool expiring = false;
  bool history_short = false;  // a change was refused for it
  bool disk_full = false;
  bool history_leftovers = true;  // of an earlier run: out of the record, perhaps on the disk
  Time history_due{};

  // Changes by other programs.
  bool watching_outside = false;
  std::map<std::pair<NodeId, std::string>, Time> due;  // names to be looked at, and when
  Time due_at = kNever;                                // the earliest of them, or sooner
  Time told_deadline = kNever;
  bool looking = false;
  std::set<NodeId> read_meanwhile;  // folders read since the look began
  bool scanning = false;
  bool scan_again = false;
  std::deque<NodeId> to_scan;
  bool unwatched = false;  // the kernel does not watch all
  Time scanned_at{};
  std::function<void()> deadline_moved;

  // Maps.
  std::map<std::pair<NodeId, DigestKind>, Mapping> mappings;
  std::vector<KeptMap> maps;

  // Folders being read.
  struct Reading {
    std::vector<std::function<void(Result<>)>> waiting;  // for the read under way
    std::vector<std::function<void(Result<>)>> next;     // came after it began
    bool behind_batch = false;                           // waits for the batch to end
    bool watched = false;                                // before it began
    bool noticed = false;                                // something was done meanwhile
  };
  std::map<NodeId, Reading> readings;
  // Folders that were read while they were watched, and nothing was done to their names since.
  std::unordered_set<NodeId> current;
};

/// What a client is told of an error.
proto::Errc errc_of(const Error& error);

}  // namespace ebb::server
