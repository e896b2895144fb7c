#include "server/core/directory_files.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/check.h"
#include "base/hash.h"

namespace ebb::server {
namespace {

constexpr std::size_t kCopyStep = 1u << 20;

Result<std::size_t> read_fully(int fd, std::uint64_t offset, std::span<std::byte> out) {
  std::size_t done = 0;
  while (done < out.size()) {
    const ssize_t n =
        ::pread(fd, out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno(errno, "read");
    if (n == 0) break;
    done += static_cast<std::size_t>(n);
  }
  return done;
}

/// What other programs keep on a file that is not served (access lists, labels) goes along where it
/// may.
void copy_other_xattrs(int from, int to) {
  char names[4096];
  const ssize_t size = ::flistxattr(from, names, sizeof names);
  std::string value(64 * 1024, '\0');
  for (const char* name = names; size > 0 && name < names + size; name += std::strlen(name) + 1) {
    const ssize_t got = ::fgetxattr(from, name, value.data(), value.size());
    if (got >= 0) (void)::fsetxattr(to, name, value.data(), static_cast<std::size_t>(got), 0);
  }
}

}  // namespace

std::string number_name(std::uint64_t number) {
  return hex16(number);
}

std::optional<std::uint64_t> parse_number(std::string_view name) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number, 16);
  if (name.size() != 16 || error != std::errc() || end != name.data() + name.size()) {
    return std::nullopt;
  }
  return number;
}

Result<std::size_t> ServedFile::read_at(std::uint64_t offset, std::span<std::byte> out) {
  return read_fully(fd_.get(), offset, out);
}

Result<std::size_t> DirectoryStagedFile::read_at(std::uint64_t offset, std::span<std::byte> out) {
  return read_fully(fd_.get(), offset, out);
}

Result<> DirectoryStagedFile::write_at(std::uint64_t offset, ByteView in) {
  while (!in.empty()) {
    const ssize_t n = ::pwrite(fd_.get(), in.data(), in.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno(errno, "write");
    offset += static_cast<std::uint64_t>(n);
    in = in.subspan(static_cast<std::size_t>(n));
  }
  return {};
}

Result<> DirectoryStagedFile::resize(std::uint64_t size) {
  if (::ftruncate(fd_.get(), static_cast<off_t>(size)) != 0) return fail_errno(errno, "truncate");
  return {};
}

Result<> DirectoryStagedFile::copy_from(DepotFile& file, Range range, std::uint64_t at) {
  auto* served = dynamic_cast<ServedFile*>(&file);
  CHECK(served != nullptr);
  const int from = served->fd().get();
  // Blocks are shared in whole ones only; a range that is not aligned is copied.
  file_clone_range clone{from, range.begin, range.size(), at};
  if (::ioctl(fd_.get(), FICLONERANGE, &clone) == 0) return {};
  std::uint64_t next = range.begin;
  while (next < range.end) {
    const off_t data = ::lseek(from, static_cast<off_t>(next), SEEK_DATA);
    if (data < 0 && errno == ENXIO) break;  // a hole to the end
    if (data < 0) return copy_data(from, {next, range.end}, at + (next - range.begin));
    const off_t hole = ::lseek(from, data, SEEK_HOLE);
    if (hole < 0) return fail_errno(errno, "seek");
    const Range part{std::max(next, static_cast<std::uint64_t>(data)),
                     std::min(range.end, static_cast<std::uint64_t>(hole))};
    if (!part.empty()) {
      if (auto ok = copy_data(from, part, at + (part.begin - range.begin)); !ok) return ok;
    }
    next = std::max(part.end, static_cast<std::uint64_t>(hole));
  }
  return {};
}

Result<> DirectoryStagedFile::copy_data(int from, Range range, std::uint64_t at) {
  Bytes buffer(std::min<std::uint64_t>(kCopyStep, range.size()));
  while (!range.empty()) {
    const auto step = std::min<std::uint64_t>(buffer.size(), range.size());
    auto n = read_fully(from, range.begin, std::span(buffer).first(step));
    if (!n) return pass(n.error());
    if (*n == 0) break;
    if (auto ok = write_at(at, ByteView(buffer).first(*n)); !ok) return ok;
    range.begin += *n;
    at += *n;
  }
  return {};
}

Result<> DirectoryStagedFile::inherit(DepotFile& file) {
  auto* served = dynamic_cast<ServedFile*>(&file);
  CHECK(served != nullptr);
  struct stat old {};
  if (::fstat(served->fd().get(), &old) != 0) return fail_errno(errno, "stat");
  (void)!::fchown(fd_.get(), old.st_uid, old.st_gid);
  copy_other_xattrs(served->fd().get(), fd_.get());
  if (::fchmod(fd_.get(), old.st_mode & 07777u) != 0) return fail_errno(errno, "chmod");
  return {};
}

Result<> DirectoryStagedFile::set_attributes(std::uint8_t bits,
                                             const proto::Attributes& attributes) {
  return apply_attributes(fd_, proto::EntryKind::file, bits, attributes);
}

Result<> DirectoryStagedFile::sync() {
  if (::fsync(fd_.get()) != 0) return fail_errno(errno, "fsync");
  return {};
}

}  // namespace ebb::server
