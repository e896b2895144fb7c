// A served tree in memory.  What was not synced may be lost at a crash: names in order (a random
// first part of what was done since the last sync stays), contents file by file (old, new, or
// torn).
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "server/core/depot.h"

namespace ebb::test {

class FakeDepot final : public server::Depot {
 public:
  FakeDepot();

  // ---- what another program on the server does; durable at once.  Paths from the root, "a/b"
  void make_folder(const std::string& path);
  void write(const std::string& path, const std::string& content);  // in place, or new
  void replace(const std::string& path,
               const std::string& content);  // a new inode renamed onto the name
  void make_symlink(const std::string& path, const std::string& target);
  void hard_link(const std::string& from, const std::string& to);
  void move(const std::string& from, const std::string& to);  // onto whatever is there
  void erase(const std::string& path);                        // with all beneath
  void chown(const std::string& path, std::uint32_t uid);
  void chmod(const std::string& path, std::uint32_t mode);

  // ---- looking
  std::optional<std::string> content(const std::string& path) const;
  std::optional<server::Facts> facts_of(const std::string& path) const;
  bool exists(const std::string& path) const { return facts_of(path).has_value(); }
  std::vector<std::string> names(const std::string& path) const;
  /// Every path -> content ("/" for a folder, "-> target" for a symlink).
  std::map<std::string, std::string> tree() const;
  std::vector<std::string> history_contents() const;
  std::size_t staged_count() const;

  // ---- trouble
  void set_exchanges(bool on) { exchanges_ = on; }
  /// The n-th call from now on (1 = the next) fails with `error`, once.
  void fail_nth(std::uint64_t n, int error);
  /// From the n-th call that changes something on, nothing reaches the disk: every such call fails
  /// with EIO.
  void die_at(std::uint64_t n);
  bool fault_fired() const { return fault_fired_; }
  std::uint64_t calls() const { return calls_; }
  void clear_faults();
  /// Power cut.  Clears faults.
  void crash(std::uint64_t seed);
  /// Called without the lock inside a landing, between its check and its step.
  std::function<void()> in_window;
  /// Called without the lock after each read of content.
  std::function<void()> after_read;
  /// What is noticed from now on is too much to be told one by one.
  void overflow_notices() { notices_.all = true; }
  /// As for a process that may not give files away.
  void refuse_owners() { owners_ = false; }
  /// As a disk that has no room for xattrs: what else is set stays set.
  void refuse_xattrs() { xattrs_ = false; }
  void set_space(server::Space space) { space_ = space; }

  // ---- Depot
  Result<server::FolderRead> read_folder(const server::FolderRef& folder) override;
  Result<server::Facts> stat(const server::Spot& spot) override;
  Result<std::unique_ptr<server::DepotFile>> open(const server::Spot& spot) override;
  Result<server::Space> space() override { return space_; }
  Result<store::FsmapTree> map(const server::FolderRef& folder,
                               const store::FsmapOptions& options) override;
  bool exchanges() const override { return exchanges_; }
  Result<std::unique_ptr<server::StagedFile>> stage_file(std::uint64_t number) override;
  Result<server::Facts> stage_folder(std::uint64_t number, std::uint8_t bits,
                                     const proto::Attributes& attributes) override;
  Result<server::Facts> stage_symlink(std::uint64_t number, const std::string& target,
                                      std::uint8_t bits,
                                      const proto::Attributes& attributes) override;
  Result<server::Facts> staged(std::uint64_t number) override;
  Result<> unstage(std::uint64_t number) override;
  Result<std::vector<std::uint64_t>> list_staged() override;
  Result<std::string> keep(std::uint64_t number, std::uint64_t history) override;
  Result<server::Facts> stat_kept(const std::string& name) override;
  Result<std::unique_ptr<server::DepotFile>> open_kept(const std::string& name) override;
  Result<> drop_kept(const std::string& name) override;
  Result<server::Landed> land_new(std::uint64_t number, const server::Spot& spot) override;
  Result<server::Landed> land_over(std::uint64_t number, const server::Spot& spot,
                                   const server::Facts& seen, std::uint64_t history) override;
  Result<server::Landed> land_link(const server::Spot& landed, const server::Spot& other,
                                   const server::Facts& seen, std::uint64_t number,
                                   std::uint64_t history) override;
  Result<server::Landed> link(const server::Spot& from, const server::Identity& identity,
                              const server::Spot& to) override;
  Result<server::Landed> rename(const server::Spot& from, const server::Identity& identity,
                                const server::Spot& to) override;
  Result<server::Landed> exchange(const server::Spot& a, const server::Identity& identity,
                                  const server::Spot& b, const server::Identity& other) override;
  Result<server::Landed> remove(const server::Spot& spot, const server::Facts& seen,
                                std::uint64_t history) override;
  Result<server::Landed> set_attributes(const server::Spot& spot, const server::Identity& identity,
                                        std::uint8_t bits,
                                        const proto::Attributes& attributes) override;
  Result<> watch(const server::FolderRef& folder, std::uint64_t tag) override;
  server::Notices take_notices() override;
  bool notices_all() const override { return true; }
  int notices_fd() const override { return -1; }
  Result<> sync_staged() override;
  Result<> sync_folder(const server::FolderRef& folder) override;
  Result<> sync_all() override;

