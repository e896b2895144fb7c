#include "fusefs/ebb/fsmap_command.h"

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fusefs/ebb/fsmap_directory.h"
#include "store/fsmap.h"
#include "store/fsmap_walk.h"

namespace ebb::fusefs {
namespace {

constexpr int kEqual = 0;
constexpr int kDifferent = 1;
constexpr int kTrouble = 2;
constexpr std::size_t kWriteStep = 256u << 10;

template <class... Args>
tl::unexpected<Refusal> trouble(fmt::format_string<Args...> format, Args&&... args) {
  return tl::unexpected<Refusal>(
      Refusal{fmt::format(format, std::forward<Args>(args)...), kTrouble});
}

bool is_directory(const std::string& path) {
  struct stat facts {};
  return path != "-" && ::stat(path.c_str(), &facts) == 0 && S_ISDIR(facts.st_mode);
}

Outcome<DigestKind> kind_of(const FsmapArguments& arguments) {
  const auto kind = parse_digest_kind(arguments.hash);
  if (!kind) return trouble("--hash {}: not a hash; one of md5, xxh3", arguments.hash);
  return *kind;
}

// ---- a map in a file

Outcome<> read_map(const std::string& path, store::FsmapForm form,
                   const store::FsmapReader& reader) {
  std::ifstream file;
  if (path != "-") {
    file.open(path, std::ios::binary);
    if (!file) return trouble("{}: {}", path, std::strerror(errno));
  }
  const auto read = store::read_fsmap(path == "-" ? std::cin : file, form, reader);
  if (!read) return trouble("{}: {}", path, read.error().detail);
  return {};
}

Outcome<store::Minified> minified_of_file(const std::string& path, store::FsmapForm form) {
  store::Minified map;
  const auto read =
      read_map(path, form,
               {[&](DigestKind kind) { map.kind = kind; },
                [&](std::string_view, const Digest& digest) { map.digests.push_back(digest); }});
  if (!read) return tl::unexpected(read.error());
  return map;
}

store::Minified minified_of(const store::FsmapTree& tree) {
  store::Minified map{tree.kind(), {}};
  map.digests.reserve(tree.size());
  tree.each(
      [&](std::string_view, const store::FsmapFile& file) { map.digests.push_back(file.digest); });
  return map;
}

Outcome<store::Minified> minified(Console& console, const FsmapArguments& arguments) {
  if (!is_directory(arguments.input)) {
    return minified_of_file(arguments.input, store::FsmapForm::full_or_minified);
  }
  const auto kind = kind_of(arguments);
  if (!kind) return tl::unexpected(kind.error());
  const auto tree = walk_directory(console, arguments.input, *kind, arguments.no_cache);
  if (!tree) return tl::unexpected(tree.error());
  return minified_of(*tree);
}

// ---- writing

/// The full form, in pieces.
Outcome<> write_full(const store::FsmapTree& tree, std::ostream& out, const std::string& name) {
  std::string text(store::fsmap_mark(tree.kind()));
  if (!text.empty()) text += '\n';
  tree.each([&](std::string_view path, const store::FsmapFile& file) {
    store::append_line(text, path, file.digest);
    if (text.size() < kWriteStep) return;
    out.write(text.data(), static_cast<std::streamsize>(text.size()));
    text.clear();
  });
  out.write(text.data(), static_cast<std::streamsize>(text.size()));
  out.flush();
  if (!out) return trouble("{}: cannot be written", name);
  return {};
}

using WriteTo = std::function<Outcome<>(std::ostream&, const std::string&)>;

/// A file has its old content or the whole new one.
Outcome<> replace(const std::string& path, const WriteTo& write) {
  const std::string temporary = fmt::format("{}.{}.tmp", path, ::getpid());
  Outcome<> outcome;
  {
    std::ofstream out(temporary, std::ios::binary | std::ios::trunc);
    if (!out) return trouble("{}: {}", path, std::strerror(errno));
    outcome = write(out, path);
  }
  const int fd = outcome ? ::open(temporary.c_str(), O_WRONLY | O_CLOEXEC) : -1;
  const bool synced = fd >= 0 && ::fsync(fd) == 0;
  if (fd >= 0) ::close(fd);
  if (outcome && (!synced || ::rename(temporary.c_str(), path.c_str()) != 0)) {
    outcome = trouble("{}: {}", path, std::strerror(errno));
  }
  if (!outcome) ::unlink(temporary.c_str());
  return outcome;
}

Outcome<> replace(const std::string& path, const std::string& text) {
  return replace(path, [&](std::ostream& out, const std::string&) -> Outcome<> {
    out << text << std::flush;
    if (!out) return trouble("{}: cannot be written", path);
    return {};
  });
}

/// Where a map goes that can be replaced by rename alone when it is an ordinary file.
bool ordinary(const std::string& path) {
  struct stat facts {};
  return ::stat(path.c_str(), &facts) != 0 || S_ISREG(facts.st_mode);
}

Outcome<> write_to(Console& console, const std::string& path, const WriteTo& write) {
  if (path == "-") return write(console.out, "standard output");
  if (ordinary(path)) return replace(path, write);
  std::ofstream out(path, std::ios::binary);
  if (!out) return trouble("{}: {}", path, std::strerror(errno));
  return write(out, path);
}

int print(Console& console, const std::string& text) {
  console.out << text << std::flush;
  return console.out ? kEqual : console.fail({"standard output: cannot be written", kTrouble});
}

// ---- the difference

class DiffPrinter {
 public:
  DiffPrinter(Console& console, bool json) : console_(console), json_(json) {}

