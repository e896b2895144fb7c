#include "store/fsmap.h"

#include <algorithm>
#include <cerrno>
#include <numeric>

#include <fmt/format.h>

namespace ebb::store {
namespace {

constexpr std::size_t kHexSize = 2 * sizeof(Digest);

/// What a reader has understood so far.
class Lines {
 public:
  explicit Lines(const FsmapReader& reader) : reader_(reader) {}

  Result<> full(std::string_view line) {
    ++number_;
    if (number_ == 1 && line == kXxh3Mark) return begin(DigestKind::xxh3);
    if (!begun_) (void)begin(DigestKind::md5);
    const auto digest = parse_hex(line.substr(0, kHexSize));
    if (!digest || line.size() == kHexSize) {
      return fail_errno(EINVAL, fmt::format("line {} is none of a map", number_));
    }
    reader_.file(line.substr(kHexSize), *digest);
    return {};
  }

  Result<> minified(std::string_view text) {
    const bool marked = text.starts_with(kXxh3Mark);
    (void)begin(marked ? DigestKind::xxh3 : DigestKind::md5);
    if (marked) text.remove_prefix(kXxh3Mark.size());
    for (; !text.empty(); text.remove_prefix(kHexSize)) {
      const auto digest = parse_hex(text.substr(0, kHexSize));
      if (!digest) return fail_errno(EINVAL, "not a minified map");
      reader_.file({}, *digest);
    }
    return {};
  }

  Result<> end() { return begun_ ? Result<>() : begin(DigestKind::md5); }

 private:
  Result<> begin(DigestKind kind) {
    begun_ = true;
    reader_.kind(kind);
    return {};
  }

  const FsmapReader& reader_;
  std::uint64_t number_ = 0;
  bool begun_ = false;
};

bool looks_minified(std::string_view text) {
  if (text.starts_with(kXxh3Mark)) text.remove_prefix(kXxh3Mark.size());
  return text.size() % kHexSize == 0 && text.find_first_not_of("0123456789abcdef") == text.npos;
}

std::string_view without_return(std::string_view line) {
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

}  // namespace

std::string_view fsmap_mark(DigestKind kind) {
  return kind == DigestKind::md5 ? std::string_view() : kXxh3Mark;
}

bool fsmap_before(std::string_view a, std::string_view b) {
  const auto rank = [](char c) { return c == '/' ? 0 : static_cast<unsigned char>(c); };
  return std::lexicographical_compare(a.begin(), a.end(), b.begin(), b.end(),
                                      [&](char x, char y) { return rank(x) < rank(y); });
}

bool fsmap_path_fits(std::string_view path) {
  if (path == ".ebbd" || path.starts_with(".ebbd/")) return false;
  if (path.find('\0') != path.npos || path.find('\n') != path.npos) return false;
  for (;;) {
    const std::size_t end = std::min(path.find('/'), path.size());
    const auto name = path.substr(0, end);
    if (name.empty() || name == "." || name == ".." || name.size() > 255) return false;
    if (end == path.size()) return true;
    path.remove_prefix(end + 1);
  }
}

void append_line(std::string& text, std::string_view path, const Digest& digest) {
  append_hex(text, digest);
  text.append(path).push_back('\n');
}

std::string minified_text(const Minified& map) {
  std::string text(fsmap_mark(map.kind));
  text.reserve(text.size() + map.digests.size() * kHexSize);
  for (const Digest& digest : map.digests) append_hex(text, digest);
  return text;
}

// ---- the summary

Summary::Summary(DigestKind kind) : stream_(kind), waiting_(fsmap_mark(kind)) {}

void Summary::add(const Digest& digest) {
  append_hex(waiting_, digest);
  if (waiting_.size() >= 4096) flush();
}

void Summary::flush() {
  stream_.update(as_bytes(waiting_));
  waiting_.clear();
}

Digest Summary::finish() {
  flush();
  return stream_.finish();
}

Digest summary_of(const Minified& map) {
  Summary summary(map.kind);
  for (const Digest& digest : map.digests) summary.add(digest);
  return summary.finish();
}

std::string summary_text(DigestKind kind, const Digest& summary) {
  return std::string(fsmap_mark(kind)) + to_hex(summary);
}

Result<std::pair<DigestKind, Digest>> parse_summary(std::string_view text) {
  if (text.ends_with('\n')) text.remove_suffix(1);
  text = without_return(text);
  const bool marked = text.starts_with(kXxh3Mark);
  if (marked) text.remove_prefix(kXxh3Mark.size());
  const auto digest = parse_hex(text);
  if (!digest) return fail_errno(EINVAL, "not a summary");
  return std::pair(marked ? DigestKind::xxh3 : DigestKind::md5, *digest);
}

// ---- reading

Result<> read_fsmap(std::istream& in, FsmapForm form, const FsmapReader& reader) {
  Lines lines(reader);
  std::string line;
  for (bool first = true; std::getline(in, line); first = false) {
    const bool newline = !in.eof();
    const bool last = !newline || in.peek() == std::istream::traits_type::eof();
    const auto text = without_return(line);
    if (first && last && looks_minified(text)) {
      if (!newline || form == FsmapForm::minified_or_full) return lines.minified(text);
    }
    if (line.size() > kFsmapLineMax) return fail_errno(EINVAL, "a line is longer than any path");
    if (auto ok = lines.full(text); !ok) return ok;
  }
  if (in.bad()) return fail_errno(EIO, "cannot be read");
  return lines.end();
}

// ---- the difference

FsmapDiff::FsmapDiff(const Minified& target)
    : target_(target.digests), sorted_(target.digests.size()), taken_(target.digests.size()) {
  std::iota(sorted_.begin(), sorted_.end(), 0u);
  std::sort(sorted_.begin(), sorted_.end(), [this](std::uint32_t a, std::uint32_t b) {
    return target_[a] != target_[b] ? target_[a] < target_[b] : a < b;
  });
}

bool FsmapDiff::take(const Digest& local) {
  auto at = std::lower_bound(sorted_.begin(), sorted_.end(), local,
                             [this](std::uint32_t i, const Digest& d) { return target_[i] < d; });
  while (at != sorted_.end() && target_[*at] == local && taken_[*at]) ++at;
  if (at == sorted_.end() || target_[*at] != local) return false;
  taken_[*at] = true;
  return true;
}

std::vector<std::uint64_t> FsmapDiff::missing() const {
  std::vector<std::uint64_t> out;
  for (std::size_t i = 0; i < taken_.size(); ++i) {
    if (!taken_[i]) out.push_back(i);
  }
  return out;
}

}  // namespace ebb::store
