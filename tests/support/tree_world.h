// A client's tree without the client: a store on a disk in memory, a clock that stands still,
// contents as strings, and a model of the server that does what steps say and refuses what does not
// fit.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "fusefs/core/tree.h"
#include "proto/errors.h"
#include "store/store.h"
#include "tests/support/fake_file_io.h"

namespace ebb::test {

class StillClock final : public Clock {
 public:
  Time now() const override { return Time(Duration(ticks_)); }
  WallNs wall() const override { return 1'000'000'000'000'000'000 + ticks_; }
  void pass(Duration duration) { ticks_ += duration.count(); }

 private:
  std::int64_t ticks_ = 0;
};

/// The served tree.  Every mutation makes changes for the watch, in order.
class ModelServer {
 public:
  struct Entry {
    fusefs::Kind kind = fusefs::Kind::none;
    Version content_version;
    Version attributes_version;
    std::uint32_t mode = 0;
    std::string content;  // of a symlink: its target
  };
  using Place = std::pair<EntryId, std::string>;
  struct Answer {
    proto::Errc code = proto::Errc::ok;
    fusefs::StepReceipt receipt;
    std::string landed;  // the content that the server has after a push
  };
  struct Sent {
    std::string content;
    std::uint32_t mode = 0;
  };

  ModelServer();

  // ---- another client's hands; false where it does not fit
  EntryId make(EntryId folder, const std::string& name, fusefs::Kind kind,
               const std::string& content = {});
  bool write(EntryId entry, const std::string& content);
  bool change_mode(EntryId entry, std::uint32_t mode);
  bool link(EntryId entry, EntryId folder, const std::string& name);
  bool rename(EntryId from, const std::string& name, EntryId to, const std::string& new_name);
  bool remove(EntryId folder, const std::string& name);

  /// A step of the client; the same operation again gets the same answer.
  Answer execute(const fusefs::Step& step, OpId operation, const Sent& sent);

  proto::Entry entry(EntryId id) const;
  std::vector<proto::NamedEntry> list(EntryId folder) const;
  std::optional<EntryId> at(EntryId folder, const std::string& name) const;
  std::optional<EntryId> find(const std::string& path) const;
  const std::string& content(EntryId id) const { return entries_.at(id).content; }
  bool has(EntryId id) const { return entries_.contains(id); }
  const std::map<Place, EntryId>& names() const { return names_; }
  std::size_t steps_done() const { return steps_done_; }
  /// Contents that some entry has or had.
  const std::set<std::string>& history() const { return history_; }

  std::deque<proto::Change> changes;  // not taken yet

 private:
  Answer apply(const fusefs::Step& step, const Sent& sent);
  Answer push(const fusefs::Step& step, const Sent& sent);
  Answer adopt(EntryId entry, fusefs::Kind kind, const Sent& sent, proto::Errc code);
  Answer create(const fusefs::Step& step, fusefs::Kind kind, const Sent& sent);
  Answer move(const fusefs::Step& step);
  Answer exchange(const fusefs::Step& step);
  Answer take_away(const fusefs::Step& step);
  bool names_entry(const proto::Place& place, EntryId entry) const;
  bool inside(EntryId folder, EntryId other) const;
  bool is_folder(EntryId id) const;
  bool empty(EntryId folder) const;
  Version next() { return Version(++sequence_); }
  void tell(proto::ChangeKind kind, const Place& place, EntryId entry);
  void set_name(EntryId folder, const std::string& name, EntryId entry);
  void clear_name(EntryId folder, const std::string& name);
  void drop_nameless(EntryId entry);
  fusefs::StepReceipt receipt(EntryId entry) const;

  std::map<EntryId, Entry> entries_;
  std::map<Place, EntryId> names_;
  std::map<OpId, Answer> answers_;
  std::set<std::string> history_;
  std::uint64_t sequence_ = 1;
  std::uint64_t last_entry_ = 100;
  std::size_t steps_done_ = 0;
  ClientId by_;
  OpId operation_;
};

inline constexpr ClientId kWorldClient{77};

class TreeWorld {
 public:
  explicit TreeWorld(fusefs::Status root = fusefs::Status::syncmore);

  fusefs::Tree& tree() { return *tree_; }
  store::Store& store() { return *store_; }
  /// The process ends and the mount begins again.
  void reopen(bool power_cut = false);

  // ---- short words for what tests do; paths below the mount, missing ones are failures
  NodeId at(const std::string& path);  // none where nothing is shown
  store::Node node(const std::string& path) { return *tree_->node(at(path)); }
  bool shown(const std::string& path) { return static_cast<bool>(at(path)); }
  std::string ls(const std::string& path = "");  // names, sorted, a blank between
  Result<NodeId> make(const std::string& path, fusefs::Kind kind = fusefs::Kind::file);
  NodeId folder(const std::string& path) { return *make(path, fusefs::Kind::folder); }
  NodeId file(const std::string& path, const std::string& content);
  NodeId symlink(const std::string& path, const std::string& target);
  bool write(NodeId id, const std::string& content);
  Result<> unlink(const std::string& path);
  Result<> rmdir(const std::string& path);
  Result<> rename(const std::string& from, const std::string& to, unsigned flags = 0);
  Result<> link(const std::string& from, const std::string& to);
  fusefs::Status status(const std::string& path) { return node(path).status; }
  fusefs::State state(const std::string& path);
  /// 0 or the errno value.
  static int error(const Result<>& result);

  // ---- the server's news
  void list(NodeId folder);
  /// All folders that are shown and not listed.
  void list_all();
  /// Takes all changes that wait (those of steps under way are held back).
  void hear();
  void hear_one();

  // ---- the engine's part
  /// Sends the node's next step; the answer waits for answer().
  bool send(NodeId id);
  bool answer_one();
  std::size_t under_way() const { return sent_.size(); }
  /// Hears, lists, sends and answers until nothing moves.  False when it does not end.
  bool settle();
  /// Fetches a remote or wanted file.
  bool pull(NodeId id);
  void apply_effects();
  /// What the node would do next.
  fusefs::Step next(const std::string& path) { return *tree_->next_step(at(path)); }
  std::vector<std::string> plan_words();  // of all in the queue, in order
  std::string queue_text();               // for people

  /// Empty, or what is wrong.
  std::string broken();
  /// Empty, or how the shown tree and the server's differ, conflicts and errors aside.
  std::string differences();

  StillClock clock;
  ModelServer server;
  std::map<std::uint64_t, std::string> contents;
  std::set<NodeId> open;
  std::set<NodeId> in_use;
  fusefs::TreeEffects effects;  // since they were last cleared

 private:
  struct Sent {
    fusefs::Step step;
    OpId operation;
    ModelServer::Answer answer;
    std::string content;
  };

  std::pair<NodeId, std::string> split(const std::string& path);
  void contradicted(const Sent& sent);
  void deliver(const Sent& sent);
  bool send_some();
  void start();

  std::unique_ptr<FakeFileIo> io_ = std::make_unique<FakeFileIo>();
  fusefs::Status root_;
  std::unique_ptr<store::Store> store_;
  std::optional<fusefs::Tree> tree_;
  std::deque<Sent> sent_;
  std::map<NodeId, int> refusals_;
  std::vector<proto::Change> held_;
  std::uint64_t last_operation_ = 0;
  std::uint64_t crashes_ = 0;
};

}  // namespace ebb::test
