#include "fusefs/ebb/fsmap_directory.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file_io.h"

namespace ebb::fusefs {
namespace {

constexpr int kTrouble = 2;

template <class... Args>
tl::unexpected<Refusal> no_map(fmt::format_string<Args...> format, Args&&... args) {
  return tl::unexpected<Refusal>(
      Refusal{fmt::format(format, std::forward<Args>(args)...), kTrouble});
}

/// Where the digests of this directory are remembered; empty: nowhere.
std::string cache_of(int folder, DigestKind kind) {
  const char* given = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  std::string top;
  if (given != nullptr && *given == '/') {
    top = given;
  } else if (home != nullptr && *home == '/') {
    top = std::string(home) + "/.cache";
  }
  struct stat facts {};
  if (top.empty() || ::fstat(folder, &facts) != 0) return {};
  top += "/ebbfs";
  if (!system_file_io().make_folder(top)) return {};
  return fmt::format("{}/fsmap-{:x}-{:x}-{}", top, facts.st_dev, facts.st_ino, word(kind));
}

std::string why_not(const std::string& directory, const Error& error) {
  const std::string path = directory + "/" + error.detail;
  if (is_errno(error, EILSEQ)) {
    return fmt::format("{}: a name with a newline cannot stand in a map; rename it", path);
  }
  if (is_errno(error, EBUSY)) {
    return fmt::format("{}: changes while it is read; try again when it is at rest", path);
  }
  return fmt::format("{}: {}", path, error.code.message());
}

void note(Console& console, const std::string& directory, const store::FsmapCounts& counts) {
  if (counts.symlinks + counts.others + counts.mounts == 0) return;
  console.err << fmt::format(
                     "ebb: note: {}: not listed: {} symlinks, {} FIFOs, sockets and devices, {} "
                     "mounted filesystems",
                     printable(directory), counts.symlinks, counts.others, counts.mounts)
              << std::endl;
}

}  // namespace

Outcome<store::FsmapTree> walk_directory(Console& console, const std::string& directory,
                                         DigestKind kind, bool no_cache, bool with_note) {
  const int folder = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return no_map("{}: {}", directory, std::strerror(errno));
  store::FsmapOptions options;
  options.kind = kind;
  if (!no_cache) options.cache = cache_of(folder, kind);
  if (console.progress) {
    options.progress = [&](const store::FsmapProgress& p) {
      console.show_progress(
          fmt::format("{}: {} files, {} read", directory, p.files, human_size(p.bytes)));
    };
  }
  auto tree = store::walk_fsmap(folder, options);
  ::close(folder);
  console.end_progress();
  if (!tree) return no_map("{}", why_not(directory, tree.error()));
  if (with_note) note(console, directory, tree->counts());
  return std::move(*tree);
}

}  // namespace ebb::fusefs
