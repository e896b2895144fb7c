#include "server/daemon/disk_threads.h"

#include <asio/post.hpp>

namespace ebb::server {

void DiskThreads::run(std::function<void()> job, std::function<void()> done) {
  {
    std::lock_guard lock(ended_->mutex);
    ++ended_->running;
  }
  // The io_context must not end while a job is under way whose end it has to run.
  auto busy = std::make_shared<asio::executor_work_guard<asio::io_context::executor_type>>(
      ended_->io.get_executor());
  asio::post(pool_, [ended = ended_, busy, job = std::move(job), done = std::move(done)]() mutable {
    job();
    {
      std::lock_guard lock(ended->mutex);
      ended->done.push_back(std::move(done));
      --ended->running;
    }
    ended->some.notify_one();
    asio::post(ended->io, [ended, busy] { ended->run_one(false); });
  });
}

bool DiskThreads::Ended::run_one(bool wait) {
  std::function<void()> next;
  {
    std::unique_lock lock(mutex);
    if (wait) some.wait(lock, [this] { return !done.empty() || running == 0; });
    if (done.empty()) return false;
    next = std::move(done.front());
    done.pop_front();
  }
  next();
  return true;
}

bool DiskThreads::wait_for_one() {
  return ended_->run_one(true);
}

void DiskThreads::join() {
  pool_.join();
  std::lock_guard lock(ended_->mutex);
  ended_->done.clear();
}

}  // namespace ebb::server
