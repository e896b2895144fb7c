// A server and some clients in one thread, under one clock and one seed: the links lose their
// connections at any byte, disks fail, processes die, machines lose power.  Everything that happens
// follows from the seed.
#pragma once

#include <cerrno>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include <fcntl.h>
#include <gtest/gtest.h>

#include "fusefs/core/client.h"
#include "server/core/service.h"
#include "tests/support/fake_depot.h"
#include "tests/support/fake_file_io.h"
#include "tests/support/test_peer.h"

namespace ebb::test {

using fusefs::Client;

/// What the kernel's caches would be told, counted.
class CountingKernel final : public fusefs::KernelCaches {
 public:
  void attributes_changed(NodeId) override { ++told; }
  void content_changed(NodeId) override { ++told; }
  void name_changed(NodeId, const std::string&) override { ++told; }
  std::uint64_t told = 0;
};

class SeededRandom final : public Random {
 public:
  explicit SeededRandom(std::uint64_t seed) : engine_(seed) {}
  std::uint64_t next() override { return engine_(); }

 private:
  std::mt19937_64 engine_;
};

/// One client's machine: its disk, its process, its cable.
struct Machine {
  explicit Machine(std::uint64_t seed) : random(seed) {}

  FakeFileIo io;
  CountingKernel kernel;
  SeededRandom random;
  fusefs::ClientOptions options;
  std::unique_ptr<Client> client;
  std::optional<server::PeerId> peer;
  bool plugged = true;
  Bytes up, down;  // on the wire
};

class World {
 public:
  explicit World(std::uint64_t seed, std::size_t machines = 1) : chance(seed) {
    server_random = std::make_unique<SeededRandom>(seed + 1000);
    for (std::size_t i = 0; i < machines; ++i) {
      all.push_back(std::make_unique<Machine>(seed * 31 + i));
      auto& options = all.back()->options;
      options.state_folder = "/state";
      options.host_name = "host" + std::to_string(i);
      options.uid = options.gid = 1000;
    }
    start_server();
  }
  ~World() {
    for (auto& machine : all) machine->client.reset();
    service.reset();
  }

  Machine& machine(std::size_t i = 0) { return *all[i]; }
  Client& client(std::size_t i = 0) { return *all[i]->client; }
  std::uint64_t roll(std::uint64_t sides) { return chance() % sides; }

  // ---- processes

  bool start_server() {
    server::ServiceOptions options;
    options.state_folder = "/ebbd";
    auto opened = server::Service::open({clock, server_io, depot, executor, *server_random},
                                        std::move(options));
    if (!opened) return false;
    service = std::move(*opened);
    return true;
  }
  void end_server() {
    for (auto& one : all) unplug_now(*one);
    service.reset();
    executor.clear();
  }
  void kill_server() {
    end_server();
    server_io.kill_process();
  }
  void cut_server_power(std::uint64_t seed) {
    end_server();
    server_io.crash(seed);
    depot.crash(seed);
  }

  bool start_client(std::size_t i = 0) {
    Machine& m = machine(i);
    auto opened = Client::open({clock, m.io, m.random, m.kernel, [] {}}, m.options);
    if (!opened) {
      last_error = opened.error().message();
      return false;
    }
    m.client = std::move(*opened);
    return true;
  }
  void end_client(std::size_t i = 0) {
    unplug_now(machine(i));
    machine(i).client.reset();
  }
  /// kill -9: what was written stays.
  void kill_client(std::size_t i = 0) {
    machine(i).io.kill_process();
    end_client(i);
  }
  void cut_client_power(std::size_t i, std::uint64_t seed) {
    machine(i).io.crash(seed);
    end_client(i);
  }

  // ---- the cable

  void unplug_now(Machine& m) {
    if (!m.peer) return;
    const auto peer = *m.peer;
    m.peer.reset();
    m.up.clear();
    m.down.clear();
    if (service) service->disconnected(peer);
    if (m.client) m.client->link_down({std::make_error_code(std::errc::connection_reset), "cut"});
  }
  void plug(std::size_t i, bool on) {
    machine(i).plugged = on;
    if (!on) unplug_now(machine(i));
  }

