// Fsmap: the canonical list of a directory's files, in its three forms, and the difference of two.
// Pure: text in, values out.  The walk of a directory is fsmap_walk.h.
//
// The order of the files is that of a depth-first walk that takes each directory's names, files and
// folders alike, sorted by bytes; the index of a file counts from 0.  The digest is of the path,
// from the top with '/' between names, and then the content, nothing between.
//
//     full      a line a file: 32 hex digits, the path, LF
//     minified  the 32 digits of all files, one after the other, and nothing else
//     summary   the digest of the minified form's bytes, 32 hex digits
//
// These are the bytes for MD5.  For XXH3-128 each form begins with the mark "xxh3:" (in the full
// form a line of its own), so that the one is never taken for the other.
#pragma once

#include <cstdint>
#include <functional>
#include <istream>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "base/result.h"

namespace ebb::store {

inline constexpr std::string_view kXxh3Mark = "xxh3:";
/// A line of the full form, a path that no system would take included.
inline constexpr std::size_t kFsmapLineMax = 1u << 20;

/// Empty for MD5.
std::string_view fsmap_mark(DigestKind kind);

/// Whether one path stands before the other in a map: by bytes, but '/' before every other byte.
bool fsmap_before(std::string_view a, std::string_view b);

/// Whether a map may list a file there: names with slashes between them, none of them "." or ".."
/// or longer than a name may be, no NUL, no newline, not in `.ebbd` at the top.
bool fsmap_path_fits(std::string_view path);

/// One line of the full form.
void append_line(std::string& text, std::string_view path, const Digest& digest);

/// The minified form as values.
struct Minified {
  DigestKind kind = DigestKind::md5;
  std::vector<Digest> digests{};
  friend bool operator==(const Minified&, const Minified&) = default;
};
std::string minified_text(const Minified& map);

/// The digest that the summary shows, taken as the digests come.
class Summary {
 public:
  explicit Summary(DigestKind kind);
  void add(const Digest& digest);
  Digest finish();

 private:
  void flush();
  DigestStream stream_;
  std::string waiting_;
};
Digest summary_of(const Minified& map);
std::string summary_text(DigestKind kind, const Digest& summary);
/// EINVAL when it is none.
Result<std::pair<DigestKind, Digest>> parse_summary(std::string_view text);

/// A map that is read: its kind is known before the first line is handed over.
struct FsmapReader {
  std::function<void(DigestKind)> kind;
  /// In the file's order.  A minified map has no paths: they are empty.
  std::function<void(std::string_view path, const Digest&)> file;
};
enum class FsmapForm : std::uint8_t {
  full_or_minified,  // a minified one is known by having no newline
  minified_or_full,  // a newline at the end of a minified one is forgiven
};
/// Line by line, so that memory does not grow with the map.  EINVAL with the number of the line;
/// what was handed over before it means nothing.
Result<> read_fsmap(std::istream& in, FsmapForm form, const FsmapReader& reader);

/// What a directory lacks of a target, and what it has that the target has not.  Each file of the
/// one answers for one of the other with an equal digest, in the order of both.
class FsmapDiff {
 public:
  explicit FsmapDiff(const Minified& target);  // which outlives this
  /// The local files, in the order of the walk.  False: the target has no such file.
  bool take(const Digest& local);
  /// Indices of the target that no local file answered for.
  std::vector<std::uint64_t> missing() const;

 private:
  const std::vector<Digest>& target_;
  std::vector<std::uint32_t> sorted_;  // indices by digest, then by number
  std::vector<bool> taken_;
};

}  // namespace ebb::store
