// A folder that `ebb fsmap publish` has made as the source of a map.
#include <cerrno>
#include <fstream>
#include <sstream>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fusefs/ebb/map_source.h"
#include "proto/errors.h"
#include "store/open_here.h"

namespace ebb::fusefs {
namespace {

using proto::Errc;

constexpr std::size_t kReadStep = 256u << 10;

Result<std::string> read_all(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return fail_errno(errno, path);
  std::ostringstream text;
  text << file.rdbuf();
  return std::move(text).str();
}

Result<std::pair<DigestKind, Digest>> read_summary(const std::string& folder) {
  const auto text = read_all(folder + "/summary.md5");
  if (!text) return pass(text.error());
  return store::parse_summary(*text);
}

class PublishedMapSource final : public MapSource {
 public:
  PublishedMapSource(std::string folder, store::OpenFile content)
      : folder_(std::move(folder)), content_(std::move(content)) {}

  Result<MapFigures> figures(DigestKind kind) override {
    const auto summary = read_summary(folder_);
    if (!summary) return pass(summary.error());
    if (summary->first != kind) return fail(Errc::moved_on, "published anew with another hash");
    std::ifstream file(folder_ + "/build.fsmap", std::ios::binary);
    if (!file) return fail_errno(errno, folder_ + "/build.fsmap");
    map_ = {kind, {}};
    paths_.clear();
    const auto read = store::read_fsmap(file, store::FsmapForm::full_or_minified,
                                        {[this](DigestKind found) { map_.kind = found; },
                                         [this](std::string_view path, const Digest& digest) {
                                           map_.digests.push_back(digest);
                                           paths_.emplace_back(path);
                                         }});
    if (!read) return fail_errno(EINVAL, folder_ + "/build.fsmap: " + read.error().detail);
    // It is replaced before the summary is.
    if (map_.kind != kind || store::summary_of(map_) != summary->second) {
      return fail(Errc::moved_on, "is being published anew");
    }
    return MapFigures{summary->second, map_.digests.size(), 0};
  }

  Result<store::Minified> hashes(DigestKind, const MapFigures&) override { return map_; }

  Result<> fetch(DigestKind, const MapFigures&, const std::vector<WantedFile>& wanted,
                 FileSink& sink) override {
    for (const auto& want : wanted) {
      if (auto ok = fetch_one(want, sink); !ok) return ok;
    }
    return {};
  }

 private:
  /// Beneath the published directory, through no symlink.
  Result<store::OpenFile> open(const std::string& path) const {
    store::OpenFile at(::openat(content_.get(), ".", O_PATH | O_DIRECTORY | O_CLOEXEC));
    for (std::size_t begin = 0;;) {
      const std::size_t slash = path.find('/', begin);
      const bool last = slash == path.npos;
      const std::string name = path.substr(begin, last ? path.npos : slash - begin);
      const int flags = last ? O_RDONLY | O_NONBLOCK | O_NOCTTY : O_PATH | O_DIRECTORY;
      at = store::OpenFile(store::open_here(at.get(), name.c_str(), flags));
      if (!at) return fail_errno(errno, path);
      if (last) return at;
      begin = slash + 1;
    }
  }

  Result<> fetch_one(const WantedFile& want, FileSink& sink) const {
    const std::string& path = paths_[want.index];
    if (!store::fsmap_path_fits(path)) {
      return fail_errno(EINVAL, folder_ + "/build.fsmap: a path that no map lists, " + path);
    }
    const auto file = open(path);
    struct stat facts {};
    if (!file || ::fstat(file->get(), &facts) != 0 || !S_ISREG(facts.st_mode)) {
      return fail(Errc::moved_on, path + ": is no more what was published");
    }
    const auto mtime = facts.st_mtim.tv_sec * std::int64_t{1'000'000'000} + facts.st_mtim.tv_nsec;
    const auto size = static_cast<std::uint64_t>(facts.st_size);
    auto ok = sink.begin(want.index, {path, size, facts.st_mode & 0777u, mtime});
    Bytes buffer(kReadStep);
    for (std::uint64_t at = want.have; ok && at < size;) {
      const ssize_t n = ::pread(file->get(), buffer.data(), buffer.size(), static_cast<off_t>(at));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return fail_errno(errno, path);
      if (n == 0) return fail(Errc::moved_on, path + ": is no more what was published");
      ok = sink.data(want.index, at, ByteView(buffer).first(static_cast<std::size_t>(n)));
      at += static_cast<std::uint64_t>(n);
    }
    return ok ? sink.end(want.index) : ok;
  }

  const std::string folder_;
  const store::OpenFile content_;
  store::Minified map_;
  std::vector<std::string> paths_;
};

}  // namespace

std::optional<DigestKind> published_kind(const std::string& folder) {
  struct stat facts {};
  for (const char* name : {"/build.fsmap", "/build.min.fsmap"}) {
    if (::stat((folder + name).c_str(), &facts) != 0 || !S_ISREG(facts.st_mode)) return {};
  }
  const auto summary = read_summary(folder);
  if (!summary) return {};
  return summary->first;
}

Outcome<std::unique_ptr<MapSource>> open_published(const std::string& folder) {
  const std::string content = folder + "/build";
  store::OpenFile fd(::open(content.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) {
    return refuse("source {}: {}; it is to lead to the directory that was published", content,
                  std::generic_category().message(errno));
  }
  return std::make_unique<PublishedMapSource>(folder, std::move(fd));
}

}  // namespace ebb::fusefs
