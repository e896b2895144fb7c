// The store against a model made of std::map, over random transactions, with every way to end a
// process or a machine in between.  A failure prints its seed; EBB_SEED=N runs that one alone.
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <random>
#include <tuple>

#include <gtest/gtest.h>

#include "store/check.h"
#include "store/errors.h"
#include "store/store.h"
#include "tests/support/fake_file_io.h"

namespace ebb::store {
namespace {

using test::FakeFileIo;

struct ModelNode {
  Kind kind = Kind::none;
  std::uint64_t size = 0;  // of a folder: the folders in it
  std::uint32_t flags = 0;
  std::map<int, std::string> texts;
  friend bool operator==(const ModelNode&, const ModelNode&) = default;
};
struct ModelName {
  std::uint64_t local = 0;
  std::uint64_t server = 0;
  std::uint16_t flags = 0;
  friend bool operator==(const ModelName&, const ModelName&) = default;
};
/// All that a store shows, as maps.
struct Model {
  std::map<std::uint64_t, ModelNode> nodes;
  std::map<std::pair<std::uint64_t, std::string>, ModelName> names;
  std::map<std::tuple<Table, std::uint64_t, std::uint64_t>, std::uint64_t> cells;
  friend bool operator==(const Model&, const Model&) = default;

  bool has_name(std::uint64_t node) const {
    for (const auto& [key, name] : names) {
      if (name.local == node || name.server == node || key.first == node) return true;
    }
    return false;
  }
};

constexpr Table kTables[] = {Table::queue, Table::unsettled, Table::receipts};
constexpr std::uint64_t kArguments = 3;

Cell cell_of(std::uint64_t value) {
  Cell cell{};
  std::memcpy(cell.data(), &value, sizeof value);
  return cell;
}

/// Reads everything back.  Errors fail the test.
Model read_model(const Store& store, const std::vector<std::uint64_t>& ids) {
  Model model;
  for (const auto value : ids) {
    auto node = store.node(NodeId(value));
    if (!node) {
      EXPECT_EQ(node.error().code, Errc::stale);
      continue;
    }
    auto& out = model.nodes[value];
    const auto size = node->is_folder() ? node->subfolders : node->size;
    out = {node->kind, size, node->flags, {}};
    for (int i = 0; i < kTexts; ++i) {
      auto text = store.text(NodeId(value), static_cast<Text>(i));
      EXPECT_TRUE(text);
      if (text && !text->empty()) out.texts[i] = as_text(*text);
    }
    if (!node->is_folder()) continue;
    EXPECT_TRUE(store.list(NodeId(value), 0, [&](const Name& name) {
      model.names[{value, name.text}] = {name.local.value, name.server.value, name.flags};
      return true;
    }));
  }
  for (const auto table : kTables) {
    for (std::uint64_t argument = 0; argument < kArguments; ++argument) {
      EXPECT_TRUE(store.scan(table, argument, 0, [&](std::uint64_t key, const Cell& cell) {
        std::uint64_t cell_value = 0;
        std::memcpy(&cell_value, cell.data(), sizeof cell_value);
        model.cells[{table, argument, key}] = cell_value;
        return true;
      }));
    }
  }
  return model;
}

class Machine {
 public:
  explicit Machine(std::uint64_t seed) : random_(seed) {
    options_.overlay_bytes_max = 96 * 1024;
    options_.journal_bytes_max = 48 * 1024;
    options_.random = &fixed_;
    ids_.push_back(kRootNode.value);
    model_.nodes[kRootNode.value].kind = Kind::folder;
    open();
    history_.push_back(model_);
  }

  void open() {
    auto store = Store::open(io, "data", options_);
    ASSERT_TRUE(store) << store.error().message();
    store_ = std::move(*store);
  }

  std::uint64_t pick(std::uint64_t n) { return random_() % n; }

  void transaction() {
    Model next = model_;
    auto made = std::vector<std::uint64_t>();
    {
      Transaction t(*store_);
      for (auto n = pick(8) + 1; n > 0 && !::testing::Test::HasFatalFailure(); --n) change(t, next);
      made = made_;
      made_.clear();
      ids_.insert(ids_.end(), made.begin(), made.end());
      if (pick(8) == 0) return;  // aborted
      history_.push_back(next);
      auto committed = t.commit();
      if (!committed) {
        history_.pop_back();
        failed_ = true;
        return;
      }
    }
    model_ = std::move(next);
  }

