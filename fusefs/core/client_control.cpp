// Client: extended attributes, and what the control socket asks.

#include <algorithm>
#include <cerrno>

#include "base/hash.h"
#include "fusefs/core/client.h"
#include "fusefs/core/client_impl.h"
#include "fusefs/core/xattr_commands.h"

namespace ebb::fusefs {
namespace {

constexpr std::string_view kHashAttribute = "user.ebb.hash";

}  // namespace

Result<std::string> Client::get_xattr(NodeId node, std::string_view name) {
  Section section(*impl_);
  impl_->contents.look_at_all();
  auto value = get_attribute(*impl_, node, name);
  if (value && value->empty() && name == kHashAttribute) {
    // Nobody has needed it yet; what cannot be read stays unknown.
    if (impl_->contents.learn_hash(section.lock(), node)) {
      value = get_attribute(*impl_, node, name);
    }
    impl_->contents.tidy(node);
  }
  if (!value) return pass(as_errno(value.error()));
  return value;
}

Result<std::vector<std::string>> Client::list_xattrs(NodeId node) {
  Section section(*impl_);
  const auto xattrs = impl_->tree->xattrs(node);
  if (!xattrs) return pass(as_errno(xattrs.error()));
  std::vector<std::string> names;
  for (const auto& [name, value] : *xattrs) names.push_back(name);
  if (!impl_->options.list_xattrs) return names;
  const auto ours = attribute_names();
  names.insert(names.end(), ours.begin(), ours.end());
  return names;
}

Ticket Client::set_xattr(NodeId node, std::string_view name, std::string_view value, int flags,
                         Reply<> reply) {
  Section section(*impl_);
  impl_->contents.look_at_all();
  return set_attribute(*impl_, node, name, value, flags, std::move(reply));
}

Result<> Client::remove_xattr(NodeId node, std::string_view name) {
  Section section(*impl_);
  auto done = remove_attribute(*impl_, node, name);
  if (!done) return pass(as_errno(done.error()));
  return {};
}

Result<NodeId> Client::find(std::string_view path) {
  Section section(*impl_);
  NodeId node = kRootNode;
  while (!path.empty()) {
    const std::size_t slash = path.find('/');
    const std::string_view name = path.substr(0, slash);
    path = slash == std::string_view::npos ? std::string_view{} : path.substr(slash + 1);
    if (name.empty()) continue;
    auto next = impl_->tree->find(node, name);
    if (!next) return pass(as_errno(next.error()));
    node = *next;
  }
  return node;
}

Result<NodeStatus> Client::status(NodeId id) {
  Section section(*impl_);
  impl_->contents.look_at_all();
  const auto node = impl_->tree->node(id);
  if (!node) return pass(as_errno(node.error()));
  NodeStatus status;
  status.node = id;
  status.kind = node->kind;
  status.status = node->status;
  status.state = impl_->tree->state(id, *node);
  status.reason = reason_of(*impl_, id);
  if (status.reason.empty() && status.state == State::waiting) {
    status.reason = impl_->pushes.why_waiting(id);
  }
  status.pin = node->pin;
  status.size = node->size;
  status.bytes_here = bytes_here(*impl_, id, *node);
  status.version = node->content_base;
  status.kept = impl_->tree->kept(id);
  const auto hidden = impl_->tree->hidden(id);
  if (!hidden) return pass(as_errno(hidden.error()));
  status.hides = hidden->hides;
  status.absent = hidden->absent;
  return status;
}

ClientStatus Client::status() {
  Section section(*impl_);
  impl_->contents.look_at_all();
  ClientStatus status;
  status.connected = impl_->link.ready();
  status.problem = status.connected ? std::string{} : impl_->link.problem();
  const auto root = impl_->tree->node(kRootNode);
  if (root) {
    status.conflicts = root->beneath_conflict;
    status.errors = root->beneath_error;
  }
  const std::uint64_t stuck = status.conflicts + status.errors;
  const std::uint64_t length = impl_->tree->queue_length();
  status.waiting = length > stuck ? length - stuck : 0;
  status.pulls = impl_->pulls.count();
  return status;
}

Ticket Client::set_status(NodeId node, Status to, Reply<> reply) {
  Section section(*impl_);
  if (auto fine = impl_->writable(); !fine) return impl_->answer(reply, std::move(fine)), 0;
  impl_->contents.look_at_all();
  return impl_->transitions.begin(node, to, true, std::move(reply));
}

Result<> Client::set_pin(NodeId node, Pin pin) {
  Section section(*impl_);
  if (auto fine = impl_->writable(); !fine) return fine;
  auto done = impl_->transitions.pin(node, pin);
  if (!done) return pass(as_errno(done.error()));
  return {};
}

Ticket Client::wait(NodeId node, Reply<> reply) {
  Section section(*impl_);
  impl_->contents.look_at_all();
  return impl_->transitions.wait(node, std::move(reply));
}

std::vector<Client::Waiting> Client::queue(std::size_t most) {
  Section section(*impl_);
  impl_->contents.look_at_all();
  const WallNs now = impl_->seams.clock.wall();
  std::vector<Waiting> out;
  impl_->tree->queue([&](const Queued& queued) {
    if (out.size() >= most) return false;
    out.push_back({queued.node, impl_->tree->path(queued.node),
                   Duration(std::max<WallNs>(0, now - queued.first_change))});
    return true;
  });
  return out;
}

Ticket Client::history(std::string_view path, Reply<std::vector<KeptVersion>> reply) {
  Section section(*impl_);
  return impl_->kept_versions.history(std::string(path), std::move(reply));
}

Ticket Client::restore(std::string_view path, Version version, Reply<> reply) {
  Section section(*impl_);
  if (auto fine = impl_->writable(); !fine) return impl_->answer(reply, std::move(fine)), 0;
  return impl_->kept_versions.restore(std::string(path), version, std::move(reply));
}

std::string Client::path_of(NodeId node) {
  Section section(*impl_);
  return impl_->tree->path(node);
}

}  // namespace ebb::fusefs
