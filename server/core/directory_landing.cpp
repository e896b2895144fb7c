// How a DirectoryDepot changes the tree: one rename a step, and what came out of it is looked at
// afterwards.
#include <cerrno>
#include <cstdio>
#include <ctime>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/conflict_name.h"
#include "proto/errors.h"
#include "server/core/directory_depot.h"
#include "server/core/directory_files.h"

namespace ebb::server {

using proto::EntryKind;

namespace {

constexpr int kConflictNamesTried = 1000;

Result<> move_name(int from_folder, const std::string& from, int to_folder, const std::string& to,
                   unsigned flags) {
  if (::renameat2(from_folder, from.c_str(), to_folder, to.c_str(), flags) == 0) return {};
  // A filesystem without NOREPLACE: a link is refused where the name is taken, as well.
  if (errno == EINVAL && flags == RENAME_NOREPLACE &&
      ::linkat(from_folder, from.c_str(), to_folder, to.c_str(), 0) == 0) {
    ::unlinkat(from_folder, from.c_str(), 0);
    return {};
  }
  return fail_errno(errno, to);
}

bool same_inode(int folder_a, const std::string& a, int folder_b, const std::string& b) {
  struct stat one {};
  struct stat two {};
  return ::fstatat(folder_a, a.c_str(), &one, AT_SYMLINK_NOFOLLOW) == 0 &&
         ::fstatat(folder_b, b.c_str(), &two, AT_SYMLINK_NOFOLLOW) == 0 &&
         one.st_dev == two.st_dev && one.st_ino == two.st_ino;
}

tl::unexpected<Error> moved_on(const std::string& name) {
  return fail(proto::Errc::moved_on, name);
}

WallNs wall_now() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

}  // namespace

// ---- history

Result<Fd> DirectoryDepot::history_folder(std::uint64_t number) const {
  const std::string name = fmt::format("{:02x}", number & 0xFF);
  if (::mkdirat(history_.get(), name.c_str(), 0700) != 0 && errno != EEXIST) {
    return fail_errno(errno, "history");
  }
  return open_beneath(history_.get(), name, O_RDONLY | O_DIRECTORY);
}

Result<std::string> DirectoryDepot::into_history(int folder, const std::string& name,
                                                 std::uint64_t number) const {
  auto history = history_folder(number);
  if (!history) return pass(history.error());
  {
    std::lock_guard lock(unsynced_mutex_);
    unsynced_history_.insert(static_cast<std::uint8_t>(number & 0xFF));
  }
  for (int count = 1;; ++count) {
    const std::string kept = kept_name(number, count);
    auto ok = move_name(folder, name, history->get(), kept, RENAME_NOREPLACE);
    if (ok) return kept;
    if (!is_errno(ok.error(), EEXIST) || count == kKeptOfOneNumber) return pass(ok.error());
    // A further name of what is there already.
    if (same_inode(folder, name, history->get(), kept)) {
      if (::unlinkat(folder, name.c_str(), 0) != 0) return fail_errno(errno, name);
      return kept;
    }
  }
}

Result<std::string> DirectoryDepot::keep(std::uint64_t number, std::uint64_t history) {
  auto kept = into_history(staging_.get(), number_name(number), history);
  if (!kept && is_errno(kept.error(), ENOENT)) return std::string();
  return kept;
}

Result<Fd> DirectoryDepot::folder_of_kept(const std::string& name) const {
  const auto number = parse_number(name.substr(0, 16));
  if (!number || name.find('/') != std::string::npos) return fail_errno(ENOENT, name);
  return open_beneath(history_.get(), fmt::format("{:02x}", *number & 0xFF),
                      O_RDONLY | O_DIRECTORY);
}

Result<Facts> DirectoryDepot::stat_kept(const std::string& name) {
  auto folder = folder_of_kept(name);
  if (!folder) return pass(folder.error());
  return look(*folder, name);
}

Result<std::unique_ptr<DepotFile>> DirectoryDepot::open_kept(const std::string& name) {
  auto folder = folder_of_kept(name);
  if (!folder) return pass(folder.error());
  return open_file(*folder, name);
}

Result<> DirectoryDepot::drop_kept(const std::string& name) {
  auto folder = folder_of_kept(name);
  if (!folder) return is_errno(folder.error(), ENOENT) ? Result<>() : pass(folder.error());
  if (::unlinkat(folder->get(), name.c_str(), 0) == 0 || errno == ENOENT) return {};
  return fail_errno(errno, name);
}

/// Under a conflict name, when it is not what was seen.
Result<> DirectoryDepot::beside(const Fd& from, const std::string& staged, const Fd& folder,
                                const std::string& name, Landed& landed) const {
  for (int count = 1; count <= kConflictNamesTried; ++count) {
    const std::string other = conflict_name(name, "server", wall_now(), count);
    auto ok = move_name(from.get(), staged, folder.get(), other, RENAME_NOREPLACE);
    if (ok) landed.conflict_name = other;
    if (ok || !is_errno(ok.error(), EEXIST)) return ok;
  }
  return fail_errno(EEXIST, name);
}

/// What an exchange brought into staging: to history, or beside the name when it is not what was
/// seen.
Result<> DirectoryDepot::set_aside(std::uint64_t number, const Facts& before, const Fd& folder,
                                   const std::string& name, std::uint64_t history,
                                   Landed& landed) const {
  const std::string staged = number_name(number);
  auto out = look(staging_, staged, false);
  if (out && same_content(*out, before)) {
    auto kept = into_history(staging_.get(), staged, history);
    if (!kept) return pass(kept.error());
    landed.kept = true;
    landed.kept_as = std::move(*kept);
    landed.kept_bytes = out->allocated;
    return {};
  }
  return beside(staging_, staged, folder, name, landed);
}

// ---- landing

Result<Landed> DirectoryDepot::land_new(std::uint64_t number, const Spot& spot) {
  if (auto ok = check_spot(spot); !ok) return pass(ok.error());
  auto folder = folder_of(spot.folder);
  if (!folder) return pass(folder.error());
  auto moved =
      move_name(staging_.get(), number_name(number), folder->get(), spot.name, RENAME_NOREPLACE);
  if (!moved) return pass(moved.error());
  auto after = look(*folder, spot.name);
  if (!after) return pass(after.error());
  Landed landed;
  landed.after = std::move(*after);
  return landed;
}

Result<Landed> DirectoryDepot::land_over(std::uint64_t number, const Spot& spot, const Facts& seen,
                                         std::uint64_t history) {
  if (auto ok = check_spot(spot); !ok) return pass(ok.error());
  auto folder = folder_of(spot.folder);
  if (!folder) return pass(folder.error());
  auto before = look(*folder, spot.name);
  if (!before || !untouched(*before, seen)) return moved_on(spot.name);
  Landed landed;
  landed.before = std::move(*before);
  if (!exchanges_) {
    return land_without_exchange(number, *folder, spot.name, std::move(landed), history);
  }
  auto moved =
      move_name(staging_.get(), number_name(number), folder->get(), spot.name, RENAME_EXCHANGE);
  if (!moved) return is_errno(moved.error(), ENOENT) ? moved_on(spot.name) : pass(moved.error());
  auto aside = set_aside(number, landed.before, *folder, spot.name, history, landed);
  if (!aside) return pass(aside.error());
  auto after = look(*folder, spot.name);
  if (!after) return pass(after.error());
  landed.after = std::move(*after);
  return landed;
}

/// The old content gets a second name in history, then the new one takes its name.  Another
/// program's new file of that name is lost when it comes between the two (ebbd(8), "Landing").
Result<Landed> DirectoryDepot::land_without_exchange(std::uint64_t number, const Fd& folder,
                                                     const std::string& name, Landed landed,
                                                     std::uint64_t history) const {
  auto kept = history_folder(history);
  if (!kept) return pass(kept.error());
  const std::string kept_name = server::kept_name(history);
  if (::linkat(folder.get(), name.c_str(), kept->get(), kept_name.c_str(), 0) != 0) {
    return fail_errno(errno, "history");
  }
  auto out = look(*kept, kept_name, false);
  if (!out || !same_content(*out, landed.before)) {
    ::unlinkat(kept->get(), kept_name.c_str(), 0);
    return moved_on(name);
  }
  if (::renameat(staging_.get(), number_name(number).c_str(), folder.get(), name.c_str()) != 0) {
    const int error = errno;
    ::unlinkat(kept->get(), kept_name.c_str(), 0);
    return fail_errno(error, name);
  }
  landed.kept = true;
  landed.kept_as = kept_name;
  landed.kept_bytes = out->allocated;
  auto after = look(folder, name);
  if (!after) return pass(after.error());
  landed.after = std::move(*after);
  return landed;
}

Result<Landed> DirectoryDepot::land_link(const Spot& landed_at, const Spot& other,
                                         const Facts& seen, std::uint64_t number,
                                         std::uint64_t history) {
  if (auto ok = check_spot(other); !ok) return pass(ok.error());
  auto from_folder = folder_of(landed_at.folder);
  if (!from_folder) return pass(from_folder.error());
  auto to_folder = folder_of(other.folder);
  if (!to_folder) return pass(to_folder.error());
  auto source = look(*from_folder, landed_at.name);
  auto target = look(*to_folder, other.name);
  if (!source || !target) return moved_on(other.name);
  Landed landed;
  landed.before = std::move(*target);
  landed.after = std::move(*source);
  if (landed.before.identity == landed.after.identity) return landed;
  if (!same_content(landed.before, seen)) return moved_on(other.name);
  const std::string staged = number_name(number);
  if (::linkat(from_folder->get(), landed_at.name.c_str(), staging_.get(), staged.c_str(), 0) !=
      0) {
    return fail_errno(errno, other.name);
  }
  const unsigned flags = exchanges_ ? RENAME_EXCHANGE : 0u;
  auto moved = move_name(staging_.get(), staged, to_folder->get(), other.name, flags);
  if (!moved) {
    ::unlinkat(staging_.get(), staged.c_str(), 0);
    return pass(moved.error());
  }
  if (exchanges_) {
    auto aside = set_aside(number, landed.before, *to_folder, other.name, history, landed);
    if (!aside) return pass(aside.error());
  }
  auto after = look(*to_folder, other.name);
  if (after) landed.after = std::move(*after);
  return landed;
}

// ---- names

Result<Landed> DirectoryDepot::link(const Spot& from, const Identity& identity, const Spot& to) {
  for (const auto* spot : {&from, &to}) {
    if (auto ok = check_spot(*spot); !ok) return pass(ok.error());
  }
  auto from_folder = folder_of(from.folder);
  if (!from_folder) return pass(from_folder.error());
  auto to_folder = folder_of(to.folder);
  if (!to_folder) return pass(to_folder.error());
  Landed landed;
  auto before = expect(*from_folder, from.name, identity);
  if (!before) return pass(before.error());
  landed.before = std::move(*before);
  if (::linkat(from_folder->get(), from.name.c_str(), to_folder->get(), to.name.c_str(), 0) != 0) {
    return fail_errno(errno, to.name);
  }
  auto after = look(*to_folder, to.name);
  if (!after) return pass(after.error());
  landed.after = std::move(*after);
  return landed;
}

Result<Landed> DirectoryDepot::rename(const Spot& from, const Identity& identity, const Spot& to) {
  for (const auto* spot : {&from, &to}) {
    if (auto ok = check_spot(*spot); !ok) return pass(ok.error());
  }
  auto from_folder = folder_of(from.folder);
  if (!from_folder) return pass(from_folder.error());
  auto to_folder = folder_of(to.folder);
  if (!to_folder) return pass(to_folder.error());
  auto before = expect(*from_folder, from.name, identity);
  if (!before) return pass(before.error());
  Landed landed;
  landed.before = std::move(*before);
  auto moved =
      move_name(from_folder->get(), from.name, to_folder->get(), to.name, RENAME_NOREPLACE);
  if (!moved) return pass(moved.error());
  auto after = look(*to_folder, to.name);
  if (!after) return pass(after.error());
  landed.after = std::move(*after);
  return landed;
}

Result<Landed> DirectoryDepot::exchange(const Spot& a, const Identity& identity, const Spot& b,
                                        const Identity& other) {
  for (const auto* spot : {&a, &b}) {
    if (auto ok = check_spot(*spot); !ok) return pass(ok.error());
  }
  if (!exchanges_) return fail_errno(EOPNOTSUPP, "exchange");
  auto folder_a = folder_of(a.folder);
  if (!folder_a) return pass(folder_a.error());
  auto folder_b = folder_of(b.folder);
  if (!folder_b) return pass(folder_b.error());
  auto before = expect(*folder_a, a.name, identity);
  if (!before) return pass(before.error());
  if (auto seen = expect(*folder_b, b.name, other); !seen) return pass(seen.error());
  Landed landed;
  landed.before = std::move(*before);
  auto moved = move_name(folder_a->get(), a.name, folder_b->get(), b.name, RENAME_EXCHANGE);
  if (!moved) return pass(moved.error());
  auto after = look(*folder_b, b.name);
  if (!after) return pass(after.error());
  landed.after = std::move(*after);
  auto swapped = look(*folder_a, a.name);
  if (!swapped) return pass(swapped.error());
  landed.other = std::move(*swapped);
  return landed;
}

Result<Landed> DirectoryDepot::remove(const Spot& spot, const Facts& seen, std::uint64_t history) {
  if (auto ok = check_spot(spot); !ok) return pass(ok.error());
  auto folder = folder_of(spot.folder);
  if (!folder) return pass(folder.error());
  auto before = look(*folder, spot.name);
  if (!before) return pass(before.error());
  Landed landed;
  landed.before = std::move(*before);
  const bool is_folder = landed.before.kind == EntryKind::folder;
  if (landed.before.identity != seen.identity) return moved_on(spot.name);
  if (!is_folder && !removable(landed.before, seen)) return moved_on(spot.name);
  if (is_folder) {
    if (::unlinkat(folder->get(), spot.name.c_str(), AT_REMOVEDIR) == 0) return landed;
    return fail_errno(errno == EEXIST ? ENOTEMPTY : errno, spot.name);
  }
  if (landed.before.links > 1) {  // the content stays under its other names
    if (::unlinkat(folder->get(), spot.name.c_str(), 0) == 0) return landed;
    return fail_errno(errno, spot.name);
  }
  auto kept_name = into_history(folder->get(), spot.name, history);
  if (!kept_name) return pass(kept_name.error());
  auto kept = history_folder(history);
  if (!kept) return pass(kept.error());
  auto out = look(*kept, *kept_name, false);
  if (out && same_content(*out, landed.before)) {
    landed.kept = true;
    landed.kept_as = std::move(*kept_name);
    landed.kept_bytes = out->allocated;
    return landed;
  }
  // Another program wrote at the last moment: its file goes back, or beside a newer one that has
  // the name already.
  auto back = move_name(kept->get(), *kept_name, folder->get(), spot.name, RENAME_NOREPLACE);
  if (!back) back = beside(*kept, *kept_name, *folder, spot.name, landed);
  return back ? Result<Landed>(moved_on(spot.name)) : Result<Landed>(pass(back.error()));
}

Result<Landed> DirectoryDepot::set_attributes(const Spot& spot, const Identity& identity,
                                              std::uint8_t bits,
                                              const proto::Attributes& attributes) {
  if (auto ok = check_spot(spot); !ok) return pass(ok.error());
  auto folder = folder_of(spot.folder);
  if (!folder) return pass(folder.error());
  auto entry = entry_of(*folder, spot.name);
  if (!entry) return pass(entry.error());
  auto before = facts_of(*entry, filesystem_, true);
  if (!before) return pass(before.error());
  if (before->identity != identity) return fail_errno(ENOENT, spot.name);
  Landed landed;
  landed.before = std::move(*before);
  if (auto ok = apply_attributes(*entry, landed.before.kind, bits, attributes); !ok) {
    return pass(ok.error());
  }
  auto after = facts_of(*entry, filesystem_, true);
  if (!after) return pass(after.error());
  landed.after = std::move(*after);
  return landed;
}

}  // namespace ebb::server
