// What the server is about to do to the tree, durable before it begins, so that after a crash each
// change is completed or has not happened.
//
// On disk: Table::intents, sequence -> a node without a name, whose Text::extra is the intent and
// whose Text::xattrs its xattrs.
#pragma once

#include <string>
#include <vector>

#include "server/core/depot.h"
#include "store/store.h"

namespace ebb::server {

enum class Deed : std::uint8_t {
  land_new = 1,   // something staged takes a free name
  land_over = 2,  // a staged content takes all names of `entry`
  link = 3,
  rename = 4,
  exchange = 5,
  remove = 6,
  set_attributes = 7,
};

struct Intent {
  std::uint64_t sequence = 0;  // its number, and that of what goes to history for it
  Deed deed = Deed::land_new;
  ClientId client;
  OpId operation;
  OpId answered;
  NodeId entry;
  NodeId other;
  NodeId from_folder;
  std::string from_name;
  NodeId folder;
  std::string name;
  std::uint8_t bits = 0;  // of set_attributes
  proto::Attributes attributes;
  std::uint64_t staging = 0;  // number of what is staged
  Identity staged;            // and how it is recognised
  std::uint64_t hash = 0;     // of the whole content
};

/// Gives the intent its sequence.
Result<> save_intent(store::Transaction& tx, Intent& intent);
Result<> erase_intent(store::Transaction& tx, store::Store& store, std::uint64_t sequence);
/// In order.
Result<std::vector<Intent>> load_intents(const store::Store& store);

}  // namespace ebb::server
