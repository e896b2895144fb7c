// Any damage to the files of a store and its journals: no crash, no hang, and a repair that says
// that it is done leaves a store that is sound.
//
// An input is what is done to a small store: a byte that says whether the checksums are made right
// again afterwards (an attacker's damage, or what a fuzzer could never guess), then changes: u8
// file, u8 how, u16 page or offset / 8, and
//   how < 64    that many bytes, less 63 at most, written there
//   how = 64    u16: the file is cut to so many bytes
//   how = 65    u16 from: 64 bytes are copied from there
//   how > 65    one bit is turned
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>

#include "base/check.h"
#include "base/hash.h"
#include "store/check.h"
#include "store/errors.h"
#include "store/layout.h"
#include "store/repair.h"
#include "store/store.h"
#include "tests/support/fake_file_io.h"

namespace ebb::store {
namespace {

using test::FakeFileIo;

constexpr const char* kFolder = "data";
constexpr const char* kPaths[] = {"data/super", "data/mdt", "data/fname", "data/dirmap",
                                  "data/journal.2"};

struct FixedRandom final : Random {
  std::uint64_t next() override { return 42; }
};

void need(const Result<>& result) {
  CHECK(result.has_value());
}

NodeId make(Store& store, NodeId folder, const std::string& name, Kind kind) {
  Transaction t(store);
  const auto id = *t.make_node(kind);
  auto node = *store.node(id);
  node.entry = EntryId(id.value + 100);
  node.queue_seq = t.next_sequence();
  node.set(kQueued);
  need(t.put(id, node));
  need(t.bind(folder, name, Side::local, id));
  if (id.value % 3 == 0) need(t.bind(folder, name, Side::server, id));
  if (id.value % 4 == 0) need(t.set_text(id, Text::reason, as_bytes("why " + name)));
  if (id.value % 8 == 0) need(t.set_text(id, Text::xattrs, Bytes(300, std::byte{7})));
  Cell cell{};
  std::memcpy(cell.data(), &id.value, sizeof id.value);
  need(t.put_cell(Table::queue, 0, node.queue_seq, cell));
  need(t.put_cell(Table::entries, 0, node.entry.value, cell));
  need(t.commit());
  return id;
}

/// Names of all kinds, free records, slots and pages, a checkpoint, and a journal behind it.
std::unique_ptr<FakeFileIo> small_store() {
  auto io = std::make_unique<FakeFileIo>();
  FixedRandom random;
  StoreOptions options;
  options.random = &random;
  auto store = std::move(*Store::open(*io, kFolder, options));
  const auto folder = make(*store, kRootNode, "folder", Kind::folder);
  const auto fill = [&](int from, int to) {
    for (int i = from; i < to; ++i) {
      const auto name = "n" + std::to_string(i) + std::string(i % 6 == 0 ? 90 : 0, 'x');
      const auto id = make(*store, i % 2 == 0 ? folder : kRootNode, name, Kind::file);
      if (i % 7 != 0) continue;
      Transaction t(*store);
      need(t.bind(folder, "link" + std::to_string(i), Side::local, id));
      need(t.bind(i % 2 == 0 ? folder : kRootNode, name, Side::local, {}));
      need(t.commit());
    }
    Transaction t(*store);
    need(t.erase_cells(Table::queue, 0));
    need(t.commit());
  };
  fill(0, 70);
  need(store->checkpoint());
  fill(70, 80);
  io->kill_process();
  store.reset();
  return io;
}

class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) : data_(data), left_(size) {}
  bool empty() const { return left_ == 0; }
  std::uint8_t byte() {
    if (left_ == 0) return 0;
    --left_;
    return *data_++;
  }
  std::size_t number() {
    const auto low = byte();
    return static_cast<std::size_t>(low | byte() << 8);
  }

 private:
  const std::uint8_t* data_;
  std::size_t left_;
};

void damage(Bytes& file, Input& in) {
  const auto how = in.byte();
  auto at = in.number() * 8;
  if (how == 64) return file.resize(std::min(file.size(), in.number()));
  if (file.empty()) return;
  at %= file.size();
  if (how == 65) {
    const auto from = in.number() * 8 % file.size();
    const auto n = std::min({std::size_t{64}, file.size() - from, file.size() - at});
    std::memmove(file.data() + at, file.data() + from, n);
  } else if (how > 65) {
    at = std::min(file.size() - 1, at + how % 8);
    file[at] ^= std::byte{1} << (how / 8 % 8);
  } else {
    for (auto end = std::min(file.size(), at + how); at < end; ++at)
      file[at] = std::byte{in.byte()};
  }
}

