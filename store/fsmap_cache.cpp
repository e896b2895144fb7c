#include "store/fsmap_cache.h"

#include <cerrno>
#include <cstdio>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"

namespace ebb::store {
namespace {

constexpr std::uint64_t kMagic = 0x0150414d53466265;  // "ebFSMAP", format 1

struct Header {
  std::uint64_t magic;
  std::uint64_t kind;
  std::uint64_t size;   // of the file
  std::uint64_t top;    // where the top's block begins
  std::uint64_t files;  // in all
  std::uint64_t xxh3;   // of everything behind the header
};
static_assert(sizeof(Header) == 48);

/// Files, folders, then names padded to 8 bytes.
struct Block {
  std::uint32_t files;
  std::uint32_t folders;
  std::uint32_t names;
  std::uint32_t reserved;
};
static_assert(sizeof(Block) == 16);

class CacheFile {
 public:
  explicit CacheFile(int fd) : fd_(fd) { put(bytes_of(Header{})); }

  std::uint64_t at() const { return written_ + waiting_.size(); }
  void put(ByteView bytes) {
    waiting_.insert(waiting_.end(), bytes.begin(), bytes.end());
    if (waiting_.size() > (1u << 18)) flush();
  }
  bool finish(Header header) {
    flush();
    header.size = written_;
    header.xxh3 = hash_.digest();
    return ok_ && ::pwrite(fd_, &header, sizeof header, 0) == ssize_t{sizeof header};
  }

 private:
  void flush() {
    ByteView in(waiting_);
    if (written_ == 0) {
      hash_.update(in.subspan(sizeof(Header)));
    } else {
      hash_.update(in);
    }
    written_ += in.size();
    while (ok_ && !in.empty()) {
      const ssize_t n = ::write(fd_, in.data(), in.size());
      if (n < 0 && errno == EINTR) continue;
      ok_ = n > 0;
      if (ok_) in = in.subspan(static_cast<std::size_t>(n));
    }
    waiting_.clear();
  }

  int fd_;
  bool ok_ = true;
  std::uint64_t written_ = 0;
  Bytes waiting_;
  Xxh3Stream hash_;
};

/// Folders have numbers above their parent's, so from the last to the first is from the leaves to
/// the top.
bool write_tree(int fd, const FsmapTree& tree) {
  CacheFile out(fd);
  std::vector<std::uint64_t> offsets(tree.folders().size());
  for (std::size_t i = tree.folders().size(); i-- > 0;) {
    const auto& folder = tree.folders()[i];
    offsets[i] = out.at();
    out.put(bytes_of(Block{static_cast<std::uint32_t>(folder.files.size()),
                           static_cast<std::uint32_t>(folder.folders.size()),
                           static_cast<std::uint32_t>(folder.names.size()), 0}));
    out.put(std::as_bytes(std::span(folder.files)));
    for (const std::uint32_t child : folder.folders) {
      const auto& below = tree.folders()[child];
      out.put(bytes_of(FsmapCache::Child{offsets[child], below.name, below.name_size, 0}));
    }
    out.put(as_bytes(folder.names));
    out.put(as_bytes(std::string((8 - folder.names.size() % 8) % 8, '\0')));
  }
  Header header{};
  header.magic = kMagic;
  header.kind = static_cast<std::uint64_t>(tree.kind());
  header.top = offsets[0];
  header.files = tree.size();
  return out.finish(header);
}

}  // namespace

FsmapCache::~FsmapCache() {
  if (bytes_ != nullptr) ::munmap(const_cast<std::byte*>(bytes_), size_);
}

void FsmapCache::open(const std::string& path, DigestKind kind) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return;
  struct stat facts {};
  void* mapped = MAP_FAILED;
  if (::fstat(fd, &facts) == 0 && facts.st_size >= off_t{sizeof(Header)}) {
    size_ = static_cast<std::uint64_t>(facts.st_size);
    mapped = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
  }
  ::close(fd);
  if (mapped == MAP_FAILED) return;
  bytes_ = static_cast<const std::byte*>(mapped);
  Header header;
  std::memcpy(&header, bytes_, sizeof header);
  const bool ours = header.magic == kMagic && header.size == size_ &&
                    header.kind == static_cast<std::uint64_t>(kind) &&
                    header.xxh3 == xxh3(ByteView(bytes_, size_).subspan(sizeof header));
  if (!ours) return;
  top_ = header.top;
  files_ = header.files;
  release();
}

void FsmapCache::release() const {
  if (bytes_ != nullptr) ::madvise(const_cast<std::byte*>(bytes_), size_, MADV_DONTNEED);
}

FsmapCache::Folder FsmapCache::folder(std::uint64_t offset) const {
  if (offset < sizeof(Header) || offset % 8 != 0 || offset + sizeof(Block) > size_) return {};
  Block block;
  std::memcpy(&block, bytes_ + offset, sizeof block);
  const std::uint64_t files = offset + sizeof block;
  const std::uint64_t folders = files + std::uint64_t{block.files} * sizeof(FsmapFile);
  const std::uint64_t names = folders + std::uint64_t{block.folders} * sizeof(Child);
  if (names + block.names > size_) return {};
  return {{reinterpret_cast<const FsmapFile*>(bytes_ + files), block.files},
          {reinterpret_cast<const Child*>(bytes_ + folders), block.folders},
          as_text(ByteView(bytes_ + names, block.names))};
}

Result<> write_fsmap_cache(const std::string& path, const FsmapTree& tree) {
  const std::string temporary = fmt::format("{}.{}", path, ::getpid());
  const int fd =
      ::open(temporary.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return fail_errno(errno, temporary);
  const bool written = write_tree(fd, tree);
  ::close(fd);
  if (written && ::rename(temporary.c_str(), path.c_str()) == 0) return {};
  const int why = errno;
  ::unlink(temporary.c_str());
  return fail_errno(why, path);
}

}  // namespace ebb::store
