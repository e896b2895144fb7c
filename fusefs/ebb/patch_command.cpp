#include "fusefs/ebb/patch_command.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <set>
#include <thread>

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "fusefs/ebb/fsmap_command.h"
#include "fusefs/ebb/fsmap_directory.h"
#include "fusefs/ebb/map_source.h"
#include "fusefs/ebb/mounts.h"
#include "fusefs/ebb/patch_plan.h"
#include "fusefs/ebb/patch_staging.h"
#include "proto/errors.h"

namespace ebb::fusefs {
namespace {

using proto::Errc;

constexpr int kMapsMax = 30;           // that a source has one after the other while we are at it
constexpr int kContradictionsMax = 3;  // of a source with itself
constexpr int kLostMax = 6;            // connections that brought nothing
constexpr Duration kPauseFirst = std::chrono::milliseconds(100);
constexpr Duration kProgressEach = std::chrono::milliseconds(200);

/// A patch from its beginning to its end: maps are compared until they are equal.
class Patch {
 public:
  Patch(Console& console, const PatchArguments& arguments, DigestKind kind, MapSource& source,
        std::unique_ptr<store::PatchFolder> folder)
      : console_(console),
        arguments_(arguments),
        kind_(kind),
        source_(source),
        folder_(std::move(folder)) {}

  Outcome<> run() {
    for (;;) {
      const auto step = round();
      if (step && *step) return {};
      if (!step && !again(step.error())) return tl::unexpected(why_not(step.error()));
    }
  }

 private:
  /// True: the directory is equal to the source.
  Result<bool> round() {
    console_.show_progress(fmt::format("{}: asks for the map", arguments_.source));
    const auto figures = source_.figures(kind_);
    if (!figures) return pass(figures.error());
    auto local = walk_directory(console_, arguments_.directory, kind_, arguments_.no_cache, false);
    if (!local) {
      refusal_ = local.error();
      return fail_errno(EIO);
    }
    if (local->summary() == figures->summary) return equal(*figures);
    if (landed_ && *landed_ == figures->summary && ++contradictions_ == kContradictionsMax) {
      return fail(Errc::bad_packet,
                  "the directory is changed meanwhile, or the source's answers "
                  "contradict its map");
    }
    const auto target = source_.hashes(kind_, *figures);
    if (!target) return pass(target.error());
    const PatchPlan plan(*target, std::move(*local));
    if (arguments_.dry_run) return show(plan);
    if (auto ok = folder_->prepare(); !ok) return pass(ok.error());
    folder_->next_round();
    PatchStaging staging(*folder_, *target, [&] { show_progress(plan); });
    staging_ = &staging;
    auto done = fetch(*figures, plan, staging);
    if (done) done = land(plan, staging);
    staging_ = nullptr;
    bytes_ += staging.bytes();
    console_.end_progress();
    if (!done) return pass(done.error());
    landed_ = figures->summary;
    lost_ = 0;
    moved_ = 0;
    return false;
  }

  // ---- fetching

  Result<> fetch(const MapFigures& figures, const PatchPlan& plan, PatchStaging& staging) {
    auto wanted = staging.want(plan.missing());
    std::set<std::string> names;
    for (const std::uint64_t index : plan.missing()) names.insert(staging.name_of(index));
    if (auto ok = folder_->drop_others(names); !ok) return ok;
    for (int attempt = 0; attempt < 3; ++attempt) {
      if (auto ok = source_.fetch(kind_, figures, wanted, staging); !ok) return ok;
      auto wrong = staging.wrong();
      if (!wrong) return pass(wrong.error());
      if (wrong->empty()) return {};
      wanted = std::move(*wrong);
    }
    return fail(Errc::wrong_hash, staging.path_of(wanted.front().index));
  }

  void show_progress(const PatchPlan& plan) {
    const Time now = system_clock().now();
    if (!console_.progress || now < shown_at_ + kProgressEach) return;
    shown_at_ = now;
    console_.show_progress(fmt::format("{}: {} of {} files, {}", arguments_.directory,
                                       staging_->ended(), plan.missing().size(),
                                       human_size(staging_->bytes())));
  }

  // ---- landing

