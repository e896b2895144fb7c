// The promises of the store as its callers see them.
#include "store/store.h"

#include <atomic>
#include <cerrno>
#include <set>
#include <thread>

#include <gtest/gtest.h>

#include "store/errors.h"
#include "tests/support/fake_file_io.h"

namespace ebb::store {
namespace {

using test::FakeFileIo;

std::unique_ptr<Store> open_store(FileIo& io, StoreOptions options = {}) {
  auto store = Store::open(io, "data", options);
  EXPECT_TRUE(store) << (store ? "" : store.error().message());
  return store ? std::move(*store) : nullptr;
}

NodeId make_file(Store& store, const std::string& name, NodeId folder = kRootNode) {
  Transaction t(store);
  auto id = t.make_node(Kind::file);
  EXPECT_TRUE(id);
  EXPECT_TRUE(t.bind(folder, name, Side::local, *id));
  EXPECT_TRUE(t.commit());
  return *id;
}

std::vector<std::string> names_in(const Store& store, NodeId folder = kRootNode) {
  std::vector<std::string> out;
  EXPECT_TRUE(store.list(folder, 0, [&](const Name& name) {
    out.push_back(name.text);
    return true;
  }));
  return out;
}

TEST(Store, ANewStoreHasARootFolderAndNothingElse) {
  FakeFileIo io;
  auto store = open_store(io);
  auto root = store->node(kRootNode);
  ASSERT_TRUE(root);
  EXPECT_EQ(root->kind, Kind::folder);
  EXPECT_TRUE(names_in(*store).empty());
  EXPECT_EQ(store->figures().nodes, 1U);
  EXPECT_FALSE(store->rebooted());
}

TEST(Store, WhatIsCommittedIsThereAfterReopening) {
  FakeFileIo io;
  NodeId id;
  {
    auto store = open_store(io);
    id = make_file(*store, "a name");
    Transaction t(*store);
    Node node;
    node.kind = Kind::file;
    node.status = Status::sync;
    node.size = 123456789;
    node.mode = 0644;
    node.mtime = -5;
    node.hash = 7;
    node.hash_known = true;
    node.pin = Pin::keep;
    node.content_base = Version(9);
    ASSERT_TRUE(t.put(id, node));
    ASSERT_TRUE(t.set_text(id, Text::reason, as_bytes(std::string(1000, 'x'))));
    ASSERT_TRUE(t.commit());
  }
  auto store = open_store(io);
  auto node = store->node(id);
  ASSERT_TRUE(node);
  EXPECT_EQ(node->size, 123456789U);
  EXPECT_EQ(node->mtime, -5);
  EXPECT_EQ(node->links, 1U);
  EXPECT_EQ(node->parent, kRootNode);
  EXPECT_EQ(node->pin, Pin::keep);
  EXPECT_TRUE(node->hash_known);
  EXPECT_EQ(node->content_base, Version(9));
  auto text = store->text(id, Text::reason);
  ASSERT_TRUE(text);
  EXPECT_EQ(text->size(), 1000U);
  auto name = store->name(kRootNode, "a name");
  ASSERT_TRUE(name);
  EXPECT_EQ(name->local, id);
}

TEST(Store, AnAbortedTransactionLeavesNothing) {
  FakeFileIo io;
  auto store = open_store(io);
  const auto before = io.content("data/journal.1");
  {
    Transaction t(*store);
    auto id = t.make_node(Kind::file);
    ASSERT_TRUE(id);
    ASSERT_TRUE(t.bind(kRootNode, std::string(200, 'n'), Side::local, *id));
  }
  EXPECT_TRUE(names_in(*store).empty());
  EXPECT_EQ(store->figures().nodes, 1U);
  EXPECT_EQ(io.content("data/journal.1"), before);
}

TEST(Store, ManyNamesAreFoundListedAndRemovedAcrossCheckpoints) {
  FakeFileIo io;
  StoreOptions options;
  options.overlay_bytes_max = 256 * 1024;
  auto store = open_store(io, options);
  std::map<std::string, NodeId> model;
  for (int i = 0; i < 5000; ++i) {
    const auto name =
        "file-" + std::to_string(i) + std::string(static_cast<std::size_t>(i % 60), 'x');
    model[name] = make_file(*store, name);
    if (store->wants_checkpoint()) {
      ASSERT_TRUE(store->checkpoint());
    }
  }
  for (const auto& [name, id] : model) {
    auto found = store->name(kRootNode, name);
    ASSERT_TRUE(found) << name;
    EXPECT_EQ(found->local, id);
  }
  EXPECT_EQ(names_in(*store).size(), model.size());
  store.reset();
  store = open_store(io, options);
  for (const auto& [name, id] : model) {
    Transaction t(*store);
    ASSERT_TRUE(t.bind(kRootNode, name, Side::local, NodeId{}));
    ASSERT_TRUE(t.drop_node(id));
    ASSERT_TRUE(t.commit());
  }
  EXPECT_TRUE(names_in(*store).empty());
  EXPECT_EQ(store->figures().nodes, 1U);
  EXPECT_EQ(store->figures().names, 0U);
}

TEST(Store, AListingIsSteadyWhileNamesComeAndGo) {
  FakeFileIo io;
  auto store = open_store(io);
  constexpr int kNames = 100'000;
  for (int i = 0; i < kNames; i += 1000) {
    Transaction t(*store);
    auto id = t.make_node(Kind::file);
    ASSERT_TRUE(id);
    for (int j = i; j < i + 1000; ++j) {
      ASSERT_TRUE(t.bind(kRootNode, "stays " + std::to_string(j), Side::local, *id));
    }
    ASSERT_TRUE(t.commit());
  }
  // In pieces, as a program reads a folder, and with other names made and removed between them.
  std::set<std::string> seen;
  std::uint64_t cookie = 0;
  int rounds = 0;
  for (bool more = true; more; ++rounds) {
    more = false;
    int piece = 0;
    ASSERT_TRUE(store->list(kRootNode, cookie, [&](const Name& name) {
      EXPECT_GT(name.cookie, cookie);
      EXPECT_GE(name.cookie, 16U);
      EXPECT_EQ(name.cookie >> 63, 0U);
      cookie = name.cookie;
      more = true;
      if (name.text.compare(0, 5, "stays") == 0) {
        EXPECT_TRUE(seen.insert(name.text).second) << name.text;
      }
      return ++piece < 700;
    }));
    const auto number = std::to_string(rounds);
    make_file(*store, "comes " + number);
    Transaction t(*store);
    const auto gone = "comes " + std::to_string(rounds / 2);
    ASSERT_TRUE(t.bind(kRootNode, gone, Side::local, NodeId{}));
    ASSERT_TRUE(t.commit());
  }
  EXPECT_EQ(seen.size(), static_cast<std::size_t>(kNames));
}

TEST(Store, ANodeKnowsItsNamesOnBothSides) {
  FakeFileIo io;
  auto store = open_store(io);
  const auto id = make_file(*store, "here");
  const auto texts = [&] {
    std::multiset<std::string> out;
    auto names = store->names_of(id);
    EXPECT_TRUE(names);
    for (const auto& name : *names) out.insert(name.text);
    return out;
  };
  const auto bind = [&](const std::string& name, Side side, NodeId node) {
    Transaction t(*store);
    EXPECT_TRUE(t.bind(kRootNode, name, side, node));
    EXPECT_TRUE(t.commit());
  };
  using Texts = std::multiset<std::string>;
  bind("here", Side::server, id);
  EXPECT_EQ(texts(), Texts{"here"});
  // Renamed here, and not yet on the server.
  bind("there", Side::local, id);
  bind("here", Side::local, NodeId{});
  EXPECT_EQ(texts(), (Texts{"here", "there"}));
  auto node = store->node(id);
  EXPECT_EQ(node->links, 1U);
  auto first = store->name_at(node->parent, node->parent_cookie);
  ASSERT_TRUE(first);
  EXPECT_EQ(first->text, "there") << "the first name is a local one";
  {
    Transaction t(*store);
    auto dropped = t.drop_node(id);
    ASSERT_FALSE(dropped);
    EXPECT_EQ(dropped.error().code, Errc::in_use);
  }
  bind("here", Side::server, NodeId{});
  bind("there", Side::local, NodeId{});
  EXPECT_EQ(texts(), Texts{});
  for (int i = 0; i < 300; ++i) bind("link " + std::to_string(i), Side::local, id);
  EXPECT_EQ(store->node(id)->links, 300U);
  EXPECT_EQ(texts().size(), 300U);
  EXPECT_EQ(store->figures().names, 300U);
}

TEST(Store, ANodeIdIsNeverUsedAgain) {
  FakeFileIo io;
  auto store = open_store(io);
  std::set<std::uint64_t> ids;
  for (int i = 0; i < 50; ++i) {
    const auto id = make_file(*store, "x");
    EXPECT_TRUE(ids.insert(id.value).second);
    Transaction t(*store);
    ASSERT_TRUE(t.bind(kRootNode, "x", Side::local, NodeId{}));
    ASSERT_TRUE(t.drop_node(id));
    ASSERT_TRUE(t.commit());
    EXPECT_EQ(store->node(id).error().code, Errc::stale);
  }
}

TEST(Store, ARefusedCallLeavesTheTransactionAsItWas) {
  FakeFileIo io;
  auto store = open_store(io);
  const auto file = make_file(*store, "file");
  Transaction t(*store);
  auto id = t.make_node(Kind::folder);
  ASSERT_TRUE(id);
  EXPECT_TRUE(is_errno(t.bind(file, "in a file", Side::local, *id).error(), ENOTDIR));
  EXPECT_EQ(t.bind(kRootNode, "x", Side::local, NodeId(77)).error().code, Errc::stale);
  EXPECT_TRUE(is_errno(t.set_name_flags(kRootNode, "none", 1).error(), ENOENT));
  EXPECT_TRUE(is_errno(t.set_text(*id, Text::reason, Bytes(kTextMax + 1)).error(), E2BIG));
  EXPECT_TRUE(is_errno(t.put(*id, Node{}).error(), EINVAL));
  EXPECT_FALSE(t.drop_node(kRootNode));
  ASSERT_TRUE(t.set_text(*id, Text::xattrs, Bytes(kTextMax)));
  ASSERT_TRUE(t.bind(kRootNode, "folder", Side::local, *id));
  ASSERT_TRUE(t.bind(*id, "inside", Side::local, file));
  ASSERT_TRUE(t.bind(kRootNode, "folder", Side::local, NodeId{}));
  EXPECT_TRUE(is_errno(t.drop_node(*id).error(), ENOTEMPTY));
  ASSERT_TRUE(t.bind(kRootNode, "folder", Side::local, *id));
  ASSERT_TRUE(t.commit());
  EXPECT_TRUE(store->name(*id, "inside"));
  EXPECT_EQ(store->text(*id, Text::xattrs)->size(), kTextMax);
}

TEST(Store, SequenceNumbersAreGivenOnceEvenWhenTakenBack) {
  FakeFileIo io;
  auto store = open_store(io);
  std::uint64_t taken_back = 0;
  {
    Transaction t(*store);
    taken_back = t.next_sequence();
  }
  std::uint64_t kept = 0;
  {
    Transaction t(*store);
    kept = t.next_sequence();
    ASSERT_TRUE(t.commit());
  }
  EXPECT_GT(kept, taken_back);
  store.reset();
  store = open_store(io);
  EXPECT_EQ(store->sequence(), kept);
}

TEST(Store, AfterARebootItSaysSoUntilNothingUnsettledIsLeft) {
  FakeFileIo io;
  auto store = open_store(io);
  {
    Transaction t(*store);
    ASSERT_TRUE(t.put_cell(Table::unsettled, 0, 5, Cell{}));
    ASSERT_TRUE(t.put_cell(Table::unsettled, 0, 6, Cell{}));
    ASSERT_TRUE(t.commit());
  }
  ASSERT_TRUE(store->sync());
  io.kill_process();
  store.reset();
  store = open_store(io);
  EXPECT_FALSE(store->rebooted());
  io.crash(1);
  store.reset();
  store = open_store(io);
  EXPECT_TRUE(store->rebooted());
  {
    Transaction t(*store);
    ASSERT_TRUE(t.erase_cell(Table::unsettled, 0, 5));
    ASSERT_TRUE(t.commit());
  }
  io.kill_process();  // in the middle of dropping what is not believed
  store.reset();
  store = open_store(io);
  EXPECT_TRUE(store->rebooted());
  {
    Transaction t(*store);
    ASSERT_TRUE(t.erase_cell(Table::unsettled, 0, 6));
    ASSERT_TRUE(t.commit());
  }
  store.reset();
  store = open_store(io);
  EXPECT_FALSE(store->rebooted());
}

TEST(Store, SyncsAndCheckpointsRunBesideTransactions) {
  FakeFileIo io;
  StoreOptions options;
  options.overlay_bytes_max = 64 * 1024;
  auto store = open_store(io, options);
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&] {
      while (!stop) EXPECT_TRUE(store->sync());
    });
  }
  threads.emplace_back([&] {
    while (!stop) EXPECT_TRUE(store->run_checkpoint());
  });
  for (int i = 0; i < 2000; ++i) {
    make_file(*store, "f" + std::to_string(i));
    if (store->wants_checkpoint()) {
      EXPECT_TRUE(store->begin_checkpoint());
    }
    EXPECT_TRUE(store->end_checkpoint());
  }
  stop = true;
  for (auto& thread : threads) thread.join();
  ASSERT_TRUE(store->checkpoint());
  EXPECT_EQ(names_in(*store).size(), 2000U);
  io.crash(1, FakeFileIo::Crash::lose_unsynced);
  store.reset();
  store = open_store(io, options);
  EXPECT_EQ(names_in(*store).size(), 2000U);
}

}  // namespace
}  // namespace ebb::store
