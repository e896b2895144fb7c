// A user at one of the clients.  Each call runs the world until the answer is there.
#pragma once

#include <fcntl.h>

#include "base/xattrs.h"
#include "tests/sim/world.h"

namespace ebb::test {

class Hands : public World {
 public:
  using World::World;

  template <class T, class Start>
  Result<T> ask(Start start) {
    auto answer = std::make_shared<std::optional<Result<T>>>();
    start([answer](Result<T> result) { *answer = std::move(result); });
    for (int i = 0; i < 100 && !*answer; ++i) {
      settle();
      if (!*answer) pass(std::chrono::milliseconds(500));
    }
    if (!*answer) return fail_errno(ENOTRECOVERABLE, "never answered");
    return std::move(**answer);
  }

  Result<NodeId> find(std::size_t i, const std::string& path) {
    NodeId node = kRootNode;
    for (std::size_t at = 0; at < path.size();) {
      const auto slash = std::min(path.find('/', at), path.size());
      const std::string name = path.substr(at, slash - at);
      auto next = ask<fusefs::Attributes>(
          [&](auto reply) { client(i).lookup(node, name, std::move(reply)); });
      if (!next) return pass_on(next.error());
      node = next->node;
      client(i).forget(node, 1);
      at = slash + 1;
    }
    return node;
  }
  static std::pair<std::string, std::string> split(const std::string& path) {
    const auto slash = path.rfind('/');
    if (slash == std::string::npos) return {"", path};
    return {path.substr(0, slash), path.substr(slash + 1)};
  }

