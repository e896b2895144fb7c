// What the messages promise: they come out as they went in, whatever is cut or changed on the way
// never does harm, and a newer peer's longer ones are understood.
#include "proto/messages.h"

#include <set>

#include <gtest/gtest.h>

#include "tests/support/random_messages.h"

namespace ebb::proto {
namespace {

constexpr std::size_t kKinds = std::variant_size_v<AnyBody>;

Errc code_of(const Result<Body>& result) {
  if (result) return Errc::ok;
  EXPECT_EQ(&result.error().code.category(), &category());
  return static_cast<Errc>(result.error().code.value());
}

/// What the decoder says to a message that the encoder refuses to make.
template <class M>
void expect_refused(const M& message) {
  auto bytes = try_encode(message);
  ASSERT_FALSE(bytes.has_value());
  EXPECT_EQ(bytes.error().code, make_error_code(Errc::bad_request));
}

TEST(Messages, ComeOutAsTheyWentIn) {
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    for (std::size_t kind = 0; kind < kKinds; ++kind) {
      RandomBits random(seed);
      const Body body = random_body(random, kind);
      const auto again = decode(type_of(body), encode(body));
      ASSERT_TRUE(again) << "seed " << seed << " kind " << kind << ": " << again.error().message();
      ASSERT_EQ(*again, body) << "seed " << seed << " kind " << kind;
    }
  }
}

std::string long_path(std::size_t size) {
  std::string path(size, 'p');
  for (std::size_t at = 200; at + 1 < size; at += 200) path[at] = '/';
  return path;
}

/// Whether what an older version has of the message ends so many bytes before its end.
bool ends_for_an_older_peer(const Body& body, std::size_t left) {
  const auto* hello = std::get_if<VersionHandshake>(&body);
  return hello != nullptr && left == 2 + hello->subtree.size();
}

TEST(Messages, OfAnOlderPeerEndWhereItsVersionDid) {
  VersionHandshake hello{.client = ClientId(5)};
  Bytes bytes = encode(hello);
  hello.subtree = "a/b";
  Bytes longer = encode(hello);
  EXPECT_EQ(std::get<VersionHandshake>(*decode(Type::version_handshake, longer)), hello);
  bytes.resize(bytes.size() - 2);
  hello.subtree.clear();
  EXPECT_EQ(std::get<VersionHandshake>(*decode(Type::version_handshake, bytes)), hello);
}

TEST(Messages, CutAtAnyByteAreRefused) {
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    for (std::size_t kind = 0; kind < kKinds; ++kind) {
      RandomBits random(seed);
      const Body body = random_body(random, kind);
      const Bytes bytes = encode(body);
      const std::size_t step = bytes.size() < 3000 ? 1 : 13;
      for (std::size_t cut = 0; cut < bytes.size(); cut += step) {
        if (ends_for_an_older_peer(body, bytes.size() - cut)) continue;
        // A buffer of its own, so that a read past the cut is seen by the sanitizer.
        const Bytes part(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(cut));
        ASSERT_EQ(code_of(decode(type_of(body), part)), Errc::bad_packet)
            << "seed " << seed << " kind " << kind << " cut " << cut;
      }
    }
  }
}

TEST(Messages, ANewerPeersFieldsAtTheEndAreSkipped) {
  RandomBits random(1);
  for (std::size_t kind = 0; kind < kKinds; ++kind) {
    const Body body = random_body(random, kind);
    Bytes bytes = encode(body);
    const Bytes more = random_bytes(random, 100);
    bytes.insert(bytes.end(), more.begin(), more.end());
    const auto again = decode(type_of(body), bytes);
    ASSERT_TRUE(again) << kind;
    EXPECT_EQ(*again, body);
  }
}

TEST(Messages, ANewerPeersFieldsAtTheEndOfAPartAreSkipped) {
  StatResponse message{Seq(5), {}};
  message.entry.target = "t";
  Bytes bytes = encode(message);
  // Behind the sequence stands the entry's size.
  Le<std::uint32_t> size = static_cast<std::uint32_t>(bytes.size() - 12 + 7);
  std::memcpy(bytes.data() + 8, &size, sizeof size);
  bytes.insert(bytes.end(), 7, std::byte{0xee});
  const auto again = decode(Type::stat_response, bytes);
  ASSERT_TRUE(again);
  EXPECT_EQ(*again, Body(message));
}

TEST(Messages, WithChangedBytesNeverCrash) {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    for (std::size_t kind = 0; kind < kKinds; ++kind) {
      RandomBits random(seed);
      const Body body = random_body(random, kind);
      Bytes bytes = encode(body);
      if (bytes.empty()) continue;
      for (std::uint64_t n = 1 + random() % 3; n > 0; --n) {
        bytes[random() % bytes.size()] = static_cast<std::byte>(random());
      }
      const auto again = decode(type_of(body), bytes);
      // What is taken can be sent on: the encoder's bounds are the decoder's.
      if (again) {
        ASSERT_TRUE(try_encode(*again)) << "seed " << seed << " kind " << kind;
      }
    }
  }
}

