// Opening a store: making a new one, or finding its last checkpoint and redoing the journal.
#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/check.h"
#include "base/hash.h"
#include "store/replacing.h"
#include "store/store_impl.h"

namespace ebb::store {
namespace {

TreeId random_tree(Random& random) {
  TreeId tree;
  while (!tree) {
    const std::uint64_t words[2] = {random.next(), random.next()};
    std::memcpy(tree.bytes.data(), words, sizeof words);
  }
  return tree;
}

std::uint64_t slot_sum(const CheckpointSlot& slot) {
  return xxh3(bytes_of(slot).first(offsetof(CheckpointSlot, xxh3)));
}

FileHeader header_for(FileNo file, TreeId tree) {
  FileHeader header{};
  header.magic = kFileMagic;
  header.version = kFormat;
  header.file = static_cast<std::uint16_t>(file);
  std::memcpy(header.tree, tree.bytes.data(), sizeof header.tree);
  header.xxh3 = xxh3(bytes_of(header).first(offsetof(FileHeader, xxh3)));
  return header;
}

Result<> make_file(FileIo& io, const std::string& path, std::uint64_t pages, ByteView head) {
  auto file = io.open(path, OpenMode::create);
  if (!file) return pass(file.error());
  if (auto r = (*file)->truncate(0); !r) return r;
  if (auto r = (*file)->allocate(pages * kPageSize); !r) return r;
  if (auto r = (*file)->write_at(0, head); !r) return r;
  return (*file)->sync();
}

}  // namespace

Result<> Store::Impl::open() {
  if (options.create) {
    if (auto r = io.make_folder(folder); !r) return r;
  }
  auto waits = replacement_waits(io, folder);
  if (!waits) return pass(waits.error());
  auto there = io.exists(folder + "/super");
  if (!there) return pass(there.error());
  if (!*there && !*waits && !options.create) return fail_errno(ENOENT, folder + ": no store here");
  auto held = io.lock(folder + "/lock", options.purpose);
  if (!held) return pass(held.error());
  lock = std::move(*held);
  if (auto r = replace(io, folder); !r) return r;
  there = io.exists(folder + "/super");  // another may have made it before we had the lock
  if (!there) return pass(there.error());
  const bool made = !*there;
  if (made) {
    if (auto r = make(); !r) return r;
  }
  if (auto r = pages.open(); !r) return r;
  if (auto r = read_slot(); !r) return r;
  if (auto r = check_headers(); !r) return r;
  if (auto r = replay(); !r) return r;
  note_boot(made);
  return {};
}

// super comes last, and under its name only when all is on disk: a crash before that leaves nothing
// that counts as a store.
Result<> Store::Impl::make() {
  auto journals = Journal::list(io, folder);
  if (!journals) return pass(journals.error());
  if (!journals->empty()) return fail(Errc::corrupt, folder + "/super is missing");
  auto& random = options.random != nullptr ? *options.random : system_random();
  const auto tree_of_it = options.tree ? options.tree : random_tree(random);
  for (const auto file : {FileNo::mdt, FileNo::fname, FileNo::dirmap}) {
    const auto path = folder + "/" + kFileNames[static_cast<int>(file)];
    const auto header = header_for(file, tree_of_it);
    if (auto r = make_file(io, path, 2, bytes_of(header)); !r) return r;
  }
  CheckpointSlot first{};
  first.magic = kSlotMagic;
  first.version = kFormat;
  std::memcpy(first.tree, tree_of_it.bytes.data(), sizeof first.tree);
  first.number = 1;
  first.first_journal = 1;
  first.first_sequence = 1;
  first.secret = random.next();
  first.xxh3 = slot_sum(first);
  const auto path = folder + "/super";
  if (auto r = make_file(io, path + ".new", kSuperPages, bytes_of(first)); !r) return r;
  if (auto r = io.rename(path + ".new", path); !r) return r;
  return io.sync_folder(folder);
}

Result<> Store::Impl::read_slot() {
  std::optional<CheckpointSlot> best;
  bool newer = false;
  bool older = false;
  for (const std::uint64_t page : {0, 1}) {
    auto found = pages.get<CheckpointSlot>(FileNo::super, page * kPageSize);
    if (!found) return pass(found.error());
    if (found->magic != kSlotMagic) continue;
    newer = newer || found->version > kFormat;
    older = older || (found->version < kFormat && found->version > 0);
    if (found->xxh3 != slot_sum(*found) || found->version != kFormat) continue;
    if (!best || found->number > best->number) best = *found;
  }
  if (newer) return fail(Errc::newer_format, folder);
  if (older && !best) return fail(Errc::older_format, folder);
  if (!best || best->reserved != 0 || best->first_sequence == 0) {
    return pages.corrupt(FileNo::super, 0, "no valid checkpoint");
  }
  slot = *best;
  std::memcpy(tree_id.bytes.data(), slot.tree, sizeof slot.tree);
  if (options.tree && options.tree != tree_id) return fail(Errc::other_tree, folder);
  names.set_secret(slot.secret);
  return {};
}

Result<> Store::Impl::check_headers() {
  for (const auto file : {FileNo::mdt, FileNo::fname, FileNo::dirmap}) {
    auto header = pages.get<FileHeader>(file, 0);
    if (!header) return pass(header.error());
    const auto right = header_for(file, tree_id);
    if (std::memcmp(&*header, &right, sizeof right) != 0)
      return pages.corrupt(file, 0, "bad header");
  }
  return {};
}

// After a replay a whole checkpoint follows: the journals that were read may hold a torn tail, and
// what a failed sync left in the kernel's memory alone; neither is built upon.
Result<> Store::Impl::replay() {
  auto found = replay_journals(io, folder, tree_id, slot.first_journal, slot.first_sequence,
                               [this](FileNo file, std::uint64_t offset, ByteView bytes) {
                                 return pages.replay(file, offset, bytes);
                               });
  if (!found) return pass(found.error());
  if (auto r = pages.grow_to_overlay(); !r) return r;
  auto journals = Journal::list(io, folder);
  if (!journals) return pass(journals.error());
  std::uint64_t next = slot.first_journal;
  bool only_its_own = true;
  for (const auto number : *journals) {
    next = std::max(next, number);
    only_its_own = only_its_own && number == slot.first_journal;
  }
  journal = std::make_unique<Journal>(io, folder, tree_id);
  const bool carry = found->records > 0 || !found->clean || !only_its_own;
  if (!carry) {
    if (auto r = journal->start(slot.first_journal, found->last_sequence + 1); !r) return r;
    return read_live();
  }
  if (auto r = journal->start(next + 1, found->last_sequence + 1); !r) return r;
  if (auto r = read_live(); !r) return r;
  frozen_journal = next + 1;
  frozen_sequence = found->last_sequence + 1;
  if (auto r = pages.freeze(); !r) return r;
  if (auto r = carry_over(); !r) return r;
  pages.drop_frozen();
  for (const auto number : *journals) (void)io.remove(folder + "/" + Journal::name(number));
  return {};
}

Result<> Store::Impl::read_live() {
  auto record = pages.get<LiveRecord>(FileNo::super, kLivePage * kPageSize);
  if (!record) return pass(record.error());
  if (std::memcmp(&*record, kZeros.data(), sizeof *record) == 0) return make_tree();
  const bool whole = unpack(*record, live);
  const bool fits = live.mdt_used <= pages.capacity(FileNo::mdt) * kNodesInPage &&
                    live.fname_used <= pages.capacity(FileNo::fname) * kTextSlotsInPage &&
                    live.dirmap_used <= pages.capacity(FileNo::dirmap) &&
                    live.mdt_free < live.mdt_used && live.fname_free < live.fname_used &&
                    live.dirmap_free < live.dirmap_used && live.root < live.dirmap_used;
  if (!whole || !fits) {
    return pages.corrupt(FileNo::super, kLivePage * kPageSize, "bad record");
  }
  return {};
}

/// The first transaction of a new store: the root.
Result<> Store::Impl::make_tree() {
  begin();
  live.mdt_used = 1;
  live.fname_used = kTextSlotsInPage;
  live.dirmap_used = 1;
  live.boot = xxh3(as_bytes(io.boot_id()));
  const auto fill = [this]() -> Result<> {
    if (auto r = tree.create(); !r) return r;
    auto root = nodes.make(Kind::folder);
    if (!root) return pass(root.error());
    CHECK(*root == kRootNode);
    return {};
  };
  auto made = fill();
  if (made) return commit();
  abort();
  return made;
}

void Store::Impl::note_boot(bool made) {
  boot = xxh3(as_bytes(io.boot_id()));
  rebooted = !made && live.boot != boot;
  boot_unsettled = rebooted;
}

}  // namespace ebb::store
