// A directory that is brought up to date with a map: what comes is staged in `.ebbd/patch`, held to
// its digest, and takes its name in one step; what the map lists and is to go goes, or is kept.
//
// Invariants.
// - Nothing outside the directory is written: every folder on the way is opened by its own name,
//   and is neither a symlink nor on another filesystem.
// - A name has its former content or the new one whole, at every moment.
// - What no map lists, or was changed since it was listed, is never deleted: where it stands in the
//   way it goes to `.ebbd/kept`.
// - Everything staged may be left lying: its name is its digest, and is believed after it was
//   checked.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/digest.h"
#include "base/result.h"
#include "store/fsmap_tree.h"
#include "store/open_here.h"

namespace ebb::store {

/// A content on its way.  Any one thread.
class StagedPart {
 public:
  explicit StagedPart(OpenFile fd) : fd_(std::move(fd)) {}
  Result<> write_at(std::uint64_t offset, ByteView bytes);
  /// All of it has come: cut or extended to this size, with mode and mtime as it is to have them.
  Result<> finish(std::uint64_t size, std::uint32_t mode, std::int64_t mtime);

 private:
  OpenFile fd_;
};

/// Errors are errno values with the path as detail.
class PatchFolder {
 public:
  /// ENOTDIR, EBUSY: another patch is at work there, ...  Nothing is written yet.
  static Result<std::unique_ptr<PatchFolder>> open(const std::string& path);
  /// Before anything is staged or changed.
  Result<> prepare();

  /// Of the directory itself.
  int fd() const { return top_.get(); }

  // ---- staging.  verify() from any thread; the others from one
  static std::string staged_name(const Digest& digest, std::size_t count);
  /// Bytes that are there.
  std::uint64_t staged_size(const std::string& name) const;
  Result<StagedPart> stage(const std::string& name, bool anew);
  /// Whether it is what the digest says for this path.
  Result<bool> verify(const std::string& name, std::string_view path, const Digest& digest,
                      DigestKind kind) const;
  Result<> drop_staged(const std::string& name);
  /// What an earlier patch left and nobody wants.
  Result<> drop_others(const std::set<std::string>& wanted);
  /// These staged contents survive a power cut.
  Result<> sync_staged(const std::set<std::string>& names);
  /// The names that were given and taken so far do.
  Result<> sync_names();

  // ---- the directory
  /// Gives a staged content its name.  `listed`: the file that stands there, as the map of the
  /// directory has it; what else stands there is kept.  `keep`: it, too.
  Result<> land(const std::string& name, const std::string& path, const FsmapFile* listed,
                bool keep);
  /// Takes a file away that is as it was listed; EAGAIN where it is not.  Folders that are empty
  /// then go with it.
  Result<> remove(const std::string& path, const FsmapFile& listed, bool keep);
  /// Nothing is staged any more.
  Result<> finish();

  /// Of what is kept from now on, from the directory; "" while nothing was.
  const std::string& kept_in() const { return kept_in_; }
  /// How many files went there.
  std::uint64_t kept() const { return kept_; }
  /// What is kept from now on goes into a folder of its own.
  void next_round();

 private:
  struct Place {
    std::shared_ptr<OpenFile> folder;
    std::string name;
  };
  explicit PatchFolder(OpenFile top) : top_(std::move(top)) {}
  Result<Place> place_of(const std::string& path, bool make);
  Result<> swap_in(const std::string& name, const Place& place, const std::string& path,
                   const FsmapFile* listed, bool keep);
  Result<Place> kept_place(const std::string& path);
  /// A name of `folder` goes to `.ebbd/kept`, as what stood at `path`.
  Result<> keep(int folder, const std::string& name, const std::string& path);
  void touch(const std::shared_ptr<OpenFile>& folder);
  void remove_empty_above(const std::string& path);

  OpenFile top_;
  OpenFile own_;
  OpenFile stage_;
  std::vector<std::shared_ptr<OpenFile>> touched_;  // folders whose names changed, the first few
  std::string last_folder_;  // the one that place_of() found last, and its descriptor
  std::shared_ptr<OpenFile> last_;
  std::string kept_in_;
  std::shared_ptr<OpenFile> kept_folder_;
  std::uint64_t kept_ = 0;
};

}  // namespace ebb::store
