#include "store/journal.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>

#include "base/check.h"
#include "base/hash.h"
#include "store/errors.h"

namespace ebb::store {
namespace {

constexpr std::string_view kPrefix = "journal.";

}  // namespace

std::string Journal::name(std::uint64_t number) {
  return std::string(kPrefix) + std::to_string(number);
}

std::optional<std::uint64_t> Journal::number_of(const std::string& name) {
  if (name.compare(0, kPrefix.size(), kPrefix) != 0) return std::nullopt;
  std::uint64_t number = 0;
  const auto* begin = name.data() + kPrefix.size();
  const auto* end = name.data() + name.size();
  const auto [at, error] = std::from_chars(begin, end, number);
  if (error != std::errc{} || at != end || begin == end) return std::nullopt;
  return number;
}

Result<std::vector<std::uint64_t>> Journal::list(FileIo& io, const std::string& folder) {
  auto names = io.list(folder);
  if (!names) return pass(names.error());
  std::vector<std::uint64_t> numbers;
  for (const auto& name : *names) {
    if (auto number = number_of(name)) numbers.push_back(*number);
  }
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

Result<> Journal::start(std::uint64_t number, std::uint64_t first_sequence) {
  auto segment = std::make_shared<Segment>();
  segment->number = number;
  segment->path = folder_ + "/" + name(number);
  auto file = io_.open(segment->path, OpenMode::create);
  if (!file) return pass(file.error());
  segment->file = std::move(*file);
  JournalHeader header{};
  header.magic = kJournalMagic;
  header.version = kFormat;
  std::memcpy(header.tree, tree_.bytes.data(), sizeof header.tree);
  header.number = number;
  header.first_sequence = first_sequence;
  header.xxh3 = xxh3(bytes_of(header).first(offsetof(JournalHeader, xxh3)));
  if (auto r = segment->file->truncate(0); !r) return r;
  if (auto r = segment->file->write_at(0, bytes_of(header)); !r) return r;
  const std::lock_guard lock(mutex_);
  segments_.push_back(segment);
  active_ = std::move(segment);
  end_ = sizeof header;
  if (appended_ == 0) synced_ = first_sequence - 1;
  appended_ = first_sequence - 1;
  return {};
}

Result<> Journal::append(Bytes& record) {
  if (auto r = usable(); !r) return r;
  RecordHeader header{};
  header.magic = kRecordMagic;
  header.version = kFormat;
  header.type = kAfterImages;
  header.body_size = static_cast<std::uint32_t>(record.size() - sizeof header);
  header.sequence = appended_ + 1;
  header.synced = synced_.load();
  header.xxh3 = xxh3(ByteView(record).subspan(sizeof header),
                     xxh3(bytes_of(header).first(offsetof(RecordHeader, xxh3))));
  std::memcpy(record.data(), &header, sizeof header);
  record.resize((record.size() + 7) / 8 * 8);
  if (auto r = active_->file->write_at(end_, record); !r) {
    if (auto taken = take_back(end_); !taken) poison(taken.error());
    return r;
  }
  end_ += record.size();
  ++appended_;
  return {};
}

// A write that failed may have written all of it.  The record must not come back, so it is cut off,
// and the cut is on disk before the next record takes its place.
Result<> Journal::take_back(std::uint64_t end) {
  if (auto r = active_->file->truncate(end); !r) return r;
  return active_->file->sync();
}

Result<> Journal::usable() const {
  const std::lock_guard lock(mutex_);
  if (poison_) return pass(*poison_);
  return {};
}

void Journal::poison(const Error& error) {
  const std::lock_guard lock(mutex_);
  if (!poison_) poison_ = error;
  changed_.notify_all();
}

Result<> Journal::sync() {
  const auto target = appended_.load();
  std::unique_lock lock(mutex_);
  for (;;) {
    if (poison_) return pass(*poison_);
    if (synced_ >= target) return {};
    if (!syncing_) break;
    changed_.wait(lock);
  }
  syncing_ = true;
  const auto segments = segments_;
  const auto reached = appended_.load();
  lock.unlock();
  auto result = sync_segments(segments);
  lock.lock();
  syncing_ = false;
  if (result) {
    synced_ = reached;
  } else if (!poison_) {
    poison_ =
        result.error();  // what the kernel could not write it has forgotten: a retry proves nothing
  }
  changed_.notify_all();
  return result;
}

Result<> Journal::sync_segments(const std::vector<std::shared_ptr<Segment>>& segments) {
  for (const auto& segment : segments) {
    if (auto r = segment->file->sync(); !r) return r;
    if (segment->name_synced) continue;
    if (auto r = io_.sync_folder(folder_); !r) return r;
    segment->name_synced = true;
  }
  return {};
}

void Journal::retire(std::uint64_t number) {
  std::vector<std::string> paths;
  {
    const std::lock_guard lock(mutex_);
    for (auto it = segments_.begin(); it != segments_.end();) {
      if ((*it)->number >= number) {
        ++it;
        continue;
      }
      paths.push_back((*it)->path);
      it = segments_.erase(it);
    }
  }
  // One that stays behind is not read again, and is removed at the next opening.
  for (const auto& path : paths) (void)io_.remove(path);
}

}  // namespace ebb::store
