// One run from one seed: users at two clients (or one alone) do random things, conflicting ones
// above all, while links break and delay, disks fail, processes die and machines lose power; then
// all is healed, and compared.
#pragma once

#include <cstdio>

#include "base/log.h"
#include "tests/sim/hands.h"

namespace ebb::test {

inline constexpr std::size_t kClients = 2;
inline constexpr int kActions = 60;

enum class Confined : bool { no, yes };

/// A content that shows by itself where it comes from: a token, then bytes that follow from it.
inline std::string content_of(std::uint64_t token, std::size_t size) {
  std::string text = "<" + std::to_string(token) + ":" + std::to_string(size) + ">";
  auto letter = (token * 31 + text.size() * 7) % 26;
  text.reserve(size);
  while (text.size() < size) {
    text += static_cast<char>('a' + letter);
    letter = (letter + 7) % 26;
  }
  return text;
}

class Simulation {
 public:
  /// Confined: the second client was enrolled with the folder d as its tree.
  Simulation(std::uint64_t seed, bool trace, Confined confined = Confined::no)
      : trace_(trace),
        confined_(confined == Confined::yes),
        power_(seed % 3 == 0),
        alone_(seed % 5 == 1),
        short_log_(seed % 7 == 2),
        world_(seed, kClients) {}

