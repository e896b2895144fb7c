// What people may type as an address, and what they are told when it is none.
#include "proto/asio/address.h"

#include <cerrno>

#include <gtest/gtest.h>

namespace ebb::proto {
namespace {

Address tcp(const std::string& host, std::uint16_t port = kDefaultPort,
            const std::string& subtree = {}) {
  Address a;
  a.host = host;
  a.port = port;
  a.subtree = subtree;
  return a;
}

Address unix_at(const std::string& path) {
  Address a;
  a.kind = Address::Kind::unix_socket;
  a.path = path;
  return a;
}

TEST(Address, SourcesAreTaken) {
  const std::pair<std::string, Address> cases[] = {
      {"ebb://host/", tcp("host")},
      {"ebb://host", tcp("host")},
      {"ebb://host:1/", tcp("host", 1)},
      {"ebb://host:65535/a/b/", tcp("host", 65535, "a/b")},
      {"ebb://10.0.0.1//a", tcp("10.0.0.1", kDefaultPort, "a")},
      {"ebb://[::1]/x", tcp("::1", kDefaultPort, "x")},
      {"ebb://[fe80::1]:9/", tcp("fe80::1", 9)},
      {"ebb://host/with:colon and space", tcp("host", kDefaultPort, "with:colon and space")},
      {"unix:/run/ebbd.sock", unix_at("/run/ebbd.sock")},
      {"unix:relative", unix_at("relative")},
  };
  for (const auto& [text, expected] : cases) {
    const auto got = parse_source(text);
    ASSERT_TRUE(got) << text << ": " << got.error().message();
    EXPECT_EQ(*got, expected) << text;
    const auto again = parse_source(to_text(*got));
    ASSERT_TRUE(again) << to_text(*got);
    EXPECT_EQ(*again, *got);
  }
}

TEST(Address, BadSourcesAreRefusedWithASentence) {
  const std::string cases[] = {
      "",
      "host",
      "host:11000",
      "http://host/",
      "ebb:/host",
      "ebb://",
      "ebb:///path",
      "ebb://host:/",
      "ebb://host:0/",
      "ebb://host:65536/",
      "ebb://h:1x",
      "ebb://h:-1/",
      "ebb://::1/",
      "ebb://[::1",
      "ebb://[::1]9/",
      "ebb://[x]/",
      "ebb://a b/",
      "ebb://user@host/",
      "ebb://host:1:2/",
      "unix:",
      "ebb://[]/",
      "ebb://h?x/y",
      std::string("ebb://a\0b/", 10),
      "ebb://" + std::string(300, 'h'),
  };
  for (const std::string& text : cases) {
    const auto got = parse_source(text);
    ASSERT_FALSE(got) << text;
    EXPECT_TRUE(is_errno(got.error(), EINVAL)) << text;
    EXPECT_FALSE(got.error().detail.empty());
  }
  EXPECT_TRUE(is_errno(parse_source("unix:/" + std::string(107, 'p')).error(), ENAMETOOLONG));
  EXPECT_TRUE(parse_source("unix:/" + std::string(106, 'p')));
}

TEST(Address, AnInvitationIsTakenAndNeverShown) {
  const auto got = parse_source("ebb://host:11000/#print.secret");
  ASSERT_TRUE(got);
  EXPECT_EQ(got->invitation, "print.secret");
  EXPECT_EQ(to_text(*got), "ebb://host:11000/");
  const auto bad = parse_source("ebb://host:x/#secret");
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error().message().find("secret"), std::string::npos);
  EXPECT_FALSE(parse_source("ebb://host/#"));
}

TEST(Address, ListenAddressesAreTaken) {
  const std::pair<std::string, Address> cases[] = {
      {"127.0.0.1:0", tcp("127.0.0.1", 0)},
      {"host", tcp("host")},
      {":11000", tcp("")},
      {"[::]:5", tcp("::", 5)},
      {"[::1]", tcp("::1")},
      {"localhost:80", tcp("localhost", 80)},
      {"unix:/a b", unix_at("/a b")},
  };
  for (const auto& [text, expected] : cases) {
    const auto got = parse_listen(text);
    ASSERT_TRUE(got) << text;
    EXPECT_EQ(*got, expected) << text;
  }
  for (const std::string text : {"", "a:b", "::1", "[::1", "a/b:1", "unix:", "host:99999"}) {
    EXPECT_FALSE(parse_listen(text)) << text;
  }
}

TEST(Address, LoopbackIsTold) {
  for (const std::string host : {"localhost", "127.0.0.1", "127.9.9.9", "::1"}) {
    EXPECT_TRUE(is_loopback(tcp(host))) << host;
  }
  for (const std::string host : {"", "0.0.0.0", "::", "128.0.0.1", "localhost.example",
                                 "127.0.0.1.example", "::ffff:10.0.0.1", "fe80::1"}) {
    EXPECT_FALSE(is_loopback(tcp(host))) << host;
  }
  EXPECT_TRUE(is_loopback(unix_at("/x")));
}

}  // namespace
}  // namespace ebb::proto
