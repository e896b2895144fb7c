#include "server/core/intents.h"

#include <cerrno>

#include "server/core/cells.h"

namespace ebb::server {

using store::Cell;
using store::Table;
using store::Text;

namespace {

Bytes pack(const Intent& intent) {
  Bytes out;
  Writer writer(out);
  writer.number(intent.sequence)
      .number(static_cast<std::uint8_t>(intent.deed))
      .number(intent.client.value)
      .number(intent.operation.value)
      .number(intent.answered.value)
      .number(intent.entry.value)
      .number(intent.other.value)
      .number(intent.from_folder.value)
      .short_text(intent.from_name)
      .number(intent.folder.value)
      .short_text(intent.name)
      .number(intent.bits)
      .number(intent.attributes.mode)
      .number(intent.attributes.uid)
      .number(intent.attributes.gid)
      .number(intent.attributes.mtime)
      .number(intent.staging)
      .short_text(intent.staged)
      .number(intent.hash);
  return out;
}

Result<Intent> unpack(ByteView bytes) {
  Intent intent;
  Reader reader(bytes);
  intent.sequence = reader.number<std::uint64_t>();
  intent.deed = static_cast<Deed>(reader.number<std::uint8_t>());
  intent.client = ClientId{reader.number<std::uint64_t>()};
  intent.operation = OpId{reader.number<std::uint64_t>()};
  intent.answered = OpId{reader.number<std::uint64_t>()};
  intent.entry = NodeId{reader.number<std::uint64_t>()};
  intent.other = NodeId{reader.number<std::uint64_t>()};
  intent.from_folder = NodeId{reader.number<std::uint64_t>()};
  intent.from_name = reader.short_text();
  intent.folder = NodeId{reader.number<std::uint64_t>()};
  intent.name = reader.short_text();
  intent.bits = reader.number<std::uint8_t>();
  intent.attributes.mode = reader.number<std::uint32_t>();
  intent.attributes.uid = reader.number<std::uint32_t>();
  intent.attributes.gid = reader.number<std::uint32_t>();
  intent.attributes.mtime = reader.number<WallNs>();
  intent.staging = reader.number<std::uint64_t>();
  intent.staged = reader.short_text();
  intent.hash = reader.number<std::uint64_t>();
  if (!reader.ok()) return fail_errno(EIO, "an intent in the database is cut short");
  return intent;
}

}  // namespace

Result<> save_intent(store::Transaction& tx, Intent& intent) {
  intent.sequence = tx.next_sequence();
  auto id = tx.make_node(store::Kind::file);
  if (!id) return pass(id.error());
  if (auto ok = tx.set_text(*id, Text::extra, pack(intent)); !ok) return ok;
  if (auto ok = tx.set_text(*id, Text::xattrs, intent.attributes.xattrs); !ok) return ok;
  return tx.put_cell(Table::intents, 0, intent.sequence, to_cell(Le<std::uint64_t>(id->value)));
}

Result<> erase_intent(store::Transaction& tx, store::Store& store, std::uint64_t sequence) {
  auto cell = store.cell(Table::intents, 0, sequence);
  if (!cell) return pass(cell.error());
  if (!*cell) return {};
  if (auto ok = tx.drop_node(NodeId{from_cell<Le<std::uint64_t>>(**cell)}); !ok) return ok;
  return tx.erase_cell(Table::intents, 0, sequence);
}

Result<std::vector<Intent>> load_intents(const store::Store& store) {
  std::vector<NodeId> nodes;
  auto ok = store.scan(Table::intents, 0, 0, [&](std::uint64_t, const Cell& cell) {
    nodes.push_back(NodeId{from_cell<Le<std::uint64_t>>(cell)});
    return true;
  });
  if (!ok) return pass(ok.error());
  std::vector<Intent> out;
  for (const auto id : nodes) {
    auto bytes = store.text(id, Text::extra);
    if (!bytes) return pass(bytes.error());
    auto intent = unpack(*bytes);
    if (!intent) return pass(intent.error());
    auto xattrs = store.text(id, Text::xattrs);
    if (!xattrs) return pass(xattrs.error());
    intent->attributes.xattrs = std::move(*xattrs);
    out.push_back(std::move(*intent));
  }
  return out;
}

}  // namespace ebb::server
