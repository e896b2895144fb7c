// What the forms of a map promise, without a disk.
#include "store/fsmap.h"

#include <algorithm>
#include <sstream>

#include <gtest/gtest.h>

namespace ebb::store {
namespace {

Digest digest_of(std::string_view text, DigestKind kind = DigestKind::md5) {
  DigestStream stream(kind);
  stream.update(as_bytes(text));
  return stream.finish();
}

Result<Minified> read(const std::string& text, FsmapForm form) {
  Minified map;
  std::istringstream in(text);
  auto ok = read_fsmap(in, form,
                       {[&](DigestKind kind) { map.kind = kind; },
                        [&](std::string_view, const Digest& d) { map.digests.push_back(d); }});
  if (!ok) return pass(ok.error());
  return map;
}

TEST(Digests, are_the_known_ones_and_a_stream_begins_anew) {
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(to_hex(digest_of("")), "d41d8cd98f00b204e9800998ecf8427e");
    EXPECT_EQ(to_hex(digest_of("abc")), "900150983cd24fb0d6963f7d28e17f72");
    EXPECT_EQ(to_hex(digest_of("", DigestKind::xxh3)), "99aa06d3014798d86001c324468d497f");
  }
  DigestStream stream(DigestKind::xxh3);
  stream.update(as_bytes("before"));
  (void)stream.finish();
  EXPECT_EQ(stream.finish(), digest_of("", DigestKind::xxh3));
}

TEST(Digests, have_32_lowercase_digits) {
  const std::string hex = "0123456789abcdef0123456789abcdef";
  EXPECT_EQ(to_hex(*parse_hex(hex)), hex);
  for (const std::string& wrong :
       {hex.substr(1), hex + "0", "G" + hex.substr(1), "A" + hex.substr(1), std::string()}) {
    EXPECT_FALSE(parse_hex(wrong)) << wrong;
  }
}

TEST(Forms, what_is_written_is_read) {
  for (const DigestKind kind : {DigestKind::md5, DigestKind::xxh3}) {
    Minified map{kind, {}};
    std::string full(fsmap_mark(kind));
    if (!full.empty()) full += '\n';
    for (const std::string path : {"a/b", "a\\b", "\xff", " "}) {
      map.digests.push_back(digest_of(path, kind));
      append_line(full, path, map.digests.back());
    }
    for (const FsmapForm form : {FsmapForm::full_or_minified, FsmapForm::minified_or_full}) {
      EXPECT_EQ(*read(minified_text(map), form), map);
      EXPECT_EQ(*read(full, form), map);
    }
    EXPECT_EQ(*read(minified_text(map) + "\r\n", FsmapForm::minified_or_full), map);
    const auto summary = parse_summary(summary_text(kind, summary_of(map)) + "\n");
    ASSERT_TRUE(summary);
    EXPECT_EQ(*summary, std::pair(kind, digest_of(minified_text(map), kind)));
  }
}

TEST(Forms, a_map_with_any_byte_gone_is_no_crash) {
  std::string text = "xxh3:\n";
  for (const char* path : {"one", "two"}) append_line(text, path, digest_of(path));
  for (std::size_t at = 0; at < text.size(); ++at) {
    std::string damaged = text;
    damaged.erase(at, 1);
    (void)read(damaged, FsmapForm::full_or_minified);
    (void)read(damaged.substr(0, at), FsmapForm::minified_or_full);
  }
}

TEST(Difference, each_file_answers_for_one) {
  const Digest a = digest_of("a");
  const Digest b = digest_of("b");
  const Minified target{DigestKind::md5, {a, b, a, a}};
  FsmapDiff diff(target);
  EXPECT_TRUE(diff.take(a));
  EXPECT_TRUE(diff.take(a));
  EXPECT_FALSE(diff.take(digest_of("c")));
  EXPECT_EQ(diff.missing(), (std::vector<std::uint64_t>{1, 3}));
  EXPECT_TRUE(diff.take(a));
  EXPECT_FALSE(diff.take(a));
  EXPECT_EQ(diff.missing(), (std::vector<std::uint64_t>{1}));
}

TEST(Order, a_folder_stands_where_its_name_does) {
  std::vector<std::string> paths{"a.txt", "a/x", "a", "a-b", "a/x/y", "b", "\xff", "a/b"};
  std::sort(paths.begin(), paths.end(), fsmap_before);
  EXPECT_EQ(paths,
            (std::vector<std::string>{"a", "a/b", "a/x", "a/x/y", "a-b", "a.txt", "b", "\xff"}));
}

}  // namespace
}  // namespace ebb::store