  /// Makes or replaces the content in one go: nothing else happens between its calls.
  Result<> write(std::size_t i, const std::string& path, const std::string& text,
                 bool fsync = false) {
    const auto [folder, name] = split(path);
    const auto parent = find(i, folder);
    if (!parent) return pass_on(parent.error());
    auto made = ask<Client::Created>([&](auto reply) {
      client(i).create(*parent, name, 0644, O_CREAT | O_WRONLY | O_TRUNC, {1000, 1000, 022},
                       std::move(reply));
    });
    if (!made) return pass_on(made.error());
    const auto handle = made->open.handle;
    Result<> done;
    if (!text.empty()) {
      auto wrote = client(i).write(handle, 0, as_bytes(text), false);
      if (!wrote) done = pass_on(wrote.error());
    }
    if (done && fsync) {
      done = ask<void>([&](auto reply) { client(i).fsync(handle, false, std::move(reply)); });
    }
    if (auto flushed = client(i).flush(handle); done && !flushed) done = flushed;
    client(i).release(handle);
    client(i).forget(made->attributes.node, 1);
    return done;
  }
  Result<std::string> read(std::size_t i, const std::string& path) {
    const auto node = find(i, path);
    if (!node) return pass_on(node.error());
    auto opened = ask<fusefs::OpenFile>(
        [&](auto reply) { client(i).open(*node, O_RDONLY, std::move(reply)); });
    if (!opened) return pass_on(opened.error());
    auto text = read_all(i, opened->handle);
    client(i).release(opened->handle);
    return text;
  }
  Result<std::string> read_all(std::size_t i, fusefs::Handle handle) {
    std::string text;
    for (;;) {
      auto piece = ask<fusefs::Piece>(
          [&](auto reply) { client(i).read(handle, text.size(), 128 * 1024, std::move(reply)); });
      if (!piece) return pass_on(piece.error());
      if (piece->size == 0) return text;
      std::string part(piece->size, '\0');
      auto got = piece->file->read_at(piece->offset,
                                      std::as_writable_bytes(std::span(part.data(), part.size())));
      if (!got) return pass_on(got.error());
      text.append(part, 0, *got);
    }
  }
  Result<> make_folder(std::size_t i, const std::string& path) {
    const auto [folder, name] = split(path);
    const auto parent = find(i, folder);
    if (!parent) return pass_on(parent.error());
    auto made = ask<fusefs::Attributes>([&](auto reply) {
      client(i).make_folder(*parent, name, 0755, {1000, 1000, 022}, std::move(reply));
    });
    if (!made) return pass_on(made.error());
    client(i).forget(made->node, 1);
    return {};
  }
  Result<> unlink(std::size_t i, const std::string& path) {
    const auto [folder, name] = split(path);
    const auto parent = find(i, folder);
    if (!parent) return pass_on(parent.error());
    return ask<void>([&](auto reply) { client(i).unlink(*parent, name, std::move(reply)); });
  }
  Result<> remove_folder(std::size_t i, const std::string& path) {
    const auto [folder, name] = split(path);
    const auto parent = find(i, folder);
    if (!parent) return pass_on(parent.error());
    return ask<void>([&](auto reply) { client(i).remove_folder(*parent, name, std::move(reply)); });
  }
  Result<> rename(std::size_t i, const std::string& from, const std::string& to) {
    const auto [folder, name] = split(from);
    const auto [new_folder, new_name] = split(to);
    const auto parent = find(i, folder);
    const auto new_parent = find(i, new_folder);
    if (!parent) return pass_on(parent.error());
    if (!new_parent) return pass_on(new_parent.error());
    return ask<void>([&](auto reply) {
      client(i).rename(*parent, name, *new_parent, new_name, 0, std::move(reply));
    });
  }
  Result<> set_status(std::size_t i, const std::string& path, const std::string& word) {
    const auto node = find(i, path);
    if (!node) return pass_on(node.error());
    return ask<void>([&](auto reply) {
      client(i).set_xattr(*node, "user.ebb.status", word, 0, std::move(reply));
    });
  }
  std::string attribute(std::size_t i, const std::string& path, const std::string& which) {
    const auto node = find(i, path);
    if (!node) return node.error().message();
    auto value = client(i).get_xattr(*node, "user.ebb." + which);
    return value ? *value : value.error().message();
  }
  Result<std::vector<fusefs::FolderEntry>> list(std::size_t i, NodeId folder) {
    auto opened =
        ask<fusefs::Handle>([&](auto reply) { client(i).open_folder(folder, std::move(reply)); });
    if (!opened) return pass_on(opened.error());
    std::vector<fusefs::FolderEntry> entries;
    auto done = client(i).read_folder(*opened, 0, false, [&](const fusefs::FolderEntry& entry) {
      entries.push_back(entry);
      return true;
    });
    client(i).close_folder(*opened);
    if (!done) return pass_on(done.error());
    return entries;
  }

  /// What is done with the content that one handle sees, in one go: the text before and after.
  struct Edited {
    std::string before, after;
  };
  Result<Edited> append(std::size_t i, const std::string& path, const std::string& more,
                        bool fsync) {
    return edit(i, path, fsync, [&](NodeId, fusefs::Handle handle, Edited& text) -> Result<> {
      text.after = text.before + more;
      auto wrote = client(i).write(handle, 0, as_bytes(more), true);
      return wrote ? Result<>() : pass_on(wrote.error());
    });
  }
  Result<Edited> truncate(std::size_t i, const std::string& path, std::size_t size, bool fsync) {
    return edit(i, path, fsync, [&](NodeId node, fusefs::Handle handle, Edited& text) -> Result<> {
      text.after = text.before.substr(0, size);
      fusefs::AttributeChange change;
      change.size = text.after.size();
      auto cut = ask<fusefs::Attributes>(
          [&](auto reply) { client(i).set_attributes(node, handle, change, std::move(reply)); });
      return cut ? Result<>() : pass_on(cut.error());
    });
  }
  Result<> make_symlink(std::size_t i, const std::string& path, const std::string& target) {
    const auto [folder, name] = split(path);
    const auto parent = find(i, folder);
    if (!parent) return pass_on(parent.error());
    auto made = ask<fusefs::Attributes>([&](auto reply) {
      client(i).make_symlink(*parent, name, target, {1000, 1000, 022}, std::move(reply));
    });
    if (!made) return pass_on(made.error());
    client(i).forget(made->node, 1);
    return {};
  }
  Result<> link(std::size_t i, const std::string& from, const std::string& to) {
    const auto [folder, name] = split(to);
    const auto node = find(i, from);
    const auto parent = find(i, folder);
    if (!node) return pass_on(node.error());
    if (!parent) return pass_on(parent.error());
    auto made = ask<fusefs::Attributes>(
        [&](auto reply) { client(i).link(*node, *parent, name, std::move(reply)); });
    if (!made) return pass_on(made.error());
    client(i).forget(made->node, 1);
    return {};
  }
  Result<> set_xattr(std::size_t i, const std::string& path, const std::string& value) {
    const auto node = find(i, path);
    if (!node) return pass_on(node.error());
    return ask<void>(
        [&](auto reply) { client(i).set_xattr(*node, "user.k", value, 0, std::move(reply)); });
  }
  Result<> change_mode(std::size_t i, const std::string& path, std::uint32_t mode) {
    const auto node = find(i, path);
    if (!node) return pass_on(node.error());
    fusefs::AttributeChange change;
    change.mode = mode;
    auto done = ask<fusefs::Attributes>([&](auto reply) {
      client(i).set_attributes(*node, std::nullopt, change, std::move(reply));
    });
    return done ? Result<>() : pass_on(done.error());
  }

