// Reads a damaged store piece by piece, for repair: each record, text, name and cell for itself.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "store/heap.h"
#include "store/names.h"
#include "store/nodes.h"
#include "store/pages.h"
#include "store/tree.h"

namespace ebb::store {

class Salvage {
 public:
  /// What could not be read goes to `lost`, a line each.
  Salvage(FileIo& io, std::string folder, std::vector<std::string>& lost)
      : io_(io), folder_(std::move(folder)), lost_(lost) {}

  Result<> open();

  TreeId tree() const { return tree_id_; }
  std::optional<std::uint64_t> secret() const { return secret_; }
  /// At least the last sequence number that was given.
  std::uint64_t sequence();

  struct Slot {
    NodeId id;
    std::optional<Node> node;  // none: free or lost
  };
  /// Records 2 and up, as far as any was used.  The root is node(kRootNode).
  std::vector<Slot> nodes();
  std::optional<Node> node(NodeId id);
  Bytes text(NodeId id, Text which);
  void each_cell(const std::function<void(const Key&, const Cell&)>& visit);
  std::optional<Name> name(const Key& key, const Cell& cell);
  void lose(std::string what);

 private:
  Result<> fill_gaps();
  void read_slot();
  void replay();

  FileIo& io_;
  const std::string folder_;
  std::vector<std::string>& lost_;
  TreeId tree_id_;
  std::optional<std::uint64_t> secret_;
  std::uint64_t first_journal_ = 0;
  std::uint64_t first_sequence_ = 1;
  Live live_;
  Pages pages_{io_, folder_};
  Tree tree_{pages_, live_};
  Heap heap_{pages_, live_};
  Nodes nodes_{pages_, live_, heap_};
  Names names_{pages_, live_, tree_, heap_, nodes_};
};

}  // namespace ebb::store
