// The executor of the daemon: a few threads that may block on the disk; ends of jobs run on the
// io_context.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>

#include <asio/io_context.hpp>
#include <asio/thread_pool.hpp>

#include "base/seams.h"

namespace ebb::server {

class DiskThreads final : public Executor {
 public:
  static constexpr std::size_t kThreads = 4;

  explicit DiskThreads(asio::io_context& io)
      : ended_(std::make_shared<Ended>(io)), pool_(kThreads) {}
  ~DiskThreads() override { join(); }

  void run(std::function<void()> job, std::function<void()> done) override;

  /// On the io_context's thread: waits until some job has ended and runs its `done`; false: none
  /// runs.  For a peer that sends faster than the disk takes: the only way to let it wait is not to
  /// read.
  bool wait_for_one();
  /// Waits for all jobs; their `done` are not called any more.
  void join();

 private:
  struct Ended {
    explicit Ended(asio::io_context& context) : io(context) {}
    bool run_one(bool wait);

    asio::io_context& io;
    std::mutex mutex;
    std::condition_variable some;
    std::deque<std::function<void()>> done;  // mutex
    std::size_t running = 0;                 // mutex
  };

  std::shared_ptr<Ended> ended_;
  asio::thread_pool pool_;
};

}  // namespace ebb::server
