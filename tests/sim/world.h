// A server and some clients in one thread, under one clock and one seed: the links lose their
// connections at any byte, disks fail, processes die, machines lose power.  Everything that happens
// follows from the seed.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <deque>
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
  void name_changed(NodeId, const std::string&) override { ++told, ++told_of_names; }
  std::uint64_t told = 0;
  std::uint64_t told_of_names = 0;
};

class SeededRandom final : public Random {
 public:
  explicit SeededRandom(std::uint64_t seed) : engine_(seed) {}
  std::uint64_t next() override { return engine_(); }

 private:
  std::mt19937_64 engine_;
};

/// Bytes that arrive when their time has come, in order.
struct Packet {
  Time at{};
  Bytes bytes;
};

/// One client's machine: its disk, its process, its cable.
struct Machine {
  explicit Machine(std::uint64_t seed) : random(seed) {}

  FakeFileIo io;
  CountingKernel kernel;
  SeededRandom random;
  fusefs::KernelFiles* files = nullptr;
  Executor* executor = nullptr;
  fusefs::ClientOptions options;
  server::Admit admit;  // who asks whether it may come in; none: it may
  std::unique_ptr<Client> client;
  std::optional<server::PeerId> peer;
  bool plugged = true;
  std::deque<Packet> up, down;  // on the wire
};

class World {
 public:
  /// Most do all they can; one in four, on either side, is held at small packets and nothing that
  /// came later.
  static proto::Limits limits_of(std::uint64_t seed) {
    proto::Limits limits;
    limits.packing = proto::Packing::always;
    if (seed % 4 != 3) return limits;
    limits.packet_max = proto::kPacketMaxAtFirst;
    limits.capabilities = 0;
    return limits;
  }

  explicit World(std::uint64_t seed, std::size_t machines = 1) : chance(seed), seed_(seed) {
    server_random = std::make_unique<SeededRandom>(seed + 1000);
    for (std::size_t i = 0; i < machines; ++i) {
      all.push_back(std::make_unique<Machine>(seed * 31 + i));
      auto& options = all.back()->options;
      options.state_folder = "/state";
      options.host_name = "host" + std::to_string(i);
      options.uid = options.gid = 1000;
      options.limits = limits_of(seed + i);
      options.delta_least = 1;
      // With the even ones a whole content goes as a delta.
      options.parts_least = (seed + i) % 2 == 0 ? UINT64_MAX : 1;
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
    options.changes_max = changes_max;
    options.limits = limits_of(seed_ / 4);
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
    auto opened =
        Client::open({clock, m.io, m.random, m.kernel, [] {}, m.files, m.executor}, m.options);
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
      for (const auto* way : {&m->up, &m->down}) {
        if (!way->empty()) next = std::min(next, way->front().at);
      }
    }
    return next;
  }
  void wake() {
    if (service) service->advance(clock.now());
    for (auto& m : all) {
      if (!m->client || m->client->next_deadline() > clock.now()) continue;
      if (trace) std::fprintf(stderr, "  wakes %s\n", m->options.host_name.c_str());
      m->client->advance();
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

  static tl::unexpected<Error> pass_on(const Error& error) { return tl::unexpected<Error>(error); }

  std::mt19937_64 chance;
  const std::uint64_t seed_;
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
  /// Bytes are up to so long on their way.
  Duration delay_max{};
  std::uint64_t cuts = 0;
  /// Of the server's log, from its next start on.
  std::uint64_t changes_max = 1'000'000;
  int quiet_for = 0;
  bool trace = false;
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
      m.peer = service->connected("sim", m.admit);
      m.client->link_up();
      return true;
    }
    bool any = put(m.up, m.client->next_output());
    any = put(m.down, service->next_output(*m.peer)) || any;
    if (any && cut_one_in != 0 && roll(cut_one_in) == 0) {
      deliver(m, true);
      unplug_now(m);
      ++cuts;
      return true;
    }
    if (!deliver(m, false)) return any;
    if (m.peer && (m.client->wants_close() || service->wants_close(*m.peer))) {
      put(m.up, m.client->next_output());
      put(m.down, service->next_output(*m.peer));
      deliver(m, true, true);
      unplug_now(m);
    }
    return true;
  }
  bool put(std::deque<Packet>& way, Bytes bytes) {
    if (bytes.empty()) return false;
    Time at = clock.now();
    if (delay_max.count() > 0) at += Duration(static_cast<Duration::rep>(roll(delay_max.count())));
    if (!way.empty()) at = std::max(at, way.back().at);
    way.push_back({at, std::move(bytes)});
    return true;
  }
  /// What has arrived by now; at the end of a connection all of it, or its first part.
  Bytes arrived(std::deque<Packet>& way, bool end) {
    Bytes out;
    const Time now = clock.now();
    while (!way.empty() && (end || way.front().at <= now)) {
      const auto& bytes = way.front().bytes;
      out.insert(out.end(), bytes.begin(), bytes.end());
      way.pop_front();
    }
    return out;
  }
  bool deliver(Machine& m, bool end, bool whole = false) {
    const Bytes up = arrived(m.up, end);
    const Bytes down = arrived(m.down, end);
    if (trace && !down.empty()) std::fprintf(stderr, "  to %s\n", m.options.host_name.c_str());
    const bool part = end && !whole;
    const std::size_t n_up = part ? roll(up.size() + 1) : up.size();
    const std::size_t n_down = part ? roll(down.size() + 1) : down.size();
    if (n_up != 0 && m.peer) service->received(*m.peer, ByteView(up).first(n_up));
    if (n_down != 0 && m.peer) m.client->link_received(ByteView(down).first(n_down));
    return n_up != 0 || n_down != 0;
  }
};

}  // namespace ebb::test
