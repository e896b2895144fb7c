#include "store/content.h"

#include <atomic>
#include <cerrno>
#include <charconv>
#include <optional>

#include <fmt/format.h>

namespace ebb::store {

/// A content file whose first sync() makes its name and its folder's durable, too: bytes without a
/// name are lost.
class ContentFile final : public File {
 public:
  ContentFile(const ContentFolder& content, std::string folder, std::unique_ptr<File> file)
      : io_(content.io_),
        top_(content.folder_),
        folders_(content.folders_),
        folder_(std::move(folder)),
        file_(std::move(file)) {}

  Result<std::size_t> read_at(std::uint64_t offset, std::span<std::byte> out) const override {
    return file_->read_at(offset, out);
  }
  Result<> write_at(std::uint64_t offset, ByteView in) override {
    return file_->write_at(offset, in);
  }
  Result<std::uint64_t> size() const override { return file_->size(); }
  Result<> truncate(std::uint64_t size) override { return file_->truncate(size); }
  Result<> allocate(std::uint64_t size) override { return file_->allocate(size); }
  Result<> punch(Range range) override { return file_->punch(range); }
  Result<> reserve(Range range) override { return file_->reserve(range); }
  std::vector<Range> data_in(Range range, std::size_t most) const override {
    return file_->data_in(range, most);
  }
  Result<std::uint64_t> allocated() const override { return file_->allocated(); }
  Result<> sync() override {
    if (auto r = file_->sync(); !r) return r;
    if (name_synced_) return {};
    if (auto r = io_.sync_folder(folder_); !r) return r;
    if (auto r = sync_folders(); !r) return r;
    name_synced_ = true;
    return {};
  }
  Result<std::span<std::byte>> map(std::uint64_t size) override { return file_->map(size); }
  int fd() const override { return file_->fd(); }

 private:
  Result<> sync_folders() {
    std::lock_guard lock(folders_->mutex);
    if (folders_->durable) return {};
    if (auto r = io_.sync_folder(top_); !r) return r;
    folders_->durable = true;
    return {};
  }

  FileIo& io_;
  const std::string top_;
  const std::shared_ptr<ContentFolder::Folders> folders_;
  const std::string folder_;
  const std::unique_ptr<File> file_;
  std::atomic<bool> name_synced_{false};
};

namespace {

/// 256 folders, so that none grows too large.
std::string folder_name(std::uint64_t number) {
  return fmt::format("{:02x}", number & 0xff);
}

std::optional<std::uint64_t> parse_number(const std::string& name) {
  std::uint64_t number = 0;
  const auto* end = name.data() + name.size();
  const auto [at, error] = std::from_chars(name.data(), end, number, 16);
  if (error != std::errc{} || at != end) return std::nullopt;
  return number;
}

}  // namespace

std::string ContentFolder::path(std::uint64_t number) const {
  return fmt::format("{}/{}/{:016x}", folder_, folder_name(number), number);
}

Result<std::unique_ptr<File>> ContentFolder::create(std::uint64_t number, std::uint64_t size) {
  const auto folder = folder_ + "/" + folder_name(number);
  auto file = io_.open(path(number), OpenMode::create_new);
  if (!file && is_errno(file.error(), ENOENT)) {
    if (auto r = make_folder(folder); !r) return pass(r.error());
    file = io_.open(path(number), OpenMode::create_new);
  }
  if (!file) return file;
  if (size > 0) {
    if (auto r = (*file)->truncate(size); !r) {
      (void)io_.remove(path(number));
      return pass(r.error());
    }
  }
  return std::make_unique<ContentFile>(*this, folder, std::move(*file));
}

Result<> ContentFolder::make_folder(const std::string& folder) {
  std::lock_guard lock(folders_->mutex);
  folders_->durable = false;
  return io_.make_folder(folder);
}

Result<std::unique_ptr<File>> ContentFolder::open(std::uint64_t number) {
  auto file = io_.open(path(number), OpenMode::write);
  if (!file) return file;
  const auto folder = folder_ + "/" + folder_name(number);
  return std::make_unique<ContentFile>(*this, folder, std::move(*file));
}

Result<> ContentFolder::remove(std::uint64_t number) {
  auto r = io_.remove(path(number));
  if (!r && is_errno(r.error(), ENOENT)) return {};
  return r;
}

Result<> ContentFolder::sync_all() {
  return io_.sync_all(folder_);
}

Result<std::vector<std::uint64_t>> ContentFolder::list() {
  std::vector<std::uint64_t> numbers;
  auto there = io_.exists(folder_);
  if (!there) return pass(there.error());
  if (!*there) return numbers;
  auto folders = io_.list(folder_);
  if (!folders) return pass(folders.error());
  for (const auto& folder : *folders) {
    auto names = io_.list(folder_ + "/" + folder);
    if (!names) return pass(names.error());
    for (const auto& name : *names) {
      if (auto number = parse_number(name)) numbers.push_back(*number);
    }
  }
  return numbers;
}

}  // namespace ebb::store