TEST(Messages, ACountThatCannotBeTrueAllocatesNothing) {
  Bytes bytes = encode(ListPage{});
  std::memset(bytes.data() + bytes.size() - 4, 0xff, 4);
  EXPECT_EQ(code_of(decode(Type::list_page, bytes)), Errc::bad_packet);
  bytes = encode(Pull{});
  std::memset(bytes.data() + 16, 0xff, 4);
  EXPECT_EQ(code_of(decode(Type::pull, bytes)), Errc::bad_packet);
}

TEST(Messages, OfUnknownTypesAreToldFromBadOnes) {
  std::set<int> types;
  for (std::size_t kind = 0; kind < kKinds; ++kind) {
    RandomBits random(1);
    types.insert(static_cast<int>(type_of(random_body(random, kind))));
  }
  EXPECT_EQ(types.size(), kKinds) << "two messages of one number";
  for (int type = 0; type < 256; ++type) {
    const bool ours = types.count(type) != 0;
    // Data in another form, which no core ever sees.
    const bool packed = static_cast<Type>(type) == Type::file_sync_packed;
    EXPECT_EQ(known(static_cast<Type>(type)), ours || packed);
    EXPECT_EQ(code_of(decode(static_cast<Type>(type), {})) == Errc::unknown_type, !ours) << type;
  }
}

TEST(Messages, NamesThatCouldLeaveTheirFolderAreRefused) {
  const std::string bad[] = {
      "", ".", "..", "a/b", "/", "a/", std::string("a\0b", 3), std::string(256, 'n')};
  for (const std::string& text : bad) {
    EXPECT_FALSE(valid_name(text));
    Mutate m;
    m.place = {kRootEntry, text};
    expect_refused(m);
    expect_refused(ListPage{.entries = {{text, {}}}});
  }
  for (const std::string& text :
       {std::string("..."), std::string(255, 'n'), std::string("\xff\n \\")}) {
    EXPECT_TRUE(valid_name(text));
  }
  expect_refused(Change{.place = {EntryId(), "name without a folder"}});
}

TEST(Messages, ABadNameFromAPeerIsRefused) {
  Bytes bytes = encode(ListPage{.entries = {{"ab", {}}}});
  const std::string_view text = as_text(bytes);
  const std::size_t at = text.find("ab");
  ASSERT_NE(at, text.npos);
  for (const std::string& bad : {std::string(".."), std::string("a/"), std::string("a\0", 2)}) {
    std::memcpy(bytes.data() + at, bad.data(), 2);
    EXPECT_EQ(code_of(decode(Type::list_page, bytes)), Errc::bad_packet);
  }
}

TEST(Messages, RangesAreSortedDisjointAndWithinTheFile) {
  auto init = [](std::vector<Range> ranges) {
    FileSyncInit m;
    m.size = 100;
    m.ranges = std::move(ranges);
    return m;
  };
  EXPECT_TRUE(try_encode(init({{0, 100}})));
  EXPECT_TRUE(try_encode(init({{0, 10}, {10, 20}, {50, 51}})));
  expect_refused(init({{0, 101}}));
  expect_refused(init({{5, 5}}));
  expect_refused(init({{6, 5}}));
  expect_refused(init({{0, 10}, {9, 20}}));
  expect_refused(init({{10, 20}, {0, 5}}));
  expect_refused(FileSyncInit{.size = 100, .holes = {{50, 101}}});
  expect_refused(FileSyncInit{.size = 100, .holes = {{50, 60}, {40, 45}}});
  expect_refused(Pull{.ranges = std::vector<Range>(kRangesMax + 1, Range{0, 1})});

  Bytes bytes = encode(Pull{.ranges = {{0, 10}, {20, 30}}});
  bytes[20] = std::byte{15};  // the first range begins behind its end
  EXPECT_EQ(code_of(decode(Type::pull, bytes)), Errc::bad_packet);
}

TEST(Messages, FieldsOutOfBoundsAreRefused) {
  expect_refused(FileSyncInit{.size = kSizeMax + 1});
  expect_refused(FileSyncInit{.attribute_bits = 16});
  expect_refused(FileSyncData{kSizeMax, Bytes(1)});
  expect_refused(Mutate{.kind = MutationKind{0}});
  expect_refused(Mutate{.kind = MutationKind{8}});
  expect_refused(Mutate{.attributes = {.mode = 010000}});
  expect_refused(Mutate{.attributes = {.xattrs = Bytes(3)}});
  expect_refused(Mutate{.target = std::string(kTargetMax + 1, 't')});
  expect_refused(Mutate{.target = std::string(1, '\0')});
  expect_refused(Change{.kind = ChangeKind{4}});
  expect_refused(StatResponse{.entry = {.kind = EntryKind{4}}});
  expect_refused(VersionHandshake{.version_min = 2, .version_max = 1});
  expect_refused(VersionHandshake{.packet_max = 4095});
  expect_refused(VersionHandshake{.client = ClientId(kClientIdEnd)});
  expect_refused(VersionHandshake{.client_name = "my desk"});
  expect_refused(VersionHandshake{.proof = Bytes(kProofMax + 1)});
  expect_refused(VersionHandshake{.subtree = "a/../b"});
  expect_refused(VersionHandshake{.subtree = long_path(kSubtreeMax + 1)});
  expect_refused(VersionHandshakeResponse{.packet_max = 0});
}

