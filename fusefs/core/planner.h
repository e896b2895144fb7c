// What to tell the server next about one node: a pure function of what is known of it and its
// names.  There is no list of operations; two writes are one push, made and deleted is nothing, a
// -> b -> c is one rename.
//
// The order that keeps every state of the server sensible:
//   a folder before what is in it, what is in a folder before the folder goes
//   who stands at the place leaves first; where that goes in a circle, the two change places, or
//   the one goes to a name of its own beside the place for the time being names before content,
//   content (with the attributes) before attributes alone
#pragma once

#include <optional>
#include <string>

#include "base/ids.h"
#include "fusefs/core/step.h"
#include "store/status.h"

namespace ebb::fusefs {

struct NamePlace {
  NodeId folder;
  EntryId folder_entry;  // none = the folder is not on the server yet
  std::string name;
};

/// Where a local name of the node stands that the server does not have yet.
struct Arrival {
  NamePlace place;
  NodeId occupant;  // what the server has there
  EntryId occupant_entry;
  bool occupant_goes =
      false;  // it is to leave that place, by our own doing; else it is somebody else's
  bool occupant_ends = false;  // it has no local name any more: it is to be removed
  bool occupant_folder = false;
  bool twin = false;     // it is not to leave, and may have the very content that the node has
  bool related = false;  // on the server, one of the two is inside the other
  NodeId ancestor;       // the place lies inside the node itself on the server until this one moves
};

/// Everything the plan depends on.
struct PlanFacts {
  NodeId node;
  store::Kind kind = store::Kind::none;
  store::Status status = store::Status::untracked;
  bool blocked = false;  // error
  bool content_dirty = false;
  bool attributes_dirty = false;
  EntryId entry;
  Version content_version;
  Version attributes_version;
  std::uint32_t content_local = 0;
  std::uint32_t attributes_local = 0;

  bool shown = false;                // has a local name
  std::optional<NamePlace> leaving;  // a name that the server has and that is to go
  std::optional<Arrival> arriving;
  NodeId child;        // of a folder that goes: what the server still has in it
  NodeId successor;    // of a file that goes: what takes its place
  bool cycle = false;  // who it has to wait for waits for it
};

Step plan(const PlanFacts& facts);

/// The name beside its place at which a node stands on the server while a circle is undone.
std::string passing_name(NodeId node);

}  // namespace ebb::fusefs
