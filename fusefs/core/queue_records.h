// What the tree keeps on disk about a node in the queue: its cell in Table::queue and, while a step
// of it is under way, that step (in Text::extra of the node), so that a repetition after a crash
// says the same again.
#pragma once

#include "base/bytes.h"
#include "base/result.h"
#include "fusefs/core/step.h"
#include "fusefs/core/tree.h"
#include "store/store.h"

namespace ebb::fusefs {

/// The sequence is the cell's key and not in it.
store::Cell pack_queued(const Queued& queued);
Queued unpack_queued(std::uint64_t sequence, const store::Cell& cell);

Bytes pack_step(const Step& step);
/// EIO for bytes that are no step.
Result<Step> unpack_step(ByteView bytes);

/// A cell that names a node.
store::Cell pack_node(NodeId node);
NodeId unpack_node(const store::Cell& cell);
/// A cell that holds a time.
store::Cell pack_time(WallNs time);
WallNs unpack_time(const store::Cell& cell);

}  // namespace ebb::fusefs