TEST(Messages, AHandshakeBeginsWithItsMagic) {
  Bytes bytes = encode(VersionHandshake{});
  EXPECT_EQ(as_text(bytes).substr(0, 8), std::string_view("EbbFS\r\n\0", 8));
  bytes[0] = std::byte{'e'};
  EXPECT_EQ(code_of(decode(Type::version_handshake, bytes)), Errc::bad_packet);
}

TEST(Messages, TheLongestHandshakesFitTheFirstPacket) {
  const VersionHandshake hello{.client_name = std::string(kClientNameMax, 'n'),
                               .proof = Bytes(kProofMax),
                               .subtree = long_path(kSubtreeMax)};
  EXPECT_LE(encode(hello).size() + sizeof(PacketHeader), kPacketMaxAtFirst);
  const VersionHandshakeResponse answer{.sentence = std::string(kSentenceMax, 's')};
  EXPECT_LE(encode(answer).size() + sizeof(PacketHeader), kPacketMaxAtFirst);
}

TEST(Messages, LongSentencesAreCutBetweenCharacters) {
  std::string text(kSentenceMax - 1, 's');
  text += "\xc3\xbc\xc3\xbc";  // the first one stands across the limit
  const auto again = decode(Type::error, encode(ErrorMessage{Errc::io, true, text}));
  ASSERT_TRUE(again);
  EXPECT_EQ(std::get<ErrorMessage>(*again).sentence, std::string(kSentenceMax - 1, 's'));
}

TEST(Messages, EncodedSizeIsWhatAnEntryAddsToAPage) {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    RandomBits random(seed);
    ListPage page;
    const std::size_t before = encode(page).size();
    page.entries.push_back({random_name(random), random_entry(random)});
    EXPECT_EQ(encode(page).size() - before, encoded_size(page.entries[0])) << "seed " << seed;
  }
}

/// The format itself: if one of these changes, old and new peers no longer understand each other.
TEST(Messages, BytesOnTheWireArePinned) {
  struct Case {
    Body body;
    std::string_view hex;
  };
  const Case cases[] = {
      {Ping{0x0102030405060708}, "0807060504030201"},
      {ErrorMessage{Errc::moved_on, true, "no"},
       "130001"
       "0200"
       "6e6f"},
      {FileSyncData{16, Bytes(2, std::byte{0xab})},
       "1000000000000000"
       "02000000"
       "abab"},
      {Pull{EntryId(1), Version(2), {{3, 4}}, 5, true},
       "0100000000000000"
       "0200000000000000"
       "01000000"
       "0300000000000000"
       "0400000000000000"
       "05"
       "01"},
      {Mutate{.operation = {OpId(1), OpId(2)},
              .kind = MutationKind::rename,
              .entry = EntryId(3),
              .from = {EntryId(4), "a"},
              .attribute_bits = kMtime,
              .attributes = {.mode = 0644, .uid = 1, .gid = 2, .mtime = -1}},
       "0100000000000000"
       "0200000000000000"
       "04"
       "0300000000000000"
       "0000000000000000"
       "0400000000000000"
       "0100"
       "61"
       "0000000000000000"
       "0000"
       "0000000000000000"
       "0000000000000000"
       "02"
       "18000000"
       "a4010000"
       "01000000"
       "02000000"
       "ffffffffffffffff"
       "00000000"
       "0000"},
      {StatResponse{Seq(9),
                    {.id = EntryId(1), .kind = EntryKind::symlink, .size = 1, .target = "t"}},
       "0900000000000000"
       "44000000"
       "0100000000000000"
       "03"
       "0100000000000000"
       "01000000"
       "0000000000000000"
       "0000000000000000"
       "18000000"
       "00000000"
       "00000000"
       "00000000"
       "0000000000000000"
       "00000000"
       "0100"
       "74"},
  };
  for (const Case& c : cases) {
    std::string hex;
    for (std::byte b : encode(c.body)) {
      static constexpr char kDigits[] = "0123456789abcdef";
      hex += kDigits[std::to_integer<int>(b) >> 4];
      hex += kDigits[std::to_integer<int>(b) & 15];
    }
    EXPECT_EQ(hex, c.hex);
  }
}

}  // namespace
}  // namespace ebb::proto
