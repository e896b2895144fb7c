// The thread that talks to the kernel's caches.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <unordered_map>

#include "fusefs/core/client.h"
#include "fusefs/fuse/libfuse.h"

namespace ebb::fusefs {

/// KernelCaches over a FUSE session.  Calls queue and return; one thread sends, in the order of the
/// first call, and holds no lock meanwhile: the kernel may let it wait for a lock of its own that a
/// request holds which only we can answer.  Changes of one thing are sent once. Before attach() and
/// after stop() everything is dropped: the kernel knows nothing yet, or no more.
class KernelNotifier : public KernelCaches {
 public:
  /// Different things waiting at once.  Only what the kernel knows can be told to it, so this many
  /// are waiting only when as many entries of its cache change together; what does not fit is
  /// logged and not told.
  static constexpr std::size_t kQueueMax = 1u << 20;

  KernelNotifier() = default;
  ~KernelNotifier() override;

  /// Starts the thread.
  void attach(fuse_session* session);
  /// Ends the thread and waits for it.  Requests must still be answered meanwhile.
  void stop();

  void attributes_changed(NodeId node) override;
  void name_changed(NodeId folder, const std::string& name) override;

  /// Waits until everything queued before has been sent.  For tests.
  void drain();

 private:
  enum class What { attributes, listing };  // the second: of a folder, and its attributes
  struct Item {
    NodeId node;
    std::string name;  // empty: the node itself
  };

  void queue_node(NodeId node, What what);
  bool push(Item item);  // under mutex_
  void run();
  void send(const Item& item, What what);

  std::mutex mutex_;
  std::condition_variable work_;
  std::condition_variable idle_;
  fuse_session* session_ = nullptr;  // guarded by mutex_, as all below
  bool stopping_ = false;
  bool sending_ = false;
  bool full_ = false;
  std::deque<Item> queue_;
  std::unordered_map<NodeId, What> nodes_;          // the nodes in queue_
  std::set<std::pair<NodeId, std::string>> names_;  // the names in queue_
  std::thread thread_;
};

}  // namespace ebb::fusefs
