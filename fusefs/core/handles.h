// Open files and folders, by the numbers that the kernel has of them.
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>

#include "fusefs/core/open_content.h"

namespace ebb::fusefs {

struct OpenHandle {
  NodeId node;
  bool folder = false;
  bool reads = true;
  bool writes = false;
  bool handed_out = false;  // a writer whose file may be written without us
  ContentPtr content;       // of a file

  // Where reading goes: sequential from `next` for `run` bytes already.
  std::uint64_t next = 0;
  std::uint64_t run = 0;
  std::uint64_t read = 0;
};

/// Under the client's lock.
class Handles {
 public:
  Handle add(OpenHandle handle) {
    table_.emplace(++last_, std::move(handle));
    return last_;
  }
  /// Null for a number that was never given or is closed.  Stays where it is until removed.
  OpenHandle* find(Handle handle) {
    const auto it = table_.find(handle);
    return it == table_.end() ? nullptr : &it->second;
  }
  void remove(Handle handle) { table_.erase(handle); }

 private:
  std::unordered_map<Handle, OpenHandle> table_;
  Handle last_ = 0;
};

}  // namespace ebb::fusefs
