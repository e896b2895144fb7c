// The next thing to tell the server about one node, as the planner finds it from the node's record and names.
#pragma once

#include <cstdint>
#include <string>

#include "base/ids.h"
#include "proto/messages.h"

namespace ebb::fusefs {

enum class StepKind : std::uint8_t {
  nothing,        // the node has nothing (more) to push: it leaves the queue
  after,          // `other` has to be pushed first (a folder it stands in, what stands in its way)
  blocked,        // conflict or error: stays in the queue, is not tried again by itself
  make_folder,
  make_symlink,
  push,           // content, with the attributes in the same commit; a new file where `entry` is none
  set_attributes,
  link,           // a further name
  rename,         // from -> place
  exchange,       // from <-> place, where `other` stands
  remove,         // the name `from`
};

struct Step {
  StepKind kind = StepKind::nothing;
  NodeId node;
  NodeId other;
  EntryId entry;          // of node; none = not on the server yet
  EntryId other_entry;
  NodeId from_folder;     // the same places as nodes of ours
  NodeId place_folder;
  proto::Place from;
  proto::Place place;
  Version content_version;     // the ones the change derives from
  Version attributes_version;
  std::uint32_t content_local = 0;     // the local counters that this step carries to the server
  std::uint32_t attributes_local = 0;
};

/// What the server answered to a step, from either kind of receipt.
struct StepReceipt {
  EntryId entry;
  Version content_version;
  Version attributes_version;
  std::uint64_t hash = 0;       // of the whole content as it is on the server now (push)
  bool content_is_ours = true;  // push: that content is what we sent, byte for byte (the hashes agree)
};

}  // namespace ebb::fusefs