  void missing(std::uint64_t index) {
    line(json_ ? fmt::format("{{\"missing\": {}}}\n", index) : fmt::format("missing {}\n", index));
  }
  void invalid(std::string_view path) {
    if (json_) return line(fmt::format("{{\"invalid\": {}}}\n", json_name(path)));
    line(fmt::format("invalid {}\n", console_.colour ? printable(path) : std::string(path)));
  }
  int end() {
    console_.out << std::flush;
    if (!console_.out) return console_.fail({"standard output: cannot be written", kTrouble});
    return different_ ? kDifferent : kEqual;
  }

 private:
  void line(const std::string& text) {
    different_ = true;
    console_.out << text;
  }

  Console& console_;
  const bool json_;
  bool different_ = false;
};

Outcome<> take_local(Console& console, const FsmapArguments& arguments, DigestKind kind,
                     const std::function<void(std::string_view, const Digest&)>& take) {
  if (is_directory(arguments.input)) {
    const auto tree = walk_directory(console, arguments.input, kind, arguments.no_cache);
    if (!tree) return tl::unexpected(tree.error());
    tree->each([&](std::string_view path, const store::FsmapFile& f) { take(path, f.digest); });
    return {};
  }
  DigestKind found = kind;
  bool paths = true;
  const auto read = read_map(arguments.input, store::FsmapForm::full_or_minified,
                             {[&](DigestKind k) { found = k; },
                              [&](std::string_view path, const Digest& digest) {
                                paths = paths && !path.empty();
                                if (found == kind && paths) take(path, digest);
                              }});
  if (!read) return read;
  if (found != kind) {
    return trouble("{} is a map of {}, {} one of {}; make both with the same --hash",
                   arguments.target, word(kind), arguments.input, word(found));
  }
  if (!paths) return trouble("{}: a minified map has no paths; give the full one", arguments.input);
  return {};
}

// ---- publishing

bool lies_in(const std::filesystem::path& inner, const std::filesystem::path& outer) {
  const auto [end, rest] = std::mismatch(outer.begin(), outer.end(), inner.begin(), inner.end());
  return end == outer.end();
}

/// `OUT/build` is where the files themselves are looked for: the directory, or a link to it.
Outcome<> link_content(const std::filesystem::path& directory, const std::filesystem::path& out) {
  const auto link = out / "build";
  std::error_code error;
  if (std::filesystem::weakly_canonical(link, error) == directory) return {};
  if (std::filesystem::is_symlink(link, error)) std::filesystem::remove(link, error);
  std::filesystem::create_directory_symlink(directory, link, error);
  if (error)
    return trouble("{}: {}; it is to lead to {}", link.string(), error.message(),
                   directory.string());
  return {};
}

}  // namespace

std::string json_name(std::string_view bytes) {
  std::string out = "\"";
  for (std::size_t i = 0; i < bytes.size();) {
    const auto c = static_cast<unsigned char>(bytes[i]);
    if (c < 0x20 || c == 0x7f || c == '"' || c == '\\') {
      out += c == '"' ? "\\\"" : c == '\\' ? "\\\\" : fmt::format("\\u{:04x}", c);
      ++i;
      continue;
    }
    std::size_t length = c < 0x80                ? 1
                         : c >= 0xf0 && c < 0xf5 ? 4
                         : c >= 0xe0 && c < 0xf0 ? 3
                         : c >= 0xc2 && c < 0xe0 ? 2
                                                 : 0;
    bool good = length != 0 && i + length <= bytes.size();
    for (std::size_t k = 1; good && k < length; ++k) {
      good = (static_cast<unsigned char>(bytes[i + k]) & 0xc0) == 0x80;
    }
    if (good && length > 2) {  // no overlong form, no surrogate, nothing past the last character
      const auto second = static_cast<unsigned char>(bytes[i + 1]);
      good = !(c == 0xe0 && second < 0xa0) && !(c == 0xed && second >= 0xa0) &&
             !(c == 0xf0 && second < 0x90) && !(c == 0xf4 && second >= 0x90);
    }
    if (!good) {
      out += fmt::format("\\udc{:02x}", c);
      ++i;
      continue;
    }
    out.append(bytes.substr(i, length));
    i += length;
  }
  return out + '"';
}

int fsmap_dump(Console& console, const FsmapArguments& arguments) {
  const auto kind = kind_of(arguments);
  if (!kind) return console.fail(kind.error());
  const auto tree = walk_directory(console, arguments.directory, *kind, arguments.no_cache);
  if (!tree) return console.fail(tree.error());
  const auto written = write_to(
      console, arguments.output,
      [&](std::ostream& out, const std::string& name) { return write_full(*tree, out, name); });
  return written ? kEqual : console.fail(written.error());
}

int fsmap_minify(Console& console, const FsmapArguments& arguments) {
  const auto map = minified(console, arguments);
  return map ? print(console, store::minified_text(*map)) : console.fail(map.error());
}

int fsmap_summary(Console& console, const FsmapArguments& arguments) {
  const auto map = minified(console, arguments);
  if (!map) return console.fail(map.error());
  return print(console, store::summary_text(map->kind, store::summary_of(*map)));
}

int fsmap_diff(Console& console, const FsmapArguments& arguments) {
  if (arguments.target == "-" && arguments.input == "-") {
    return console.fail({"both maps cannot come from standard input", kTrouble});
  }
  const auto target = minified_of_file(arguments.target, store::FsmapForm::minified_or_full);
  if (!target) return console.fail(target.error());
  store::FsmapDiff diff(*target);
  std::string invalid;  // paths, each ended by a NUL
  const auto read = take_local(console, arguments, target->kind,
                               [&](std::string_view path, const Digest& digest) {
                                 if (!diff.take(digest)) invalid.append(path).push_back('\0');
                               });
  if (!read) return console.fail(read.error());
  DiffPrinter printer(console, arguments.json);
  for (const std::uint64_t index : diff.missing()) printer.missing(index);
  for (std::size_t at = 0; at < invalid.size();) {
    const std::string_view path(invalid.c_str() + at);
    printer.invalid(path);
    at += path.size() + 1;
  }
  return printer.end();
}

int fsmap_publish(Console& console, const FsmapArguments& arguments) {
  const auto kind = kind_of(arguments);
  if (!kind) return console.fail(kind.error());
  std::error_code error;
  const auto directory = std::filesystem::canonical(arguments.directory, error);
  if (error)
    return console.fail({fmt::format("{}: {}", arguments.directory, error.message()), kTrouble});
  const auto out = std::filesystem::weakly_canonical(arguments.output, error);
  if (lies_in(out, directory)) {
    return console.fail(
        {fmt::format("{}: lies in the directory that is published; name another place",
                     arguments.output),
         kTrouble});
  }
  std::filesystem::create_directories(out, error);
  if (error)
    return console.fail({fmt::format("{}: {}", arguments.output, error.message()), kTrouble});
  const auto tree = walk_directory(console, directory.string(), *kind, arguments.no_cache);
  if (!tree) return console.fail(tree.error());
  const auto map = minified_of(*tree);
  // The summary last: who sees it sees the maps that it stands for.
  Outcome<> done = link_content(directory, out);
  if (done) {
    done = replace((out / "build.fsmap").string(), [&](std::ostream& to, const std::string& name) {
      return write_full(*tree, to, name);
    });
  }
  if (done) done = replace((out / "build.min.fsmap").string(), store::minified_text(map));
  if (done)
    done = replace((out / "summary.md5").string(), store::summary_text(*kind, tree->summary()));
  return done ? kEqual : console.fail(done.error());
}

}  // namespace ebb::fusefs
