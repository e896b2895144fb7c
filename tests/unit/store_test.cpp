// The promises of the store as its callers see them.
#include "store/store.h"

#include <cerrno>
#include <set>

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

}  // namespace
}  // namespace ebb::store
