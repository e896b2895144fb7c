// Open files of a DirectoryDepot: one that is served, one that is staged; and the names of numbers.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/sparse.h"
#include "server/core/beneath.h"

namespace ebb::server {

/// 16 hex digits.
std::string number_name(std::uint64_t number);
std::optional<std::uint64_t> parse_number(std::string_view name);

class ServedFile final : public DepotFile {
 public:
  ServedFile(Fd fd, std::string filesystem)
      : fd_(std::move(fd)), filesystem_(std::move(filesystem)) {}
  Result<std::size_t> read_at(std::uint64_t offset, std::span<std::byte> out) override;
  std::vector<Range> data_in(Range range, std::size_t most) const override {
    return data_of(fd_.get(), range, most);
  }
  Result<Facts> facts() override { return facts_of(fd_, filesystem_, false); }
  const Fd& fd() const { return fd_; }

 private:
  Fd fd_;
  std::string filesystem_;
};

class DirectoryStagedFile final : public StagedFile {
 public:
  DirectoryStagedFile(Fd fd, std::string filesystem)
      : fd_(std::move(fd)), filesystem_(std::move(filesystem)) {}
  Result<> write_at(std::uint64_t offset, ByteView in) override;
  Result<std::size_t> read_at(std::uint64_t offset, std::span<std::byte> out) override;
  std::vector<Range> data_in(Range range, std::size_t most) const override {
    return data_of(fd_.get(), range, most);
  }
  Result<> copy_from(DepotFile& file, Range range, std::uint64_t at) override;
  Result<> resize(std::uint64_t size) override;
  Result<> inherit(DepotFile& file) override;
  Result<> set_attributes(std::uint8_t bits, const proto::Attributes& attributes) override;
  Result<> sync() override;
  Result<Facts> facts() override { return facts_of(fd_, filesystem_, true); }

 private:
  Result<> copy_data(int from, Range range, std::uint64_t at);

  Fd fd_;
  std::string filesystem_;
};

}  // namespace ebb::server
