// The kernel that reads and writes some content files by itself, and the application that makes it
// do so.
#pragma once

#include <map>
#include <mutex>
#include <set>
#include <string>

#include <gtest/gtest.h>

#include "base/clock.h"
#include "fusefs/core/kernel_files.h"
#include "tests/support/fake_file_io.h"

namespace ebb::test {

/// Any thread.
class FakeKernelFiles final : public fusefs::KernelFiles {
 public:
  FakeKernelFiles(FakeFileIo& io, Clock& clock) : io_(io), clock_(clock) {}

  int add(const std::string& path) override {
    std::lock_guard lock(mutex_);
    paths_[++last_] = path;
    return last_;
  }
  void remove(int number) override {
    std::lock_guard lock(mutex_);
    paths_.erase(number);
  }
  std::optional<fusefs::FileStamp> stamp(const std::string& path) const override {
    std::lock_guard lock(mutex_);
    if (!*io_.exists(path)) return std::nullopt;
    const auto time = times_.find(path);
    return fusefs::FileStamp{io_.content(path).size(), time == times_.end() ? 0 : time->second};
  }
  bool open_for_writing(const std::string& path) const override {
    std::lock_guard lock(mutex_);
    return mapped_.count(path) != 0;
  }

  // ---- the application
  std::string map(int number) {
    std::lock_guard lock(mutex_);
    return *mapped_.insert(paths_.at(number)).first;
  }
  void store(const std::string& path, std::uint64_t offset, std::string_view text, bool sync) {
    const auto file = io_.open(path, OpenMode::write);
    ASSERT_TRUE(file && (*file)->write_at(offset, as_bytes(text)));
    ASSERT_TRUE(!sync || (*file)->sync());
    std::lock_guard lock(mutex_);
    times_[path] = clock_.wall();
  }
  void unmap(const std::string& path) {
    std::lock_guard lock(mutex_);
    mapped_.erase(path);
  }
  std::size_t handed_out() const {
    std::lock_guard lock(mutex_);
    return paths_.size();
  }

 private:
  FakeFileIo& io_;
  Clock& clock_;
  mutable std::mutex mutex_;
  int last_ = 0;
  std::map<int, std::string> paths_;
  std::map<std::string, WallNs> times_;
  std::set<std::string> mapped_;
};

}  // namespace ebb::test