  /// An entry as a client shows it.
  struct Shown {
    std::string content;  // "/" for a folder, "-> target" for a symlink
    std::uint32_t mode = 0;
    std::string xattr;
    store::Status status = store::Status::untracked;
    store::State state = store::State::clean;
    std::string reason;
  };
  std::map<std::string, Shown> tree(std::size_t i, NodeId folder = kRootNode,
                                    const std::string& at = "") {
    std::map<std::string, Shown> out;
    auto entries = list(i, folder);
    EXPECT_TRUE(entries) << at << ": " << (entries ? "" : entries.error().message());
    if (!entries) return out;
    for (const auto& entry : *entries) {
      const std::string path = at.empty() ? entry.name : at + "/" + entry.name;
      out[path] = look(i, path, entry.attributes);
      if (entry.attributes.kind == store::Kind::folder)
        out.merge(tree(i, entry.attributes.node, path));
    }
    return out;
  }

 private:
  template <class Change>
  Result<Edited> edit(std::size_t i, const std::string& path, bool fsync, Change change) {
    const auto node = find(i, path);
    if (!node) return pass_on(node.error());
    auto opened =
        ask<fusefs::OpenFile>([&](auto reply) { client(i).open(*node, O_RDWR, std::move(reply)); });
    if (!opened) return pass_on(opened.error());
    const auto handle = opened->handle;
    Edited text;
    auto before = read_all(i, handle);
    Result<> done = before ? Result<>() : pass_on(before.error());
    if (before) text.before = *before;
    if (done) done = change(*node, handle, text);
    if (done && fsync) {
      done = ask<void>([&](auto reply) { client(i).fsync(handle, false, std::move(reply)); });
    }
    if (auto flushed = client(i).flush(handle); done && !flushed) done = flushed;
    client(i).release(handle);
    if (!done) return pass_on(done.error());
    return text;
  }
  Shown look(std::size_t i, const std::string& path, const fusefs::Attributes& attributes) {
    Shown shown;
    shown.mode = attributes.mode;
    if (auto status = client(i).status(attributes.node)) {
      shown.status = status->status;
      shown.state = status->state;
      shown.reason = status->reason;
    }
    if (auto value = client(i).get_xattr(attributes.node, "user.k")) shown.xattr = *value;
    if (attributes.kind == store::Kind::folder) {
      shown.content = "/";
    } else if (attributes.kind == store::Kind::symlink) {
      auto target = client(i).read_symlink(attributes.node);
      shown.content = "-> " + (target ? *target : target.error().message());
    } else {
      auto text = read(i, path);
      shown.content = text ? *text : "unreadable: " + text.error().message();
    }
    return shown;
  }
};

}  // namespace ebb::test
