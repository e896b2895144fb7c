// Client: names and attributes.

#include <cerrno>

#include "fusefs/core/client.h"
#include "fusefs/core/client_impl.h"

namespace ebb::fusefs {

Attributes Client::Impl::measured(NodeId id, const store::Node& record) {
  Attributes attributes = tree->attributes(id, record);
  measure(attributes);
  return attributes;
}

void Client::Impl::measure(Attributes& attributes) {
  if (attributes.counted == 0) return;
  const auto bytes = contents.allocated(attributes.node, attributes.counted);
  if (bytes) attributes.blocks = *bytes / 512;
}

Result<Attributes> Client::Impl::entry(NodeId id) {
  auto known = attributes(id);
  if (known) inodes.looked_up(id);
  return known;
}

Result<Attributes> Client::Impl::attributes(NodeId id) {
  const auto content = contents.find(id);
  if (content) contents.look_at_file(content);
  const auto node = tree->node(id);
  if (!node) return pass(node.error());
  auto known = measured(id, *node);
  known.moving = content && content->watched;
  return known;
}

Ticket Client::lookup(NodeId folder, std::string_view name, Reply<Attributes> reply) {
  Section section(*impl_);
  Impl& core = *impl_;
  const auto found = core.tree->find(folder, name);
  if (found) return core.answer(reply, core.entry(*found)), 0;
  if (!is_errno(found.error(), ENOENT)) {
    return core.answer(reply, Result<Attributes>(pass(found.error()))), 0;
  }
  return core.when_listed(
      folder, [&core, folder, text = std::string(name), reply](const Result<>& listed) {
        if (!listed) return core.answer(reply, Result<Attributes>(pass(listed.error())));
        const auto now = core.tree->find(folder, text);
        core.answer(reply, now ? core.entry(*now) : Result<Attributes>(pass(now.error())));
      });
}

void Client::forget(NodeId node, std::uint64_t lookups) {
  Section section(*impl_);
  if (impl_->inodes.forget(node, lookups)) impl_->release_node(node);
}

Result<Attributes> Client::attributes(NodeId id) {
  Section section(*impl_);
  auto known = impl_->attributes(id);
  if (!known) return pass(as_errno(known.error()));
  return known;
}

Result<Attributes> Client::attributes(NodeId id, Handle) {
  return attributes(id);
}

Ticket Client::set_attributes(NodeId id, std::optional<Handle> handle,
                              const AttributeChange& change, Reply<Attributes> reply) {
  Section section(*impl_);
  Impl& core = *impl_;
  Result<> done = core.writable();
  // What was written before has its times before these are set.
  if (const auto content = core.contents.find(id)) core.contents.look_at_file(content);
  if (done && change.size) {
    const OpenHandle* open = handle ? core.handles.find(*handle) : nullptr;
    if (open != nullptr && open->content) {
      const ContentPtr content = open->content;
      done = core.contents.set_size(section.lock(), content, *change.size);
    } else {
      done = core.truncate(section.lock(), id, *change.size);
    }
  }
  const bool rest = change.mode || change.uid || change.gid || change.mtime || change.atime;
  if (done && rest) done = core.tree->set_attributes(id, change);
  if (!done) return core.answer(reply, Result<Attributes>(pass(done.error()))), 0;
  core.answer(reply, core.attributes(id));
  return 0;
}

Result<> Client::Impl::truncate(Lock& lock, NodeId id, std::uint64_t size) {
  const auto content = contents.get(id);
  if (!content) return pass(content.error());
  auto done = contents.set_size(lock, *content, size);
  // Nobody holds it for writing beyond this call.
  if (inodes.writers(id) == 0) {
    if (const auto now = contents.find(id)) contents.writers_gone(now);
  }
  return done;
}

template <class Make>
Ticket Client::Impl::make_in(NodeId folder, Reply<Attributes> reply, Make make) {
  if (auto fine = writable(); !fine) {
    return answer(reply, Result<Attributes>(pass(fine.error()))), 0;
  }
  return when_listed(folder, [this, reply, make](const Result<>& listed) {
    if (!listed) return answer(reply, Result<Attributes>(pass(listed.error())));
    const Result<NodeId> made = make();
    answer(reply, made ? entry(*made) : Result<Attributes>(pass(made.error())));
  });
}

template <class Work>
Ticket Client::Impl::change_in(NodeId folder, Reply<> reply, Work work) {
  if (auto fine = writable(); !fine) return answer(reply, std::move(fine)), 0;
  return when_listed(folder, [this, reply, work](const Result<>& listed) {
    answer(reply, listed ? Result<>(work()) : listed);
  });
}

template <class Work>
Ticket Client::Impl::change_at(NodeId folder, std::string name, Reply<> reply, Work work) {
  if (auto fine = writable(); !fine) return answer(reply, std::move(fine)), 0;
  const auto change = [this, reply, work](const Result<>& known) {
    answer(reply, known ? Result<>(work()) : known);
  };
  auto ticket = std::make_shared<Ticket>(0);
  const auto look = [this, folder, name = std::move(name), change, ticket](const Result<>& listed) {
    const auto stands = listed ? tree->find(folder, name) : Result<NodeId>(pass(listed.error()));
    const auto node = stands ? tree->node(*stands) : Result<store::Node>(pass(stands.error()));
    const bool unknown = node && node->is_folder() && node->entry && !node->has(store::kListed);
    if (!unknown) return change(listed);
    *ticket = when_listed(*stands, change);
  };
  const Ticket first = when_listed(folder, look);
  return first != 0 ? first : *ticket;
}

Ticket Client::make_folder(NodeId folder, std::string_view name, std::uint32_t mode, Maker maker,
                           Reply<Attributes> reply) {
  Section section(*impl_);
  Impl& core = *impl_;
  return core.make_in(folder, std::move(reply),
                      [&core, folder, text = std::string(name), mode, maker] {
                        return core.tree->make(folder, text, Kind::folder, mode, maker);
                      });
}

Ticket Client::make_symlink(NodeId folder, std::string_view name, std::string_view target,
                            Maker maker, Reply<Attributes> reply) {
  Section section(*impl_);
  Impl& core = *impl_;
  return core.make_in(folder, std::move(reply),
                      [&core, folder, text = std::string(name), to = std::string(target), maker] {
                        return core.tree->make(folder, text, Kind::symlink, 0777, maker, to);
                      });
}

Ticket Client::make_special(NodeId folder, std::string_view name, Kind kind, std::uint64_t device,
                            std::uint32_t mode, Maker maker, Reply<Attributes> reply) {
  Section section(*impl_);
  Impl& core = *impl_;
  if (!store::is_special(kind)) {
    return core.answer(reply, Result<Attributes>(fail_errno(EPERM))), 0;
  }
  return core.make_in(folder, std::move(reply),
                      [&core, folder, text = std::string(name), kind, device, mode, maker] {
                        return core.tree->make_special(folder, text, kind, device, mode, maker);
                      });
}

Ticket Client::link(NodeId node, NodeId folder, std::string_view name, Reply<Attributes> reply) {
  Section section(*impl_);
  Impl& core = *impl_;
  return core.make_in(folder, std::move(reply),
                      [&core, node, folder, text = std::string(name)]() -> Result<NodeId> {
                        auto done = core.tree->link(node, folder, text);
                        if (!done) return pass(done.error());
                        return node;
                      });
}

Ticket Client::unlink(NodeId folder, std::string_view name, Reply<> reply) {
  Section section(*impl_);
  Impl& core = *impl_;
  return core.change_in(folder, std::move(reply), [&core, folder, text = std::string(name)] {
    return core.tree->unlink(folder, text);
  });
}

Ticket Client::remove_folder(NodeId folder, std::string_view name, Reply<> reply) {
  Section section(*impl_);
  Impl& core = *impl_;
  const std::string text(name);
  return core.change_at(folder, text, std::move(reply),
                        [&core, folder, text] { return core.tree->remove_folder(folder, text); });
}

Ticket Client::rename(NodeId from, std::string_view name, NodeId to, std::string_view new_name,
                      unsigned flags, Reply<> reply) {
  Section section(*impl_);
  Impl& core = *impl_;
  const auto work = [&core, from, text = std::string(name), to, new_text = std::string(new_name),
                     flags] {
    core.inodes.saw_names(from);
    return core.tree->rename(from, text, to, new_text, flags);
  };
  if (flags != 0) return core.change_in(to, std::move(reply), work);  // nothing is replaced
  return core.change_at(to, std::string(new_name), std::move(reply), work);
}

Result<std::string> Client::read_symlink(NodeId node) {
  Section section(*impl_);
  auto target = impl_->tree->target(node);
  if (!target) return pass(as_errno(target.error()));
  return target;
}

// ---- folders

Ticket Client::open_folder(NodeId folder, Reply<Handle> reply) {
  Section section(*impl_);
  Impl& core = *impl_;
  return core.when_listed(folder, [&core, folder, reply](const Result<>& listed) {
    if (!listed) return core.answer(reply, Result<Handle>(pass(listed.error())));
    OpenHandle open;
    open.node = folder;
    open.folder = true;
    core.inodes.opened(folder, false);
    core.answer(reply, Result<Handle>(core.handles.add(std::move(open))));
  });
}

Result<> Client::read_folder(Handle handle, std::uint64_t cookie, bool count_lookups,
                             const std::function<bool(const FolderEntry&)>& visit) {
  // Entries in one go, so that the lock is not held while they are handed out.
  constexpr std::size_t kBatch = 128;
  for (bool more = true; more;) {
    std::vector<FolderEntry> batch;
    {
      Section section(*impl_);
      const OpenHandle* open = impl_->handles.find(handle);
      if (open == nullptr || !open->folder) return fail_errno(EBADF);
      auto read = impl_->tree->list(open->node, cookie, [&](const FolderEntry& entry) {
        batch.push_back(entry);
        impl_->measure(batch.back().attributes);
        return batch.size() < kBatch;
      });
      if (!read) return pass(as_errno(read.error()));
      // Counted before they are shown: what is in the kernel's hands must not go meanwhile.
      for (auto& entry : batch) {
        if (count_lookups) impl_->inodes.looked_up(entry.attributes.node);
        if (!impl_->contents.find(entry.attributes.node)) continue;
        if (const auto now = impl_->attributes(entry.attributes.node)) entry.attributes = *now;
      }
    }
    more = batch.size() == kBatch;
    std::size_t shown = 0;
    while (shown < batch.size() && visit(batch[shown])) ++shown;
    if (shown < batch.size()) more = false;
    for (std::size_t i = shown; count_lookups && i < batch.size(); ++i) {
      forget(batch[i].attributes.node, 1);
    }
    if (!batch.empty()) cookie = batch.back().cookie;
  }
  return {};
}

void Client::close_folder(Handle handle) {
  Section section(*impl_);
  const OpenHandle* open = impl_->handles.find(handle);
  if (open != nullptr && open->folder) impl_->close_handle(handle);
}

}  // namespace ebb::fusefs
