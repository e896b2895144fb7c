// A directory of the machine as the served tree.  Staging and history lie in ROOT/.ebbd, on the
// same filesystem, so that every landing is one rename.  Safety of paths: beneath.h.
#pragma once

#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "server/core/beneath.h"
#include "server/core/depot.h"
#include "server/core/directory_watch.h"

namespace ebb::server {

class DirectoryDepot final : public Depot {
 public:
  /// Makes ROOT/.ebbd (mode 0700) with `tmp` and `history` where they are missing, and finds out
  /// what the filesystem can.
  static Result<std::unique_ptr<DirectoryDepot>> open(const std::string& root);

  Result<FolderRead> read_folder(const FolderRef& folder) override;
  Result<Facts> stat(const Spot& spot) override;
  Result<std::unique_ptr<DepotFile>> open(const Spot& spot) override;
  Result<Space> space() override;
  Result<store::FsmapTree> map(const FolderRef& folder,
                               const store::FsmapOptions& options) override;
  bool exchanges() const override { return exchanges_; }
  /// As if the filesystem had no RENAME_EXCHANGE; for tests.
  void pretend_no_exchange() { exchanges_ = false; }

  Result<std::unique_ptr<StagedFile>> stage_file(std::uint64_t number) override;
  Result<Facts> stage_folder(std::uint64_t number, std::uint8_t bits,
                             const proto::Attributes& attributes) override;
  Result<Facts> stage_symlink(std::uint64_t number, const std::string& target, std::uint8_t bits,
                              const proto::Attributes& attributes) override;
  Result<Facts> staged(std::uint64_t number) override;
  Result<> unstage(std::uint64_t number) override;
  Result<std::vector<std::uint64_t>> list_staged() override;
  Result<std::string> keep(std::uint64_t number, std::uint64_t history) override;

  Result<Facts> stat_kept(const std::string& name) override;
  Result<std::unique_ptr<DepotFile>> open_kept(const std::string& name) override;
  Result<> drop_kept(const std::string& name) override;

  Result<Landed> land_new(std::uint64_t number, const Spot& spot) override;
  Result<Landed> land_over(std::uint64_t number, const Spot& spot, const Facts& seen,
                           std::uint64_t history) override;
  Result<Landed> land_link(const Spot& landed, const Spot& other, const Facts& seen,
                           std::uint64_t number, std::uint64_t history) override;

  Result<Landed> link(const Spot& from, const Identity& identity, const Spot& to) override;
  Result<Landed> rename(const Spot& from, const Identity& identity, const Spot& to) override;
  Result<Landed> exchange(const Spot& a, const Identity& identity, const Spot& b,
                          const Identity& other) override;
  Result<Landed> remove(const Spot& spot, const Facts& seen, std::uint64_t history) override;
  Result<Landed> set_attributes(const Spot& spot, const Identity& identity, std::uint8_t bits,
                                const proto::Attributes& attributes) override;

  Result<> watch(const FolderRef& folder, std::uint64_t tag) override;
  Notices take_notices() override { return watch_.take(); }
  bool notices_all() const override { return local_; }
  int notices_fd() const override { return watch_.fd(); }

  Result<> sync_staged() override;
  Result<> sync_folder(const FolderRef& folder) override;
  Result<> sync_all() override;

 private:
  DirectoryDepot() = default;

  /// The folder of a spot, checked against its identity.
  Result<Fd> folder_of(const FolderRef& folder) const;
  /// Whatever has the name in an open folder, as O_PATH, what is mounted there too; a symlink stands
  /// for itself.
  static Result<Fd> name_in(const Fd& folder, const std::string& name);
  /// The same, but EXDEV for what is mounted there.
  Result<Fd> entry_of(const Fd& folder, const std::string& name) const;
  Result<std::unique_ptr<DepotFile>> open_file(const Fd& folder, const std::string& name) const;
  Result<Facts> look(const Fd& folder, const std::string& name, bool with_attributes = true) const;
  /// An entry that must have this identity, else ENOENT.
  Result<Facts> expect(const Fd& folder, const std::string& name, const Identity& identity) const;
  Result<Fd> history_folder(std::uint64_t number) const;
  /// Of something that may be there already: not made.
  Result<Fd> folder_of_kept(const std::string& name) const;
  Result<> beside(const Fd& from, const std::string& staged, const Fd& folder,
                  const std::string& name, Landed& landed) const;
  Result<std::string> into_history(int folder, const std::string& name, std::uint64_t number) const;
  Result<> set_aside(std::uint64_t number, const Facts& before, const Fd& folder,
                     const std::string& name, std::uint64_t history, Landed& landed) const;
  Result<Landed> land_without_exchange(std::uint64_t number, const Fd& folder,
                                       const std::string& name, Landed landed,
                                       std::uint64_t history) const;
  bool try_exchange() const;

  std::string root_path_;
  std::string filesystem_;
  Fd root_;
  Fd staging_;
  Fd history_;
  bool exchanges_ = true;
  bool local_ = false;  // only this machine writes to the filesystem
  DirectoryWatch watch_;

  mutable std::mutex unsynced_mutex_;
  mutable std::set<std::uint8_t> unsynced_history_;  // its folders with new names; unsynced_mutex_
};

}  // namespace ebb::server