  Result<> land(const PatchPlan& plan, PatchStaging& staging) {
    std::vector<std::string> paths;
    for (const std::uint64_t index : plan.missing()) paths.push_back(staging.path_of(index));
    const auto landings = plan.landings(std::move(paths));
    if (!landings) return pass(landings.error());
    std::set<std::string> names;
    for (const std::uint64_t index : plan.missing()) names.insert(staging.name_of(index));
    if (auto ok = folder_->sync_staged(names); !ok) return ok;
    const auto removals = plan.removals(*landings);
    if (auto ok = remove(plan, removals.before); !ok) return ok;
    for (std::size_t i = 0; i < landings->size(); ++i) {
      const Landing& landing = (*landings)[i];
      const std::uint64_t index = plan.missing()[i];
      auto ok =
          folder_->land(staging.name_of(index), landing.path, landing.listed, arguments_.keep);
      if (!ok) return in_the_way(ok.error());
      ++fetched_;
      if (arguments_.json) {
        print(fmt::format("{{\"fetched\": {}, \"index\": {}}}", json_name(landing.path), index));
      }
    }
    if (auto ok = folder_->sync_names(); !ok) return ok;
    if (auto ok = remove(plan, removals.after); !ok) return ok;
    return folder_->sync_names();
  }

  Result<> remove(const PatchPlan& plan, const std::vector<std::uint64_t>& files) {
    for (const std::uint64_t i : files) {
      const std::string path = plan.local().path(i);
      auto gone = folder_->remove(path, plan.local().file(i), arguments_.keep);
      // It was changed since it was listed, or its folder was: the next map of it says what it is.
      const bool changed =
          !gone && (is_errno(gone.error(), EAGAIN) || is_errno(gone.error(), ELOOP) ||
                    is_errno(gone.error(), ENOTDIR));
      if (!gone && !changed) return gone;
      if (changed) continue;
      ++removed_;
      if (arguments_.json) print(fmt::format("{{\"removed\": {}}}", json_name(path)));
    }
    return {};
  }

  Result<> in_the_way(const Error& error) {
    std::string why;
    if (is_errno(error, ELOOP)) why = "a symbolic link stands where a folder is to be";
    if (is_errno(error, EXDEV)) why = "another filesystem is mounted where a folder is to be";
    if (is_errno(error, ENOTDIR)) why = "stands where a folder is to be";
    if (is_errno(error, ENOTEMPTY))
      why =
          "a folder with more in it than a map lists stands where "
          "a file is to be";
    if (why.empty()) return pass(error);
    refusal_ =
        Refusal{fmt::format("{}/{}: {}; take it away", arguments_.directory, error.detail, why)};
    return pass(error);
  }

  // ---- what is told

  Result<bool> show(const PatchPlan& plan) {
    for (const std::uint64_t index : plan.missing()) {
      print(arguments_.json ? fmt::format("{{\"missing\": {}}}", index)
                            : fmt::format("missing {}", index));
    }
    plan.each_invalid([&](const std::string& path, const store::FsmapFile&) {
      print(arguments_.json ? fmt::format("{{\"invalid\": {}}}", json_name(path))
                            : fmt::format("invalid {}", printable_if_terminal(path)));
    });
    return true;
  }

  Result<bool> equal(const MapFigures& figures) {
    if (folder_) {
      if (auto ok = folder_->finish(); !ok) return pass(ok.error());
    }
    console_.end_progress();
    const std::uint64_t kept = folder_ ? folder_->kept() : 0;
    if (arguments_.json) {
      print(fmt::format(
          "{{\"summary\": \"{}\", \"files\": {}, \"fetched\": {}, \"removed\": {}, \"kept\": {}, "
          "\"content_bytes\": {}, \"bytes_in\": {}, \"bytes_out\": {}}}",
          store::summary_text(kind_, figures.summary), figures.files, fetched_, removed_, kept,
          bytes_, source_.bytes_in(), source_.bytes_out()));
    } else if (!arguments_.dry_run) {
      print(fmt::format("{}: equal to {}, {} files; {} fetched, {} removed{}",
                        printable_if_terminal(arguments_.directory),
                        printable_if_terminal(arguments_.source), figures.files, fetched_, removed_,
                        kept == 0 ? "" : fmt::format(", {} kept in {}", kept, folder_->kept_in())));
    }
    return true;
  }

  std::string printable_if_terminal(const std::string& path) const {
    return console_.colour ? printable(path) : path;
  }
  void print(const std::string& line) { console_.out << line << '\n'; }

  // ---- trouble

  /// Whether the next round may do better.
  bool again(const Error& error) {
    if (refusal_) return false;
    int tries = 0;
    const bool moved = error.code == Errc::moved_on || error.code == Errc::busy;
    if (moved || error.code == Errc::wrong_hash) {
      if (++moved_ == kMapsMax) return false;
      if (error.code == Errc::wrong_hash && ++contradictions_ == kContradictionsMax) return false;
      tries = std::min(moved_, 4);
    } else if (error.code == Errc::lost) {
      const std::uint64_t came = source_.bytes_in();
      if (came > came_ + 4096) lost_ = 0;
      came_ = came;
      if (++lost_ == kLostMax) return false;
      tries = lost_;
    } else {
      return false;
    }
    std::this_thread::sleep_for(kPauseFirst * (1 << tries) / 2);
    return true;
  }

