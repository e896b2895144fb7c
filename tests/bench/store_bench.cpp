// The store alone, at one size: prints a JSON object of figures.  tests/bench/store_figures runs it
// at several.
//
//   store_bench FOLDER ENTRIES NAMES_IN_A_FOLDER
//
// FOLDER is emptied.  The entries are what a client keeps of files that its server has: a record, a
// name with both sides, the way back from the server's id.  Checkpoints run on a thread of their
// own, as in a client.
#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <thread>

#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/store.h"

namespace ebb::store {
namespace {

constexpr std::uint64_t kTimed = 300000;  // lookups and renames at a time

template <class T>
T need(Result<T> result) {
  if (result) return std::move(*result);
  std::fprintf(stderr, "store_bench: %s\n", result.error().message().c_str());
  std::_Exit(1);
}
void need(const Result<>& result) {
  if (result) return;
  std::fprintf(stderr, "store_bench: %s\n", result.error().message().c_str());
  std::_Exit(1);
}

double seconds_of(clockid_t clock) {
  timespec now{};
  ::clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

class Stopwatch {
 public:
  double seconds() const { return seconds_of(CLOCK_MONOTONIC) - began_; }
  /// Of this thread, or of all: what others on the machine took is not in it.
  double own_seconds() const { return seconds_of(CLOCK_THREAD_CPUTIME_ID) - own_began_; }
  double all_seconds() const { return seconds_of(CLOCK_PROCESS_CPUTIME_ID) - all_began_; }

 private:
  const double began_ = seconds_of(CLOCK_MONOTONIC);
  const double own_began_ = seconds_of(CLOCK_THREAD_CPUTIME_ID);
  const double all_began_ = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
};

std::uint64_t anonymous_kib() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    std::uint64_t kib = 0;
    if (word == "RssAnon:" && status >> kib) return kib;
  }
  return 0;
}

std::string file_name(std::uint64_t number) {
  return fmt::format("picture-{:07}.jpg", number);
}

class Bench {
 public:
  Bench(std::string folder, std::uint64_t entries, std::uint64_t in_a_folder)
      : folder_(std::move(folder)), entries_(entries), in_a_folder_(in_a_folder) {}

  void run() {
    std::filesystem::remove_all(folder_);
    store_ = need(Store::open(system_file_io(), folder_, {}));
    create();
    sizes();
    lookup();
    list();
    rename();
    rollup();
    store_.reset();
    reopen();
    recover();
    fmt::print("{{\"entries\": {}, \"in_a_folder\": {}{}}}\n", entries_, in_a_folder_, figures_);
  }

 private:
  void figure(const char* name, double value) {
    figures_ += fmt::format(", \"{}\": {:.4g}", name, value);
  }

  void checkpoint_in_background() {
    if (!store_->wants_checkpoint()) return;
    if (checkpoint_.joinable()) {
      if (!checkpoint_ended_) return;
      finish_checkpoint();
    }
    need(store_->begin_checkpoint());
    checkpoint_ended_ = false;
    checkpoint_ = std::thread([this] {
      need(store_->run_checkpoint());
      checkpoint_ended_ = true;
    });
  }
  void finish_checkpoint() {
    if (!checkpoint_.joinable()) return;
    checkpoint_.join();
    need(store_->end_checkpoint());
  }

  NodeId make(NodeId folder, const std::string& name, Kind kind, std::uint64_t number) {
    Transaction t(*store_);
    const auto id = need(t.make_node(kind));
    Node node;
    node.kind = kind;
    node.status = kind == Kind::folder ? Status::syncmore : Status::remote;
    node.mode = 0644;
    node.uid = node.gid = 1000;
    node.size = 4000 + number % 1000;
    node.mtime = node.ctime = static_cast<WallNs>(1'700'000'000'000'000'000 + number * 7'919'000);
    node.entry = EntryId(number + 1000);
    node.content_server = node.attributes_server = node.attributes_base = Version(number + 1000);
    need(t.put(id, node));
    need(t.bind(folder, name, Side::local, id));
    need(t.bind(folder, name, Side::server, id));
    Cell cell{};
    std::memcpy(cell.data(), &id.value, sizeof id.value);
    need(t.put_cell(Table::entries, 0, node.entry.value, cell));
    need(t.commit());
    return id;
  }