  void sync() {
    const auto reached = history_.size() - 1;
    if (!store_->sync()) {
      failed_ = true;
      return;
    }
    history_.erase(history_.begin(), history_.begin() + static_cast<std::ptrdiff_t>(reached));
  }

  void step() {
    switch (pick(16)) {
      case 0:
        return sync();
      case 1:
        return note(store_->begin_checkpoint());
      case 2:
        return note(store_->run_checkpoint());
      case 3:
        return note(store_->end_checkpoint());
      case 4:
        if (store_->wants_checkpoint()) note(store_->checkpoint());
        return;
      default:
        return transaction();
    }
  }

  /// The store shows the model, and is sound.
  void expect_equal() {
    ASSERT_EQ(read_model(*store_, ids_), model_);
    const auto report = check(*store_);
    ASSERT_TRUE(report.clean()) << report.problems.front();
    for (const auto& [key, name] : model_.names) {
      auto found = store_->name(NodeId(key.first), key.second);
      ASSERT_TRUE(found);
      ASSERT_EQ(found->local.value, name.local);
      auto at = store_->name_at(NodeId(key.first), found->cookie);
      ASSERT_TRUE(at);
      ASSERT_EQ(at->text, key.second);
    }
  }

  /// A store on that disk is one of the states that it may be in after a power loss, and sound.
  void expect_in_history(FileIo& disk) {
    auto store = Store::open(disk, "data", options_);
    ASSERT_TRUE(store) << store.error().message();
    const auto found = read_model(**store, ids_);
    const auto report = check(**store);
    ASSERT_TRUE(report.clean()) << report.problems.front();
    for (auto it = history_.rbegin(); it != history_.rend(); ++it) {
      if (*it == found) return;
    }
    FAIL() << "a state that never was, or an old one";
  }

  void reopen() {
    store_.reset();
    open();
  }
  void kill() {
    io.kill_process();
    store_.reset();
    open();
  }
  /// What survives becomes the state.
  void power_loss() {
    io.crash(random_());
    store_.reset();
    open();
    if (::testing::Test::HasFatalFailure()) return;
    const auto found = read_model(*store_, ids_);
    std::size_t i = history_.size();
    while (i > 0 && !(history_[i - 1] == found)) --i;
    ASSERT_GT(i, 0U) << "a state that never was, or an old one";
    model_ = found;
    history_ = {found};
  }

  bool failed() const { return failed_; }
  /// whole, it.
  FakeFileIo io;

 private:
  void note(const Result<>& result) {
    if (!result) failed_ = true;
  }

  std::uint64_t some_folder(const Model& model) {
    std::vector<std::uint64_t> folders;
    for (const auto& [id, node] : model.nodes) {
      if (node.kind == Kind::folder) folders.push_back(id);
    }
    return folders[pick(folders.size())];
  }
  std::uint64_t some_node(const Model& model) {
    auto it = model.nodes.begin();
    std::advance(it, static_cast<std::ptrdiff_t>(pick(model.nodes.size())));
    return it->first;
  }
  std::string some_name() {
    std::string name = "n" + std::to_string(pick(30));
    if (pick(3) == 0) name += std::string(20 + pick(230), 'x');
    return name.substr(0, 255);
  }

  void change(Transaction& t, Model& next) {
    switch (pick(9)) {
      case 0:
      case 1:
        return make(t, next);
      case 2:
        return drop(t, next);
      case 3:
        return put(t, next);
      case 4:
        return text(t, next);
      case 5:
        return cell(t, next);
      case 6:
        return flags(t, next);
      default:
        return bind(t, next);
    }
  }

  void make(Transaction& t, Model& next) {
    const auto kind = pick(4) == 0 ? Kind::folder : Kind::file;
    auto id = t.make_node(kind);
    if (!id) return;
    for (const auto old : ids_) {
      if (old == id->value) {
        // Only a transaction that was never committed may have had it.
        ASSERT_EQ(next.nodes.count(old), 0U);
      }
    }
    made_.push_back(id->value);
    next.nodes[id->value].kind = kind;
    bind_to(t, next, some_folder(next), id->value);
  }

