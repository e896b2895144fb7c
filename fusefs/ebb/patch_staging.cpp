#include "fusefs/ebb/patch_staging.h"

#include <algorithm>

namespace ebb::fusefs {

PatchStaging::PatchStaging(store::PatchFolder& folder, const store::Minified& target,
                           std::function<void()> progress)
    : folder_(folder), target_(target), progress_(std::move(progress)) {
  for (unsigned i = 0; i < std::max(2u, std::thread::hardware_concurrency()); ++i) {
    threads_.emplace_back([this] { work(); });
  }
}

PatchStaging::~PatchStaging() {
  {
    const std::lock_guard lock(mutex_);
    over_ = true;
  }
  some_.notify_all();
  for (auto& thread : threads_) thread.join();
}

/// Two files of one digest are two all the same: each has a staged one of its own.
std::vector<WantedFile> PatchStaging::want(const std::vector<std::uint64_t>& indices) {
  std::map<Digest, std::size_t> seen;
  std::vector<WantedFile> out;
  out.reserve(indices.size());
  for (const std::uint64_t index : indices) {
    const Digest& digest = target_.digests[index];
    auto& staged = files_[index];
    staged.name = store::PatchFolder::staged_name(digest, seen[digest]++);
    out.push_back({index, folder_.staged_size(staged.name)});
  }
  return out;
}

Result<> PatchStaging::begin(std::uint64_t index, const ComingFile& file) {
  Staged& staged = files_.at(index);
  auto part = folder_.stage(staged.name, std::exchange(staged.begun, true));
  if (!part) return pass(part.error());
  staged.part.emplace(std::move(*part));
  staged.file = file;
  return {};
}

Result<> PatchStaging::data(std::uint64_t index, std::uint64_t offset, ByteView bytes) {
  auto written = files_.at(index).part->write_at(offset, bytes);
  if (!written) return fail(written.error().code, files_.at(index).file.path);
  bytes_ += bytes.size();
  progress_();
  return {};
}

Result<> PatchStaging::end(std::uint64_t index) {
  Staged& staged = files_.at(index);
  auto done = staged.part->finish(staged.file.size, staged.file.mode, staged.file.mtime);
  staged.part.reset();
  if (!done) return fail(done.error().code, staged.file.path);
  ++ended_;
  progress_();
  {
    const std::lock_guard lock(mutex_);
    checks_.push_back({index, staged.name, staged.file.path});
  }
  some_.notify_one();
  return {};
}

void PatchStaging::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    some_.wait(lock, [this] { return over_ || !checks_.empty(); });
    if (over_) return;
    const Check check = std::move(checks_.front());
    checks_.pop_front();
    ++checking_;
    lock.unlock();
    const auto good =
        folder_.verify(check.name, check.path, target_.digests[check.index], target_.kind);
    lock.lock();
    --checking_;
    if (!good && !failure_) failure_ = good.error();
    if (good && !*good) wrong_.push_back(check.index);
    if (checks_.empty() && checking_ == 0) none_.notify_all();
  }
}

Result<std::vector<WantedFile>> PatchStaging::wrong() {
  std::unique_lock lock(mutex_);
  none_.wait(lock, [this] { return checks_.empty() && checking_ == 0; });
  if (failure_) return pass(*failure_);
  std::vector<WantedFile> out;
  for (const std::uint64_t index : std::exchange(wrong_, {})) {
    if (auto ok = folder_.drop_staged(files_.at(index).name); !ok) return pass(ok.error());
    files_.at(index).begun = false;
    --ended_;
    out.push_back({index, 0});
  }
  return out;
}

}  // namespace ebb::fusefs