  Refusal why_not(const Error& error) const {
    if (refusal_) return {refusal_->line, kFailed};
    const std::string what = error.code.category() == std::generic_category() ? error.message()
                             : error.detail.empty()                           ? error.code.message()
                                                                              : error.detail;
    if (error.code == Errc::wrong_hash) {
      return {fmt::format("source {}: what it sends for {} is not what its map lists",
                          arguments_.source, what)};
    }
    if (error.code == Errc::moved_on) {
      return {
          fmt::format("source {}: it has another map again and again ({}); try when it is at "
                      "rest, or publish it anew",
                      arguments_.source, what)};
    }
    if (error.code == Errc::lost) {
      return {
          fmt::format("source {}: the connection is lost: {}; the same command goes on where "
                      "this one ended",
                      arguments_.source, what)};
    }
    if (error.code.category() == proto::category()) {
      return {fmt::format("source {}: {}", arguments_.source, what)};
    }
    return {fmt::format("{}: {}", arguments_.directory, what)};
  }

  Console& console_;
  const PatchArguments& arguments_;
  const DigestKind kind_;
  MapSource& source_;
  std::unique_ptr<store::PatchFolder> folder_;
  PatchStaging* staging_ = nullptr;
  std::optional<Refusal> refusal_;
  std::optional<Digest> landed_;  // the map that was landed last
  Time shown_at_{};
  int moved_ = 0;
  int contradictions_ = 0;
  int lost_ = 0;
  std::uint64_t came_ = 0;
  std::uint64_t fetched_ = 0;
  std::uint64_t removed_ = 0;
  std::uint64_t bytes_ = 0;
};

std::string real_path(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::weakly_canonical(path, ignored).string();
}

Outcome<> check_directory(const PatchArguments& arguments, const Source& source) {
  struct stat facts {};
  if (::stat(arguments.directory.c_str(), &facts) != 0) {
    return refuse("{}: {}{}", arguments.directory, std::strerror(errno),
                  errno == ENOENT ? "; make it with mkdir first" : "");
  }
  if (!S_ISDIR(facts.st_mode)) return refuse("{}: not a folder", arguments.directory);
  if (source.address) return {};
  if (::stat(source.folder.c_str(), &facts) != 0 || !S_ISDIR(facts.st_mode)) {
    return refuse("source {}: not a directory; for a server's socket write unix:{}", source.folder,
                  source.folder);
  }
  const std::string directory = real_path(arguments.directory);
  if (is_within(directory, source.folder) || is_within(source.folder, directory)) {
    return misused("{}: it and the source {} lie in each other", arguments.directory,
                   source.folder);
  }
  return {};
}

Outcome<DigestKind> kind_of(const PatchArguments& arguments, const Source& source) {
  const auto published = source.address ? std::nullopt : published_kind(source.folder);
  if (arguments.hash.empty()) return published.value_or(DigestKind::md5);
  const auto kind = parse_digest_kind(arguments.hash);
  if (!kind) return misused("--hash {}: not a hash; one of md5, xxh3", arguments.hash);
  if (published && *published != *kind) {
    return refuse("source {}: published with --hash {}", arguments.source, word(*published));
  }
  return *kind;
}

Outcome<> patch(Console& console, const PatchArguments& arguments) {
  const auto source = parse_source(arguments.source, arguments.insecure);
  if (!source) return tl::unexpected(source.error());
  const auto kind = kind_of(arguments, *source);
  if (!kind) return tl::unexpected(kind.error());
  if (auto good = check_directory(arguments, *source); !good) return good;
  std::unique_ptr<store::PatchFolder> folder;
  if (!arguments.dry_run) {
    auto opened = store::PatchFolder::open(arguments.directory);
    if (!opened && is_errno(opened.error(), EBUSY)) {
      return refuse("{}: another ebb patch is at work there", arguments.directory);
    }
    if (!opened) return refuse("{}", opened.error().message());
    folder = std::move(*opened);
  }
  auto maps = open_map_source(*source, arguments.insecure);
  if (!maps) return tl::unexpected(maps.error());
  auto done = Patch(console, arguments, *kind, **maps, std::move(folder)).run();
  console.out << std::flush;
  if (done && !console.out) return refuse("standard output: cannot be written");
  return done;
}

}  // namespace

int patch_command(Console& console, const PatchArguments& arguments) {
  const auto done = patch(console, arguments);
  console.end_progress();
  return done ? kDone : console.fail(done.error());
}

}  // namespace ebb::fusefs