  // ---- turning

  /// A little of everything that can happen now; true when anything did.
  bool turn() {
    bool any = executor.run_one();
    for (auto& one : all) any = turn_link(*one) || any;
    return any;
  }
  /// Until nothing moves at this moment of the clock.
  void settle() {
    for (int turns = 0; turn(); ++turns) ASSERT_LT(turns, 2'000'000) << "no end";
  }
  /// Time passes, and what is due happens.
  void pass(Duration duration) {
    const Time end = clock.now() + duration;
    for (int rounds = 0;; ++rounds) {
      ASSERT_LT(rounds, 200'000) << "time does not pass";
      settle();
      const Time next = next_event();
      if (next > end) break;
      const Duration least = std::chrono::milliseconds(1);
      clock.pass(std::min(std::max<Duration>(next - clock.now(), least), end - clock.now()));
      wake();
      if (clock.now() >= end) break;
    }
    if (clock.now() < end) clock.pass(end - clock.now());
    wake();
    settle();
  }
  Time next_event() const {
    Time next = service ? service->next_deadline() : kNever;
    for (const auto& m : all) {
      if (!m->client) continue;
      next = std::min(next, m->client->next_deadline());
      if (!m->peer) next = std::min(next, m->client->connect_at());
    }
    return next;
  }
  void wake() {
    if (service) service->advance(clock.now());
    for (auto& m : all) {
      if (m->client && m->client->next_deadline() <= clock.now()) m->client->advance();
    }
  }
  /// Everything is pushed and told, or cannot be.
  bool run_until_quiet(int seconds = 600) {
    for (int i = 0; i < seconds; ++i) {
      pass(std::chrono::seconds(1));
      if (::testing::Test::HasFatalFailure()) return false;
      bool quiet = service && service->idle();
      for (auto& m : all) quiet = quiet && m->client && m->peer && m->client->quiet();
      quiet_for = quiet ? quiet_for + 1 : 0;
      if (quiet_for >= 5) return true;
    }
    return false;
  }

  // ---- one user at one client.  Each runs the world until the answer is there.

  template <class T, class Start>
  Result<T> ask(Start start) {
    auto answer = std::make_shared<std::optional<Result<T>>>();
    start([answer](Result<T> result) { *answer = std::move(result); });
    for (int i = 0; i < 100 && !*answer; ++i) {
      settle();
      if (!*answer) pass(std::chrono::milliseconds(500));
    }
    if (!*answer) return fail_errno(ENOTRECOVERABLE, "never answered");
    return std::move(**answer);
  }

  Result<NodeId> find(std::size_t i, const std::string& path) {
    NodeId node = kRootNode;
    for (std::size_t at = 0; at < path.size();) {
      const auto slash = std::min(path.find('/', at), path.size());
      const std::string name = path.substr(at, slash - at);
      auto next = ask<fusefs::Attributes>(
          [&](auto reply) { client(i).lookup(node, name, std::move(reply)); });
      if (!next) return pass_on(next.error());
      node = next->node;
      client(i).forget(node, 1);
      at = slash + 1;
    }
    return node;
  }
  static std::pair<std::string, std::string> split(const std::string& path) {
    const auto slash = path.rfind('/');
    if (slash == std::string::npos) return {"", path};
    return {path.substr(0, slash), path.substr(slash + 1)};
  }

  /// Makes or replaces the content in one go: nothing else happens between its calls.
  Result<> write(std::size_t i, const std::string& path, const std::string& text,
                 bool fsync = false) {
    const auto [folder, name] = split(path);
    const auto parent = find(i, folder);
    if (!parent) return pass_on(parent.error());
    auto made = ask<Client::Created>([&](auto reply) {
      client(i).create(*parent, name, 0644, O_CREAT | O_WRONLY | O_TRUNC, {1000, 1000, 022},
                       std::move(reply));
    });
    if (!made) return pass_on(made.error());
    const auto handle = made->open.handle;
    Result<> done;
    if (!text.empty()) {
      auto wrote = client(i).write(handle, 0, as_bytes(text), false);
      if (!wrote) done = pass_on(wrote.error());
    }
    if (done && fsync) {
      done = ask<void>([&](auto reply) { client(i).fsync(handle, false, std::move(reply)); });
    }
    if (auto flushed = client(i).flush(handle); done && !flushed) done = flushed;
    client(i).release(handle);
    client(i).forget(made->attributes.node, 1);
    return done;
  }
  Result<std::string> read(std::size_t i, const std::string& path) {
    const auto node = find(i, path);
    if (!node) return pass_on(node.error());
    auto opened = ask<fusefs::OpenFile>(
        [&](auto reply) { client(i).open(*node, O_RDONLY, std::move(reply)); });
    if (!opened) return pass_on(opened.error());
    std::string text;
    Result<> done;
    for (;;) {
      auto piece = ask<fusefs::Piece>([&](auto reply) {
        client(i).read(opened->handle, text.size(), 128 * 1024, std::move(reply));
      });
      if (!piece) {
        done = pass_on(piece.error());
        break;
      }
      if (piece->size == 0) break;
      std::string part(piece->size, '\0');
      auto got = piece->file->read_at(piece->offset,
                                      std::as_writable_bytes(std::span(part.data(), part.size())));
      if (!got) {
        done = pass_on(got.error());
        break;
      }
      text.append(part, 0, *got);
    }
    client(i).release(opened->handle);
    if (!done) return pass_on(done.error());
    return text;
  }
  Result<> make_folder(std::size_t i, const std::string& path) {
    const auto [folder, name] = split(path);
    const auto parent = find(i, folder);
    if (!parent) return pass_on(parent.error());
    auto made = ask<fusefs::Attributes>([&](auto reply) {
      client(i).make_folder(*parent, name, 0755, {1000, 1000, 022}, std::move(reply));
    });
    if (!made) return pass_on(made.error());
    client(i).forget(made->node, 1);
    return {};
  }
  Result<> unlink(std::size_t i, const std::string& path) {
    const auto [folder, name] = split(path);
    const auto parent = find(i, folder);
    if (!parent) return pass_on(parent.error());
    return ask<void>([&](auto reply) { client(i).unlink(*parent, name, std::move(reply)); });
  }
  Result<> remove_folder(std::size_t i, const std::string& path) {
    const auto [folder, name] = split(path);
    const auto parent = find(i, folder);
    if (!parent) return pass_on(parent.error());
    return ask<void>([&](auto reply) { client(i).remove_folder(*parent, name, std::move(reply)); });
  }
  Result<> rename(std::size_t i, const std::string& from, const std::string& to) {
    const auto [folder, name] = split(from);
    const auto [new_folder, new_name] = split(to);
    const auto parent = find(i, folder);
    const auto new_parent = find(i, new_folder);
    if (!parent) return pass_on(parent.error());
    if (!new_parent) return pass_on(new_parent.error());
    return ask<void>([&](auto reply) {
      client(i).rename(*parent, name, *new_parent, new_name, 0, std::move(reply));
    });
  }
  Result<> set_status(std::size_t i, const std::string& path, const std::string& word) {
    const auto node = find(i, path);
    if (!node) return pass_on(node.error());
    return ask<void>([&](auto reply) {
      client(i).set_xattr(*node, "user.ebb.status", word, 0, std::move(reply));
    });
  }
  std::string attribute(std::size_t i, const std::string& path, const std::string& which) {
    const auto node = find(i, path);
    if (!node) return node.error().message();
    auto value = client(i).get_xattr(*node, "user.ebb." + which);
    return value ? *value : value.error().message();
  }
  Result<std::vector<fusefs::FolderEntry>> list(std::size_t i, NodeId folder) {
    auto opened =
        ask<fusefs::Handle>([&](auto reply) { client(i).open_folder(folder, std::move(reply)); });
    if (!opened) return pass_on(opened.error());
    std::vector<fusefs::FolderEntry> entries;
    auto done = client(i).read_folder(*opened, 0, false, [&](const fusefs::FolderEntry& entry) {
      entries.push_back(entry);
      return true;
    });
    client(i).close_folder(*opened);
    if (!done) return pass_on(done.error());
    return entries;
  }
  /// As FakeDepot::tree(); what is in conflict, in error or behind such goes to `excused`.
  std::map<std::string, std::string> tree(std::size_t i, std::set<std::string>& excused,
                                          NodeId folder = kRootNode, const std::string& at = "") {
    std::map<std::string, std::string> out;
    auto entries = list(i, folder);
    EXPECT_TRUE(entries) << at << ": " << (entries ? "" : entries.error().message());
    if (!entries) return out;
    for (const auto& entry : *entries) {
      const std::string path = at.empty() ? entry.name : at + "/" + entry.name;
      const auto status = client(i).status(entry.attributes.node);
      // What still waits when all is quiet waits behind something in conflict.
      const bool stuck = status && (status->state == store::State::conflict ||
                                    status->state == store::State::error ||
                                    status->state == store::State::waiting);
      if (stuck && entry.attributes.kind != store::Kind::folder) excused.insert(path);
      if (entry.attributes.kind == store::Kind::folder) {
        out[path] = "/";
        out.merge(tree(i, excused, entry.attributes.node, path));
      } else {
        auto text = read(i, path);
        out[path] = text ? *text : "unreadable: " + text.error().message();
      }
    }
    return out;
  }

  static tl::unexpected<Error> pass_on(const Error& error) { return tl::unexpected<Error>(error); }

  std::mt19937_64 chance;
  SetClock clock;
  FakeDepot depot;
  FakeFileIo server_io;
  QueueExecutor executor;
  std::unique_ptr<SeededRandom> server_random;
  std::unique_ptr<server::Service> service;
  std::vector<std::unique_ptr<Machine>> all;
  /// One in so many turns of a link with bytes on it, the connection breaks, somewhere in those
  /// bytes.
  std::uint64_t cut_one_in = 0;
  int quiet_for = 0;
  std::string last_error;

 private:
  bool turn_link(Machine& m) {
    if (!m.client) return false;
    if (!m.peer) {
      if (m.client->connect_at() > clock.now()) return false;
      if (!m.plugged || !service) {
        m.client->link_down({std::make_error_code(std::errc::connection_refused), "no way"});
        return true;
      }
      m.peer = service->connected("sim");
      m.client->link_up();
      return true;
    }
    const Bytes more_up = m.client->next_output();
    m.up.insert(m.up.end(), more_up.begin(), more_up.end());
    const Bytes more_down = service->next_output(*m.peer);
    m.down.insert(m.down.end(), more_down.begin(), more_down.end());
    const bool any = !m.up.empty() || !m.down.empty();
    if (any && cut_one_in != 0 && roll(cut_one_in) == 0) {
      deliver(m, true);
      unplug_now(m);
      return true;
    }
    if (any) deliver(m, false);
    if (m.peer && (m.client->wants_close() || service->wants_close(*m.peer))) {
      deliver(m, false);
      unplug_now(m);
      return true;
    }
    return any;
  }
  /// All of what is on the wire, or a part of it.
  void deliver(Machine& m, bool part) {
    const Bytes up = std::exchange(m.up, {});
    const Bytes down = std::exchange(m.down, {});
    const std::size_t n_up = part ? roll(up.size() + 1) : up.size();
    const std::size_t n_down = part ? roll(down.size() + 1) : down.size();
    if (n_up != 0 && m.peer) service->received(*m.peer, ByteView(up).first(n_up));
    if (n_down != 0 && m.peer) m.client->link_received(ByteView(down).first(n_down));
  }
};

}  // namespace ebb::test