// ------------------------------------------------------------------------------------------
// checksums made right

template <class T>
void seal(Bytes& file, std::size_t offset) {
  T record;
  if (offset + sizeof record > file.size()) return;
  std::memcpy(&record, file.data() + offset, sizeof record);
  record.xxh3 = xxh3(bytes_of(record).first(offsetof(T, xxh3)));
  std::memcpy(file.data() + offset, &record, sizeof record);
}

void seal_journal(Bytes& file) {
  seal<JournalHeader>(file, 0);
  RecordHeader record;
  for (std::size_t at = sizeof(JournalHeader); at + sizeof record <= file.size();) {
    std::memcpy(&record, file.data() + at, sizeof record);
    const std::size_t body = record.body_size;
    if (record.magic != kRecordMagic || body > file.size() - at - sizeof record) return;
    record.xxh3 = xxh3(ByteView(file).subspan(at + sizeof record, body),
                       xxh3(bytes_of(record).first(offsetof(RecordHeader, xxh3))));
    std::memcpy(file.data() + at, &record, sizeof record);
    at += (sizeof record + body + 7) / 8 * 8;
  }
}

void seal(std::size_t number, Bytes& file) {
  if (number == 0) {
    seal<CheckpointSlot>(file, 0);
    seal<CheckpointSlot>(file, kPageSize);
    seal<LiveRecord>(file, kLivePage * kPageSize);
  } else if (number < kFiles) {
    seal<FileHeader>(file, 0);
  } else {
    seal_journal(file);
  }
}

// ------------------------------------------------------------------------------------------ what a
// damaged store is asked

void read_all(const Store& store) {
  std::vector<NodeId> nodes{kRootNode};
  for (std::size_t i = 0; i < nodes.size() && nodes.size() < 1000; ++i) {
    const auto id = nodes[i];
    (void)store.node(id);
    (void)store.names_of(id);
    for (int text = 0; text < kTexts; ++text) (void)store.text(id, static_cast<Text>(text));
    (void)store.list(id, 0, [&](const Name& name) {
      nodes.push_back(name.local);
      (void)store.name(id, name.text);
      return nodes.size() < 1000;
    });
  }
  (void)store.scan(Table::entries, 0, 0, [](std::uint64_t, const Cell&) { return true; });
}

void change(Store& store) {
  {
    Transaction t(store);
    auto id = t.make_node(Kind::file);
    if (id) (void)t.bind(kRootNode, "one more", Side::local, *id);
    if (id) (void)t.set_text(*id, Text::target, Bytes(500, std::byte{1}));
    (void)t.erase_cells(Table::entries, 0);
    (void)t.commit();
  }
  for (const char* name : {"folder", "n1", "n3", "link7", "n21"}) {
    Transaction t(store);
    auto found = store.name(kRootNode, name);
    (void)t.bind(kRootNode, name, Side::local, {});
    (void)t.bind(kRootNode, name, Side::server, {});
    if (found) (void)t.drop_node(found->local);
    (void)t.commit();
  }
  (void)store.checkpoint();
}

void open(FileIo& disk) {
  StoreOptions options;
  options.create = false;
  auto store = Store::open(disk, kFolder, options);
  if (!store) return;
  read_all(**store);
  (void)check(**store);
  change(**store);
  read_all(**store);
}

void mend(FileIo& disk) {
  auto report = repair(disk, kFolder, true);
  if (!report) return;
  auto found = check(disk, kFolder);
  CHECK(found.has_value());
  if (!found->clean()) {
    for (const auto& problem : found->problems) std::fprintf(stderr, "%s\n", problem.c_str());
  }
  CHECK(found->clean());
}

void run(Input in) {
  static const auto base = small_store();
  const auto mode = in.byte();
  const bool right_again = (mode & 1) != 0;
  std::array<Bytes, std::size(kPaths)> files;
  for (std::size_t i = 0; i < files.size(); ++i) files[i] = base->content(kPaths[i]);
  while (!in.empty()) damage(files[in.byte() % files.size()], in);
  auto disk = base->clone();
  for (std::size_t i = 0; i < files.size(); ++i) {
    if (right_again) seal(i, files[i]);
    if (!files[i].empty() || i < kFiles) disk->set_content(kPaths[i], files[i]);
  }
  (mode & 2) != 0 ? mend(*disk) : open(*disk);
}

}  // namespace
}  // namespace ebb::store

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size <= 4096) ebb::store::run({data, size});
  return 0;
}
