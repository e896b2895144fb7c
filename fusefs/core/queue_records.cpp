#include "fusefs/core/queue_records.h"

#include <algorithm>
#include <cerrno>

namespace ebb::fusefs {

namespace {

constexpr std::uint8_t kStepFormat = 1;

store::Cell to_cell(const Bytes& bytes) {
  store::Cell cell{};
  std::copy(bytes.begin(), bytes.end(), cell.begin());
  return cell;
}

void put_place(Writer& out, NodeId folder, const proto::Place& place) {
  out.number(folder.value).number(place.folder.value).short_text(place.name);
}

void get_place(Reader& in, NodeId& folder, proto::Place& place) {
  folder = NodeId(in.number<std::uint64_t>());
  place.folder = EntryId(in.number<std::uint64_t>());
  place.name = std::string(in.short_text());
}

}  // namespace

store::Cell pack_queued(const Queued& queued) {
  Bytes bytes;
  Writer(bytes)
      .number(queued.node.value)
      .number(queued.first_change)
      .number(queued.last_change)
      .number(queued.operation.value)
      .number(queued.content_local)
      .number(queued.attributes_local);
  return to_cell(bytes);
}

Queued unpack_queued(std::uint64_t sequence, const store::Cell& cell) {
  Reader in{ByteView(cell)};
  Queued queued;
  queued.sequence = sequence;
  queued.node = NodeId(in.number<std::uint64_t>());
  queued.first_change = in.number<WallNs>();
  queued.last_change = in.number<WallNs>();
  queued.operation = OpId(in.number<std::uint64_t>());
  queued.content_local = in.number<std::uint32_t>();
  queued.attributes_local = in.number<std::uint32_t>();
  return queued;
}

Bytes pack_step(const Step& step) {
  Bytes bytes;
  Writer out(bytes);
  out.number(kStepFormat).number(static_cast<std::uint8_t>(step.kind));
  out.number(step.other.value).number(step.entry.value).number(step.other_entry.value);
  put_place(out, step.from_folder, step.from);
  put_place(out, step.place_folder, step.place);
  out.number(step.content_version.value).number(step.attributes_version.value);
  out.number(step.content_local).number(step.attributes_local);
  return bytes;
}

Result<Step> unpack_step(ByteView bytes) {
  Reader in(bytes);
  Step step;
  const auto format = in.number<std::uint8_t>();
  const auto kind = in.number<std::uint8_t>();
  step.kind = static_cast<StepKind>(kind);
  step.other = NodeId(in.number<std::uint64_t>());
  step.entry = EntryId(in.number<std::uint64_t>());
  step.other_entry = EntryId(in.number<std::uint64_t>());
  get_place(in, step.from_folder, step.from);
  get_place(in, step.place_folder, step.place);
  step.content_version = Version(in.number<std::uint64_t>());
  step.attributes_version = Version(in.number<std::uint64_t>());
  step.content_local = in.number<std::uint32_t>();
  step.attributes_local = in.number<std::uint32_t>();
  const bool known = kind <= static_cast<std::uint8_t>(StepKind::remove);
  if (!in.ok() || format != kStepFormat || !known) return fail_errno(EIO, "a step that is none");
  return step;
}

store::Cell pack_node(NodeId node) {
  Bytes bytes;
  Writer(bytes).number(node.value);
  return to_cell(bytes);
}

NodeId unpack_node(const store::Cell& cell) {
  return NodeId(Reader{ByteView(cell)}.number<std::uint64_t>());
}

store::Cell pack_time(WallNs time) {
  Bytes bytes;
  Writer(bytes).number(time);
  return to_cell(bytes);
}

WallNs unpack_time(const store::Cell& cell) {
  return Reader{ByteView(cell)}.number<WallNs>();
}

}  // namespace ebb::fusefs
