// What the parts of the client share: the seams, the store, the tree, the one lock, and each other.
//
// The lock (`mutex`) guards everything here but `seams`, `options`, and the functions of the store
// and of the content files that say otherwise.  A Section is held while work is done; what must not
// be done under the lock (replies, notices to the kernel, waking the driver) is collected in
// `effects` and done when it ends. Content IO releases the lock for its time; whoever does that has
// claimed the bytes before (open_content.h).
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "fusefs/core/changed_ranges.h"
#include "fusefs/core/client.h"
#include "fusefs/core/comparing.h"
#include "fusefs/core/contents.h"
#include "fusefs/core/errno.h"
#include "fusefs/core/formers.h"
#include "fusefs/core/garbage.h"
#include "fusefs/core/handles.h"
#include "fusefs/core/inodes.h"
#include "fusefs/core/kept_versions.h"
#include "fusefs/core/link.h"
#include "fusefs/core/listings.h"
#include "fusefs/core/lock.h"
#include "fusefs/core/neighbours.h"
#include "fusefs/core/pulls.h"
#include "fusefs/core/pushes.h"
#include "fusefs/core/settings.h"
#include "fusefs/core/stats.h"
#include "fusefs/core/transitions.h"
#include "fusefs/core/tree.h"
#include "fusefs/core/waits.h"
#include "fusefs/core/watching.h"
#include "store/content.h"
#include "store/store.h"

namespace ebb::fusefs {

/// To be done when the lock is free, in order; notices to the kernel come last, behind the replies.
struct Effects {
  std::vector<std::function<void()>> replies;
  std::vector<std::function<void()>> notices;
  std::vector<std::function<void()>> later;  // under the lock, before it is released
  bool wake = false;
};

struct Core {
  Core(ClientSeams client_seams, ClientOptions client_options);

  /// Opens store and tree; before anything else is called.
  Result<> start();
  Time now() const { return seams.clock.now(); }
  /// What the tree says must follow; at the end of every section.
  void take_tree_effects();
  /// What the kernel was not to be told while it waited for us.
  void release_held_notices();
  /// Does it away from this thread where the seams allow; in any case with the lock free until then.
  void run_slowly(Lock& lock, std::function<void(Lock&)> work);
  /// Nobody holds the node any more: orphans go.
  void release_node(NodeId node);

  /// Calls the reply when the lock is free.
  template <class T>
  void answer(const Reply<T>& reply, Result<T> result) {
    if (!result) result = pass(as_errno(result.error()));
    effects.replies.emplace_back(
        [reply, kept = std::move(result)]() mutable { reply(std::move(kept)); });
  }

  const ClientSeams seams;
  const ClientOptions options;
  std::mutex mutex;
  std::condition_variable moved;  // claims on content were given back

  std::unique_ptr<store::Store> store;
  store::ContentFolder content_files;
  std::optional<Tree> tree;
  Effects effects;
  std::vector<std::function<void()>> held_notices;  // see Transitions::hushes

  Settings settings;
  Waits waits;
  Inodes inodes;
  Handles handles;
  Garbage garbage;
  ChangedRanges changed_ranges;
  Contents contents;
  Link link;
  Watching watching;
  Listings listings;
  Comparing comparing;
  Stats stats;
  KeptVersions kept_versions;
  Formers formers;
  Pulls pulls;
  Neighbours neighbours;
  Pushes pushes;
  Transitions transitions;
};

/// The lock, held; at the end the effects are taken out, the lock is released, and they are done.
class Section {
 public:
  explicit Section(Core& core) : core_(core), lock_(core.mutex) {}
  ~Section();
  Section(const Section&) = delete;
  Section& operator=(const Section&) = delete;

  Lock& lock() { return lock_; }

 private:
  Core& core_;
  Lock lock_;
};

}  // namespace ebb::fusefs