  void bind(Transaction& t, Model& next) {
    bind_to(t, next, some_folder(next), pick(3) == 0 ? 0 : some_node(next));
  }

  void bind_to(Transaction& t, Model& next, std::uint64_t folder, std::uint64_t node) {
    const auto text = some_name();
    const auto side = pick(3) == 0 ? Side::server : Side::local;
    if (!t.bind(NodeId(folder), text, side, NodeId(node))) return;
    auto& name = next.names[{folder, text}];
    if (side == Side::local) count_folder(next, folder, name.local, node);
    (side == Side::local ? name.local : name.server) = node;
    if (name.local == 0 && name.server == 0) next.names.erase({folder, text});
  }

  static void count_folder(Model& next, std::uint64_t in, std::uint64_t from, std::uint64_t to) {
    const auto is_folder = [&](std::uint64_t id) {
      return id != 0 && next.nodes[id].kind == Kind::folder;
    };
    if (is_folder(from)) --next.nodes[in].size;
    if (is_folder(to)) ++next.nodes[in].size;
  }

  void drop(Transaction& t, Model& next) {
    const auto id = some_node(next);
    auto dropped = t.drop_node(NodeId(id));
    if (id == kRootNode.value || next.has_name(id)) {
      ASSERT_FALSE(dropped);
      return;
    }
    if (dropped) next.nodes.erase(id);
  }

  void put(Transaction& t, Model& next) {
    const auto id = some_node(next);
    Node node;
    node.kind = next.nodes[id].kind;
    node.size = random_();
    node.flags = static_cast<std::uint32_t>(random_());
    if (!t.put(NodeId(id), node)) return;
    if (node.kind != Kind::folder) next.nodes[id].size = node.size;
    next.nodes[id].flags = node.flags;
  }

  void text(Transaction& t, Model& next) {
    const auto id = some_node(next);
    const int which = static_cast<int>(pick(kTexts));
    const std::string value(pick(3) == 0 ? 0 : pick(700), static_cast<char>('a' + pick(20)));
    if (!t.set_text(NodeId(id), static_cast<Text>(which), as_bytes(value))) return;
    if (value.empty()) {
      next.nodes[id].texts.erase(which);
    } else {
      next.nodes[id].texts[which] = value;
    }
  }

  void cell(Transaction& t, Model& next) {
    const auto table = kTables[pick(std::size(kTables))];
    const auto argument = pick(kArguments);
    for (auto n = pick(40); n > 0; --n) {
      const auto key = pick(400);
      const auto value = random_();
      if (pick(2) == 0) {
        if (t.put_cell(table, argument, key, cell_of(value))) {
          next.cells[{table, argument, key}] = value;
        }
      } else if (t.erase_cell(table, argument, key)) {
        next.cells.erase({table, argument, key});
      }
    }
    if (pick(10) == 0 && t.erase_cells(table, argument)) {
      std::erase_if(next.cells, [&](const auto& entry) {
        return std::get<0>(entry.first) == table && std::get<1>(entry.first) == argument;
      });
    }
  }

  void flags(Transaction& t, Model& next) {
    const auto folder = some_folder(next);
    const auto text = some_name();
    const auto value = static_cast<std::uint16_t>(pick(2));
    auto set = t.set_name_flags(NodeId(folder), text, value);
    const auto it = next.names.find({folder, text});
    if (it == next.names.end()) {
      ASSERT_FALSE(set);
    } else if (set) {
      it->second.flags = value;
    }
  }

  struct FixedRandom final : Random {
    std::uint64_t next() override { return 42; }
  };