  void run() {
    world_.trace = trace_;
    if (short_log_) {
      world_.changes_max = 4;
      world_.end_server();
      ASSERT_TRUE(world_.start_server());
    }
    world_.depot.make_folder("d");
    world_.depot.write("d/x", made(content_of(1, 300)));
    world_.depot.write("y", made(content_of(2, 200'000)));
    told_ = made_;
    if (confined_) confine(world_.machine(1));
    for (std::size_t i = 0; i < kClients; ++i) {
      world_.machine(i).options.delay = std::chrono::seconds(world_.roll(3));
      ASSERT_TRUE(world_.start_client(i)) << world_.last_error;
    }
    if (world_.roll(2) == 0) world_.delay_max = std::chrono::milliseconds(1 + world_.roll(300));
    world_.pass(std::chrono::seconds(2));
    world_.cut_one_in = 20 + world_.roll(200);
    for (int i = 0; i < kActions && !::testing::Test::HasFatalFailure(); ++i) act();
    if (::testing::Test::HasFatalFailure()) return;
    heal();
    if (::testing::Test::HasFatalFailure()) return;
    compare();
  }

  struct Counts {
    std::uint64_t actions = 0, cuts = 0, kills = 0, copies = 0;
  };
  Counts counts() const {
    auto out = counts_;
    out.cuts = world_.cuts;
    return out;
  }

 private:
  static void confine(Machine& machine) {
    machine.admit = [](const proto::VersionHandshake& hello, const std::string&) {
      return Result<server::Admission>({hello.client_name, false, "d"});
    };
  }

  // ---- what happens

  void act() {
    ++counts_.actions;
    const std::size_t i = alone_ ? 0 : world_.roll(kClients);
    const auto what = world_.roll(100);
    if (what < 22) return write(i, some_path());
    if (what < 30) return save(i, some_path());
    if (what < 35) return append(i, some_path());
    if (what < 38) return truncate(i, some_path());
    if (what < 46) return read(i, some_path());
    if (what < 54) return rename(i, some_path(), some_path());
    if (what < 59) return remove(i, some_path());
    if (what < 61) return rename_folder(i);
    if (what < 68) return note("mkdir", i, world_.make_folder(i, some_folder()));
    if (what < 70) return remove_folder(i, some_folder());
    if (what < 73) return note("drop", i, world_.set_status(i, some_path(), "remote"));
    // What was changed and is local for a while meets what the server has: the user's own doing.
    if (what < 77 && alone_) return;
    if (what < 75) return set_local(i, std::string(1, "xyzw"[world_.roll(4)]));
    if (what < 77) return set_sync(i, std::string(1, "xyzw"[world_.roll(4)]));
    if (what < 79) return symlink(i, some_path());
    if (what < 81) return link(i, some_path(), some_path());
    if (what < 84) return attributes(i, some_path());
    if (what < 92) return trouble(i);
    world_.pass(std::chrono::milliseconds(world_.roll(4000)));
  }

  std::string some_path() {
    static const char* const kFolders[] = {"", "d/", "e/", "d/f/"};
    return std::string(kFolders[world_.roll(4)]) + "xyzw"[world_.roll(4)];
  }
  std::string some_folder() {
    static const char* const kFolders[] = {"d", "e", "d/f", "g"};
    return kFolders[world_.roll(4)];
  }
  std::string made(std::string text) {
    made_.insert(text);
    return text;
  }

  void say(const std::string& what) {
    if (trace_) std::fprintf(stderr, "%s\n", what.c_str());
  }
  template <class T>
  void note(const std::string& what, std::size_t i, const Result<T>& result) {
    say(std::to_string(i) + " " + what + (result ? "" : ": " + result.error().message()));
    const bool answered = result || !is_errno(result.error(), ENOTRECOVERABLE);
    ASSERT_TRUE(answered) << what << " was never answered";
  }

  /// What a user overwrites or deletes on purpose need not be anywhere in the end.
  std::string gives_up(std::size_t i, const std::string& path) {
    // The disk may fail under the first look.
    auto text = world_.read(i, path);
    if (!text) text = world_.read(i, path);
    if (!text || text->empty()) return {};
    given_up_.insert(*text);
    return *text;
  }
  /// What is written to a local file must never leave the machine; what is told otherwise may.
  void look_whose(std::size_t i, const std::string& path, const std::string& text) {
    if (text.empty()) return;
    if (world_.attribute(i, path, "status") == "local") {
      if (told_.count(text) == 0) secret_.insert(text);
    } else {
      told_.insert(text);
      secret_.erase(text);
    }
  }

  void write(std::size_t i, const std::string& path) {
    const std::size_t size =
        world_.roll(6) == 0 ? 30'000 + world_.roll(170'000) : world_.roll(2000);
    // Now and then both users write the same.
    const bool same = world_.roll(8) == 0;
    const auto text =
        made(same ? content_of(3 + world_.roll(2), 500) : content_of(++tokens_, size));
    const bool fsync = world_.roll(2) == 0;
    gives_up(i, path);
    const auto done = world_.write(i, path, text, fsync);
    note("write " + path + " " + text.substr(0, 12) + (fsync ? " fsync" : ""), i, done);
    if (!done) return told(text);
    if (fsync) kept_.insert(text);
    look_whose(i, path, text);
  }
  /// It may have come to be somewhere, under whatever status.
  void told(const std::string& text) {
    told_.insert(text);
    secret_.erase(text);
  }

  /// As editors do: beside it, fsync, rename over it.
  void save(std::size_t i, const std::string& path) {
    const auto text = made(content_of(++tokens_, 100 + world_.roll(3000)));
    const std::string beside = path + ".new";
    told(text);
    gives_up(i, path);
    gives_up(i, beside);
    const auto written = world_.write(i, beside, text, true);
    note("write " + beside + " " + text.substr(0, 12), i, written);
    if (!written) return;
    kept_.insert(text);
    note("save " + path, i, world_.rename(i, beside, path));
  }

  void append(std::size_t i, const std::string& path) {
    const auto more = content_of(++tokens_, 1 + world_.roll(5000));
    const auto before = gives_up(i, path);
    made(before + more);
    edited("append", i, path, world_.append(i, path, more, true));
  }
  void truncate(std::size_t i, const std::string& path) {
    const auto before = gives_up(i, path);
    const auto size = world_.roll(before.size() + 1);
    made(before.substr(0, size));
    edited("truncate", i, path, world_.truncate(i, path, size, true));
  }
  void edited(const char* what, std::size_t i, const std::string& path,
              const Result<Hands::Edited>& done) {
    note(std::string(what) + " " + path, i, done);
    // What failed may be there in part.
    if (!done) return void(torn_ = true);
    made(done->before);
    made(done->after);
    given_up_.insert(done->before);
    if (!done->after.empty()) kept_.insert(done->after);
    look_whose(i, path, done->after);
  }

  void read(std::size_t i, const std::string& path) {
    const auto text = world_.read(i, path);
    note("read " + path, i, text);
    // A power cut may tear what was not synced; nothing else may.
    const bool fine = !text || text->empty() || power_ || torn_ || made_.count(*text) != 0;
    EXPECT_TRUE(fine) << path << " is a mixture: " << text.value_or("").substr(0, 40);
  }

  void rename(std::size_t i, const std::string& from, const std::string& to) {
    if (from == to) return;
    const auto moved = world_.read(i, from);
    gives_up(i, to);
    const auto done = world_.rename(i, from, to);
    note("rename " + from + " " + to, i, done);
    if (moved && done) look_whose(i, to, *moved);
  }
  void rename_folder(std::size_t i) {
    static const char* const kTo[] = {"d", "e", "d/f", "g", "e/f", "g/d", "d/e"};
    const auto from = some_folder();
    const std::string to = kTo[world_.roll(7)];
    if (from == to || (i == 0 && is_home(from))) return;
    note("rename folder " + from + " " + to, i, world_.rename(i, from, to));
  }
  void remove_folder(std::size_t i, const std::string& path) {
    if (i == 0 && is_home(path)) return;
    note("rmdir", i, world_.remove_folder(i, path));
  }
  /// It stays where it is: without it the confined client has no tree.
  bool is_home(const std::string& path) const { return confined_ && path == "d"; }

  void remove(std::size_t i, const std::string& path) {
    gives_up(i, path);
    note("remove " + path, i, world_.unlink(i, path));
  }

  void set_local(std::size_t i, const std::string& path) {
    note("local " + path, i, world_.set_status(i, path, "local"));
  }
  void set_sync(std::size_t i, const std::string& path) {
    if (auto text = world_.read(i, path)) told(*text);
    note("sync " + path, i, world_.set_status(i, path, "sync"));
  }

  void symlink(std::size_t i, const std::string& path) {
    const auto target = "to " + std::to_string(world_.roll(3));
    note("symlink " + path, i, world_.make_symlink(i, path, target));
  }
  void link(std::size_t i, const std::string& from, const std::string& to) {
    note("link " + from + " " + to, i, world_.link(i, from, to));
  }
  void attributes(std::size_t i, const std::string& path) {
    if (world_.roll(2) == 0) {
      const auto mode = 0600 + static_cast<std::uint32_t>(world_.roll(64));
      return note("chmod " + path, i, world_.change_mode(i, path, mode));
    }
    note("xattr " + path, i, world_.set_xattr(i, path, std::to_string(world_.roll(1000))));
  }

  void trouble(std::size_t i) {
    const auto what = world_.roll(8);
    ++counts_.kills;
    if (what == 0) {
      say("plug " + std::to_string(i));
      world_.plug(i, !world_.machine(i).plugged);
    } else if (what == 1) {
      say("kill client " + std::to_string(i));
      world_.kill_client(i);
      ASSERT_TRUE(world_.start_client(i)) << world_.last_error;
    } else if (what == 2 && power_) {
      say("client loses power " + std::to_string(i));
      world_.cut_client_power(i, world_.roll(1'000'000));
      ASSERT_TRUE(world_.start_client(i)) << world_.last_error;
    } else if (what == 3) {
      say("kill server");
      world_.kill_server();
      start_server();
    } else if (what == 4 && power_) {
      say("server loses power");
      world_.cut_server_power(world_.roll(1'000'000));
      start_server();
    } else if (what == 5 && !alone_) {
      // A server whose disk failed within a step may take its own change for another program's.
      say("the server's disk fails");
      world_.roll(2) == 0 ? world_.depot.fail_nth(1 + world_.roll(20), EIO)
                          : world_.server_io.fail_nth(world_.roll(20));
    } else {
      say("disk fails " + std::to_string(i));
      world_.machine(i).io.fail_nth(world_.roll(10));
    }
  }

  /// A disk that fails while it starts ends it; then it is started once more.
  void start_server() {
    if (world_.start_server()) return;
    world_.depot.clear_faults();
    world_.server_io.clear_faults();
    ASSERT_TRUE(world_.start_server());
  }

  // ---- the end

  void heal() {
    say("heal");
    world_.cut_one_in = 0;
    world_.depot.clear_faults();
    world_.server_io.clear_faults();
    world_.end_server();
    ASSERT_TRUE(world_.start_server());
    for (std::size_t i = 0; i < kClients; ++i) {
      world_.machine(i).io.clear_faults();
      // A disk that failed under a client may have left it refusing to go on: it is started anew.
      world_.end_client(i);
      ASSERT_TRUE(world_.start_client(i)) << world_.last_error;
      world_.plug(i, true);
      world_.client(i).hurry();
    }
    ASSERT_TRUE(world_.run_until_quiet())
        << "does not come to rest" << stuck_at(0) << " |" << stuck_at(1);
    for (std::size_t i = 0; i < kClients; ++i) write_lost_anew(i);
    ASSERT_TRUE(world_.run_until_quiet()) << "does not come to rest once more";
  }

  /// What was never fsynced may be gone after a power cut: its file says so, and whoever sees that
  /// writes it anew.
  void write_lost_anew(std::size_t i) {
    for (const auto& [path, shown] : world_.tree(i)) {
      if (shown.state != store::State::error ||
          !shown.reason.starts_with("its content file is lost"))
        continue;
      EXPECT_TRUE(power_) << "client " << i << " has lost the content of " << path
                          << " without a power cut";
      const auto done = world_.write(i, path, made(content_of(++tokens_, 200)), true);
      EXPECT_TRUE(done) << path << ": " << (done ? "" : done.error().message());
      world_.client(i).hurry();
    }
  }

  void compare() {
    const auto server = world_.depot.tree();
    for (const auto& text : world_.depot.history_contents()) on_server_.insert(text);
    for (const auto& [path, text] : server) on_server_.insert(text);
    auto everything = on_server_;
    for (std::size_t i = 0; i < kClients; ++i) compare_client(i, seen_by(i, server), everything);
    for (const auto& text : kept_) {
      if (given_up_.count(text) != 0) continue;
      EXPECT_TRUE(everything.count(text) != 0) << "lost: " << text.substr(0, 20);
    }
    for (const auto& text : secret_) {
      EXPECT_TRUE(on_server_.count(text) == 0)
          << "local, and on the server: " << text.substr(0, 20);
    }
    for (const auto& [path, text] : server) {
      if (path.find(".conflict-") == std::string::npos) continue;
      ++counts_.copies;
      EXPECT_FALSE(alone_) << "alone, and in conflict with itself: " << path;
    }
  }

  std::string home_of(std::size_t i) const { return confined_ && i == 1 ? "d/" : ""; }
  /// What of the server's tree is a client's, by its own paths.
  std::map<std::string, std::string> seen_by(std::size_t i,
                                             const std::map<std::string, std::string>& server) {
    const std::string home = home_of(i);
    std::map<std::string, std::string> out;
    for (const auto& [path, text] : server) {
      if (path.starts_with(home)) out.emplace(path.substr(home.size()), text);
    }
    return out;
  }

  void compare_client(std::size_t i, const std::map<std::string, std::string>& server,
                      std::set<std::string>& everything) {
    const auto mine = world_.tree(i);
    for (const auto& [path, shown] : mine) {
      everything.insert(shown.content);
      if (shown.status == store::Status::local) continue;
      const bool rests = shown.state == store::State::clean || shown.state == store::State::partial;
      EXPECT_TRUE(shown.content == "/" || rests)
          << "client " << i << " " << path << " is " << word(shown.state) << " " << shown.reason;
      const auto theirs = server.find(path);
      EXPECT_TRUE(theirs != server.end())
          << "client " << i << " has " << path << " " << shown.content.substr(0, 12) << " version "
          << world_.attribute(i, path, "version") << stuck_at(i);
      if (theirs == server.end()) continue;
      EXPECT_TRUE(theirs->second == shown.content)
          << "client " << i << " " << path << ": " << shown.content.substr(0, 40) << " not "
          << theirs->second.substr(0, 40);
      compare_attributes(i, path, shown);
    }
    for (const auto& [path, text] : server) {
      EXPECT_TRUE(mine.count(path) != 0) << "client " << i << " lacks " << path << stuck_at(i);
    }
  }
  void compare_attributes(std::size_t i, const std::string& path, const Hands::Shown& shown) {
    if (shown.content.starts_with("-> ")) return;
    const auto there = world_.depot.facts_of(home_of(i) + path);
    ASSERT_TRUE(there);
    EXPECT_EQ(there->attributes.mode, shown.mode) << "client " << i << ": mode of " << path;
    const auto xattrs = unpack_xattrs(there->attributes.xattrs);
    const auto value = xattrs && xattrs->contains("user.k") ? xattrs->at("user.k") : "";
    if (!shown.xattr.empty() || !value.empty()) {
      EXPECT_EQ(value, shown.xattr) << "client " << i << ": xattr of " << path;
    }
  }

  std::string stuck_at(std::size_t i) {
    std::string out;
    for (const auto& one : world_.client(i).queue(100)) {
      const auto status = world_.client(i).status(one.node);
      out += "; " + one.path + " " + (status ? std::string(word(status->state)) : "?") + " " +
             (status ? status->reason : "");
    }
    return out;
  }

  bool trace_;
  bool confined_;
  bool power_;
  bool alone_;      // only one user works: nothing can be in conflict
  bool short_log_;  // the server forgets its changes at once: who was away compares
  Hands world_;
  Counts counts_;
  std::uint64_t tokens_ = 10;
  bool torn_ = false;                // a failed change may have left a part
  std::set<std::string> made_;       // every content that ever was to be
  std::set<std::string> kept_;       // fsynced
  std::set<std::string> given_up_;   // overwritten or deleted on purpose
  std::set<std::string> told_;       // may be on the server
  std::set<std::string> secret_;     // of local files
  std::set<std::string> on_server_;  // at the end, history too
};

}  // namespace ebb::test
