#include "fusefs/fuse/kernel_notifier.h"

#include <cerrno>

#include "base/log.h"

namespace ebb::fusefs {
namespace {

/// The name is looked up anew when somebody next asks for it.  It is not dropped: a process may
/// have its working directory there, which would have no path any more.
int expire_name(fuse_session* session, NodeId folder, const std::string& name) {
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
  const int error =
      fuse_lowlevel_notify_expire_entry(session, folder.value, name.data(), name.size());
#else
  const int error = fuse_lowlevel_notify_expire_entry(session, folder.value, name.data(),
                                                      name.size(), FUSE_LL_EXPIRE_ONLY);
#endif
  if (error != -ENOSYS) return error;
  return fuse_lowlevel_notify_inval_entry(session, folder.value, name.data(), name.size());
}

}  // namespace

KernelNotifier::~KernelNotifier() {
  stop();
}

void KernelNotifier::attach(fuse_session* session) {
  std::lock_guard lock(mutex_);
  session_ = session;
  stopping_ = false;
  thread_ = std::thread([this] { run(); });
}

void KernelNotifier::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    session_ = nullptr;
    queue_.clear();
    nodes_.clear();
    names_.clear();
  }
  work_.notify_all();
  idle_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void KernelNotifier::attributes_changed(NodeId node) {
  queue_node(node, What::attributes);
}

void KernelNotifier::name_changed(NodeId folder, const std::string& name) {
  {
    std::lock_guard lock(mutex_);
    if (!session_ || !names_.emplace(folder, name).second) return;
    if (!push({folder, name})) names_.erase({folder, name});
  }
  // The kernel drops its listing of the folder by itself only for a name that it has in hand.
  queue_node(folder, What::listing);
}

void KernelNotifier::queue_node(NodeId node, What what) {
  std::lock_guard lock(mutex_);
  if (!session_) return;
  auto [at, added] = nodes_.try_emplace(node, what);
  if (what == What::listing) at->second = what;
  if (added && !push({node, {}})) nodes_.erase(at);
}

bool KernelNotifier::push(Item item) {
  if (queue_.size() >= kQueueMax) {
    if (!full_)
      log_error("more than {} changes wait for the kernel's caches; the rest is not told",
                kQueueMax);
    full_ = true;
    return false;
  }
  full_ = false;
  queue_.push_back(std::move(item));
  work_.notify_one();
  return true;
}

void KernelNotifier::drain() {
  std::unique_lock lock(mutex_);
  idle_.wait(lock, [this] { return stopping_ || (queue_.empty() && !sending_); });
}

void KernelNotifier::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    work_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
    if (stopping_) return;
    Item item = std::move(queue_.front());
    queue_.pop_front();
    What what = What::attributes;
    if (item.name.empty()) {
      auto node = nodes_.extract(item.node);
      what = node.mapped();
    } else {
      names_.erase({item.node, item.name});
    }
    sending_ = true;
    lock.unlock();
    send(item, what);
    lock.lock();
    sending_ = false;
    if (queue_.empty()) idle_.notify_all();
  }
}

void KernelNotifier::send(const Item& item, What what) {
  fuse_session* session = nullptr;
  {
    std::lock_guard lock(mutex_);
    session = session_;
  }
  if (!session) return;
  int error = 0;
  if (!item.name.empty()) {
    error = expire_name(session, item.node, item.name);
  } else {
    // From offset 0, length 0: all pages, which of a folder are its listing.  A negative offset:
    // the attributes alone.
    const off_t offset = what == What::listing ? 0 : -1;
    error = fuse_lowlevel_notify_inval_inode(session, item.node.value, offset, 0);
  }
  // ENOENT: the kernel does not have it.  The others: the mount is going away.
  if (error != 0 && error != -ENOENT && error != -ENODEV && error != -EBADF && error != -ENOTCONN) {
    log_warn("the kernel did not take a change of node {}: error {}", item.node.value, -error);
  }
}

}  // namespace ebb::fusefs
