// A thread for what takes as long as the disk likes.
#pragma once

#include <functional>
#include <utility>

#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <asio/thread_pool.hpp>

#include "base/seams.h"

namespace ebb::fusefs {

/// One job after the other; their ends run on the io_context.
class SlowWork final : public Executor {
 public:
  explicit SlowWork(asio::io_context& io) : io_(io) {}
  /// Waits for the job that is under way; the others are given up.
  ~SlowWork() override {
    thread_.stop();
    thread_.join();
  }

  void run(std::function<void()> job, std::function<void()> done) override {
    asio::post(thread_, [this, job = std::move(job), done = std::move(done)] {
      job();
      asio::post(io_, done);
    });
  }

 private:
  asio::io_context& io_;
  asio::thread_pool thread_{1};
};

}  // namespace ebb::fusefs
