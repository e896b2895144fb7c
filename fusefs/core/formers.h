// What was here of contents that have a newer version on the server: what has not changed in them
// need not travel again.  Kept until the newer version is here, or nobody wants it; a restart
// forgets it, and the whole is pulled.
#pragma once

#include <cstdint>
#include <map>
#include <memory>

#include "base/ids.h"
#include "fusefs/core/chunk_match.h"
#include "fusefs/core/lock.h"
#include "fusefs/core/open_content.h"

namespace ebb::fusefs {

struct Core;

/// Under the client's lock.
class Formers {
 public:
  explicit Formers(Core& core) : core_(core) {}

  /// The node is to get another content than that of this file.
  void add(NodeId node, std::uint64_t number);
  /// The file is not unlinked as long as this is true.
  bool keeps(std::uint64_t number) const;
  /// Whether pulling in the background waits for what can be had from the former content; begins
  /// with that.
  bool delays(const ContentPtr& content);
  /// One turn of comparing.  By the driver's thread alone.
  void pump(Lock& lock);
  Time next_deadline() const { return turn_at_; }
  void lost();
  void clear();

 private:
  struct Former {
    std::uint64_t number = 0;
    ContentPtr content;  // the newer one, once it is asked for
    std::uint64_t generation = 0;
    std::uint32_t session = 0;
    ChunkMatch match;
    std::shared_ptr<File> file;
    std::uint64_t size = 0;
  };
  using FormerPtr = std::shared_ptr<Former>;

  bool ask(NodeId node, const FormerPtr& former, const ContentPtr& content);
  void heard(NodeId node, const FormerPtr& former, const proto::Body& body);
  bool current(NodeId node, const FormerPtr& former) const;
  bool turn(Lock& lock, const FormerPtr& former);
  void forget(NodeId node);
  void forget_unwanted();

  Core& core_;
  std::map<NodeId, FormerPtr> formers_;
  Time turn_at_ = kNever;
};

}  // namespace ebb::fusefs