  std::mt19937_64 random_;
  FixedRandom fixed_;
  StoreOptions options_;
  std::unique_ptr<Store> store_;
  Model model_;
  std::vector<Model> history_;  // from the last sync on
  std::vector<std::uint64_t> ids_;
  std::vector<std::uint64_t> made_;
  bool failed_ = false;
};

std::vector<std::uint64_t> seeds(std::uint64_t count) {
  if (const char* one = std::getenv("EBB_SEED")) return {std::strtoull(one, nullptr, 10)};
  std::vector<std::uint64_t> all;
  for (std::uint64_t i = 1; i <= count; ++i) all.push_back(i);
  return all;
}

TEST(StoreModel, ShowsWhatTheModelShowsAcrossReopeningKillAndPowerLoss) {
  for (const auto seed : seeds(40)) {
    SCOPED_TRACE("EBB_SEED=" + std::to_string(seed));
    Machine machine(seed);
    for (int i = 0; i < 150; ++i) {
      machine.step();
      if (i % 25 == 24) machine.expect_equal();
      switch (machine.pick(30)) {
        case 0:
          machine.reopen();
          break;
        case 1:
          machine.kill();
          break;
        case 2:
          machine.power_loss();
          break;
        default:
          break;
      }
      ASSERT_FALSE(::testing::Test::HasFatalFailure());
    }
    ASSERT_FALSE(machine.failed());
    machine.expect_equal();
    ASSERT_FALSE(::testing::Test::HasFatalFailure());
  }
}

// Every prefix of the writes, and of each: a mixture of what was not synced; none of it; the mapped
// pages without the journal's last records; the journal without the mapped pages; all of it but an
// end of the last write.
TEST(StoreModel, APowerLossAfterAnyWriteLeavesAStateThatWasCommitted) {
  using Crash = FakeFileIo::Crash;
  std::map<Crash, std::uint64_t> crashes;
  for (const auto seed : seeds(6)) {
    SCOPED_TRACE("EBB_SEED=" + std::to_string(seed));
    Machine machine(seed);
    machine.sync();
    std::uint64_t number = seed * 1000;
    machine.io.watch([&](std::uint64_t, const std::string& what) {
      if (::testing::Test::HasFatalFailure()) return;
      SCOPED_TRACE("power loss after " + what);
      for (const auto mode : {Crash::torn, Crash::lose_unsynced, Crash::keep_mapped,
                              Crash::lose_mapped, Crash::tear_last}) {
        auto disk = machine.io.clone();
        disk->crash(++number, mode);
        machine.expect_in_history(*disk);
        ++crashes[mode];
      }
    });
    for (int i = 0; i < 120 && !::testing::Test::HasFatalFailure(); ++i) machine.step();
    machine.io.watch(nullptr);
    ASSERT_FALSE(::testing::Test::HasFatalFailure());
  }
  const auto of = [&](Crash mode) { return static_cast<unsigned long long>(crashes[mode]); };
  std::printf(
      "power losses: %llu mixed, %llu without what was not synced, %llu without the journal's end, "
      "%llu without the mapped pages, %llu in the last write\n",
      of(Crash::torn), of(Crash::lose_unsynced), of(Crash::keep_mapped), of(Crash::lose_mapped),
      of(Crash::tear_last));
}

// Whatever call fails, with whatever errno: what was committed stays, the failed transaction is not
// there, and after reopening everything works again.
TEST(StoreModel, AFailureOfTheNthCallLosesNothing) {
  std::uint64_t faults = 0;
  for (const int error : {EIO, ENOSPC}) {
    for (const auto seed : seeds(3)) {
      for (std::uint64_t n = 0;; n += 1 + n / 20) {
        SCOPED_TRACE("EBB_SEED=" + std::to_string(seed) + " n=" + std::to_string(n));
        Machine machine(seed);
        machine.io.fail_nth(n, error);
        for (int i = 0; i < 60 && !::testing::Test::HasFatalFailure(); ++i) machine.step();
        const bool fired = machine.io.fault_fired();
        machine.io.clear_faults();
        machine.expect_equal();
        ASSERT_FALSE(::testing::Test::HasFatalFailure());
        machine.kill();
        machine.expect_equal();
        ASSERT_FALSE(::testing::Test::HasFatalFailure());
        machine.transaction();
        machine.power_loss();
        machine.expect_equal();
        ASSERT_FALSE(::testing::Test::HasFatalFailure());
        if (!fired) {
          ASSERT_FALSE(machine.failed());
          break;
        }
        ++faults;
      }
    }
  }
  std::printf("%llu faults\n", static_cast<unsigned long long>(faults));
}

}  // namespace
}  // namespace ebb::store