  void create() {
    const Stopwatch watch;
    for (std::uint64_t i = 0; i < entries_; ++i) {
      if (i % in_a_folder_ == 0) {
        folders_.push_back(make(kRootNode, fmt::format("folder-{}", i), Kind::folder, 2 * i + 1));
      }
      make(folders_.back(), file_name(i), Kind::file, 2 * i);
      checkpoint_in_background();
    }
    figure("creates_per_s", static_cast<double>(entries_) / watch.seconds());
    figure("create_cpu_us", watch.own_seconds() / static_cast<double>(entries_) * 1e6);
    figure("create_all_cpu_us", watch.all_seconds() / static_cast<double>(entries_) * 1e6);
    figure("anonymous_mib", static_cast<double>(anonymous_kib()) / 1024);
    finish_checkpoint();
    need(store_->checkpoint());
  }

  void sizes() {
    const auto nodes = static_cast<double>(store_->figures().nodes);
    figure("bytes_an_entry", static_cast<double>(store_->figures().bytes_on_disk) / nodes);
  }

  NodeId folder_of(std::uint64_t number) const {
    return folders_[static_cast<std::size_t>(number / in_a_folder_)];
  }

  // In processor time, the best of three: what another process took is not the store's.
  void lookup() {
    double best = 1;
    for (int round = 0; round < 3; ++round) {
      std::vector<std::pair<NodeId, std::string>> names;
      for (std::uint64_t i = 0; i < kTimed; ++i) {
        const auto number = random_() % entries_;
        names.emplace_back(folder_of(number), file_name(number));
      }
      std::uint64_t sum = 0;
      const Stopwatch watch;
      for (const auto& [folder, name] : names) sum += need(store_->name(folder, name)).local.value;
      best = std::min(best, watch.own_seconds() / static_cast<double>(kTimed));
      if (sum == 0) std::_Exit(1);
    }
    figure("lookup_us", best * 1e6);
  }

  void list() {
    std::uint64_t count = 0;
    const Stopwatch watch;
    for (const auto folder : folders_) {
      need(store_->list(folder, 0,
                        [&](const Name& name) { return (count += !name.text.empty()) > 0; }));
    }
    if (count != entries_) std::_Exit(1);
    figure("listed_per_s", static_cast<double>(count) / watch.own_seconds());
  }

  void rename() {
    const auto count = std::min(entries_, kTimed / 3);
    const Stopwatch watch;
    for (std::uint64_t i = 0; i < count; ++i) {
      const auto number = i * (entries_ / count);
      const auto folder = folder_of(number);
      const auto id = need(store_->name(folder, file_name(number))).local;
      Transaction t(*store_);
      need(t.bind(folder, file_name(number), Side::local, {}));
      need(t.bind(folder, "renamed-" + file_name(number), Side::local, id));
      need(t.commit());
      checkpoint_in_background();
    }
    figure("renames_per_s", static_cast<double>(count) / watch.seconds());
    finish_checkpoint();
  }

  /// What a folder's state is asked of: one record, whatever is beneath.
  void rollup() {
    std::uint64_t sum = 0;
    const Stopwatch watch;
    for (std::uint64_t i = 0; i < kTimed; ++i) {
      sum +=
          need(store_->node(i % 2 == 0 ? kRootNode : folders_[i % folders_.size()])).beneath_error;
    }
    if (sum != 0) std::_Exit(1);
    figure("rollup_us", watch.own_seconds() / static_cast<double>(kTimed) * 1e6);
  }

  void reopen() {
    const Stopwatch watch;
    need(Store::open(system_file_io(), folder_, {}));
    figure("reopen_ms", watch.seconds() * 1e3);
  }

  /// A process that is killed with as much in its journal as there ever is, and no checkpoint.
  void recover() {
    const auto child = ::fork();
    if (child == 0) {
      store_ = need(Store::open(system_file_io(), folder_, {}));
      for (std::uint64_t i = 0; !store_->wants_checkpoint(); ++i) {
        make(folder_of(random_() % entries_), fmt::format("late-{}", i), Kind::file,
             2 * entries_ + i);
      }
      ::kill(::getpid(), SIGKILL);
    }
    int status = 0;
    if (::waitpid(child, &status, 0) != child || !WIFSIGNALED(status)) std::_Exit(1);
    const Stopwatch watch;
    need(Store::open(system_file_io(), folder_, {}));
    figure("recovery_ms", watch.seconds() * 1e3);
  }

  const std::string folder_;
  const std::uint64_t entries_;
  const std::uint64_t in_a_folder_;
  std::unique_ptr<Store> store_;
  std::vector<NodeId> folders_;
  std::mt19937_64 random_{1};
  std::thread checkpoint_;
  std::atomic<bool> checkpoint_ended_{true};
  std::string figures_;
};

}  // namespace
}  // namespace ebb::store

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: store_bench FOLDER ENTRIES NAMES_IN_A_FOLDER\n");
    return 2;
  }
  ebb::store::Bench(argv[1], std::strtoull(argv[2], nullptr, 10),
                    std::strtoull(argv[3], nullptr, 10))
      .run();
  return 0;
}