 private:
  friend class FakeServedFile;
  friend class FakeStagedFile;
  using Ino = std::uint64_t;

  struct Inode {
    proto::EntryKind kind = proto::EntryKind::none;
    Bytes data;
    std::string target;
    proto::Attributes attributes;
    WallNs ctime = 0;
    std::map<std::string, Ino> names;
  };
  struct Tree {
    std::map<Ino, Inode> inodes;
  };
  using Step = std::function<void(Tree&)>;
  struct Where {
    Ino folder = 0;
    std::string name;
    Ino ino = 0;  // 0: nothing there
  };

  Result<> call(bool changes);
  void step(Step step);
  void flush();
  void sync_data(Ino ino);
  void outside(Step step);  // by another program: in both trees
  Where at(const std::string& path) const;
  void notice(const Where& where, bool being_written = false);
  Result<Where> resolve(const server::Spot& spot) const;
  server::Facts facts(Ino ino) const;
  std::uint32_t links(Ino ino) const;
  Ino make(proto::EntryKind kind);
  Result<server::Facts> stage(std::uint64_t number, proto::EntryKind kind,
                              const std::string& target, std::uint8_t bits,
                              const proto::Attributes& attributes);
  void set(Ino ino, std::uint8_t bits, const proto::Attributes& attributes);
  void bind(Ino folder, const std::string& name, Ino ino);  // 0 unbinds
  void swap(Ino folder_a, const std::string& a, Ino folder_b, const std::string& b);
  void window(std::unique_lock<std::mutex>& lock);
  Result<> settle_out(std::uint64_t number, const server::Facts& before, const Where& beside,
                      std::uint64_t history, server::Landed& landed);
  bool reaches(Ino from, Ino folder) const;

  mutable std::mutex mutex_;
  Tree now_;
  Tree disk_;
  std::vector<Step> unsynced_;
  std::set<Ino> dirty_;
  Ino next_ino_ = 4;
  WallNs tick_ = 1'000'000'000'000'000'000;
  bool exchanges_ = true;
  bool owners_ = true;
  bool xattrs_ = true;
  std::map<Ino, std::uint64_t> watched_;
  server::Notices notices_;
  server::Space space_{1ull << 40, 1ull << 39, 1u << 20, 1u << 19};
  std::uint64_t calls_ = 0;
  std::uint64_t fail_at_ = 0;
  int fail_error_ = 0;
  std::uint64_t changes_ = 0;
  std::uint64_t die_at_ = 0;
  bool fault_fired_ = false;
};

}  // namespace ebb::test
