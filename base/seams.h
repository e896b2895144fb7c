// Seams that are neither clock nor file: chance and work that blocks.
#pragma once

#include <cstdint>
#include <functional>

namespace ebb {

/// Random numbers.  Any thread.
class Random {
 public:
  virtual ~Random() = default;
  virtual std::uint64_t next() = 0;
};
Random& system_random();

/// Runs work that blocks (disk IO) away from the owner's thread.  `done` runs on the owner's thread, in the
/// order in which the jobs ended.  In simulation both run in the one thread, when the simulation says.
class Executor {
 public:
  virtual ~Executor() = default;
  virtual void run(std::function<void()> job, std::function<void()> done) = 0;
};

}  // namespace ebb
