// Client: its life, and the part that the driver of the link calls.

#include "fusefs/core/client.h"

#include <algorithm>
#include <cerrno>

#include "base/log.h"
#include "fusefs/core/client_impl.h"

namespace ebb::fusefs {

Result<std::unique_ptr<Client>> Client::open(ClientSeams seams, ClientOptions options) {
  auto impl = std::make_unique<Impl>(std::move(seams), std::move(options));
  if (auto started = impl->start(); !started) return pass(started.error());
  return std::unique_ptr<Client>(new Client(std::move(impl)));
}

Client::Client(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Client::~Client() {
  {
    Section section(*impl_);
    impl_->contents.watch(true);
    impl_->waits.finish_all(fail_errno(EHOSTDOWN, "the mount ends"));
    impl_->link.down(Error{std::error_code(EHOSTDOWN, std::generic_category()), "the mount ends"});
    impl_->formers.clear();
    impl_->garbage.collect(section.lock(), true);
    impl_->effects.wake = false;
  }
  auto kept = impl_->store->sync();
  if (kept) kept = impl_->store->checkpoint();  // so that the next opening has nothing to redo
  if (!kept) log_warn("the store is not on disk: {}", kept.error().message());
}

bool Client::needs_server() const {
  Section section(*impl_);
  const auto root = impl_->tree->node(kRootNode);
  return !impl_->settings.tree() || !root || !root->attributes_base;
}

Time Client::connect_at() const {
  Section section(*impl_);
  return impl_->link.connect_at();
}

void Client::link_up() {
  Section section(*impl_);
  impl_->link.up();
}

void Client::link_received(ByteView bytes) {
  Section section(*impl_);
  impl_->link.received(section.lock(), bytes);
  impl_->take_tree_effects();
  impl_->watching.remember();
  impl_->stats.pump();
  impl_->listings.pump();
  impl_->comparing.pump();
  impl_->pulls.pump(section.lock());
  impl_->pushes.pump(section.lock());
}

void Client::link_down(const Error& why) {
  Section section(*impl_);
  impl_->link.down(why);
}

Bytes Client::next_output() {
  Section section(*impl_);
  impl_->stats.pump();
  impl_->listings.pump();
  impl_->comparing.pump();
  impl_->pulls.pump(section.lock());
  impl_->pushes.pump(section.lock());
  impl_->effects.wake = false;  // whoever asks for output is the one who would be woken
  return impl_->link.next_output();
}

bool Client::wants_close() const {
  Section section(*impl_);
  return impl_->link.wants_close();
}

Time Client::next_deadline() const {
  Section section(*impl_);
  const Impl& core = *impl_;
  return std::min({core.link.next_deadline(), core.waits.next_deadline(),
                   core.listings.next_deadline(), core.garbage.next_deadline(),
                   core.contents.next_deadline(), core.formers.next_deadline(), core.pulls.next_deadline(),
                   core.pushes.next_deadline(), core.transitions.next_deadline()});
}

void Client::advance() {
  Section section(*impl_);
  Lock& lock = section.lock();
  impl_->take_tree_effects();
  impl_->link.advance();
  impl_->contents.watch();
  impl_->contents.settle(lock);
  impl_->garbage.collect(lock);
  impl_->stats.pump();
  impl_->listings.pump();
  impl_->formers.pump(lock);
  impl_->pulls.pump(lock);
  impl_->pushes.pump(lock);
  impl_->transitions.advance(lock);
  impl_->waits.expire(impl_->now());
  if (!impl_->store->wants_checkpoint()) return;
  // What a checkpoint writes is slow; only its two ends need the lock.
  auto done = impl_->store->begin_checkpoint();
  if (done) {
    {
      const Unlocked open(lock);
      done = impl_->store->run_checkpoint();
    }
    if (auto ended = impl_->store->end_checkpoint(); done && !ended) done = ended;
  }
  if (!done) log_error("the store's checkpoint failed: {}", done.error().message());
}

void Client::hurry() {
  Section section(*impl_);
  impl_->contents.watch(true);
  impl_->pushes.hurry();
}

bool Client::quiet() const {
  Section section(*impl_);
  impl_->contents.look_at_all();
  if (!impl_->pushes.idle()) return false;
  bool waiting = false;
  impl_->tree->queue([&](const Queued& queued) {
    const auto node = impl_->tree->node(queued.node);
    waiting = node && !node->has(store::kError) && !impl_->pushes.blocked(queued.node);
    return !waiting;
  });
  return !waiting;
}

Ticket Client::Impl::when_listed(NodeId folder, std::function<void(const Result<>&)> work) {
  const auto known = tree->listed(folder);
  if (!known) return work(pass(known.error())), 0;
  const auto listed = [this, folder, work](const Result<>& result) {
    if (result) inodes.saw_names(folder);
    work(result);
  };
  if (*known) return listed({}), 0;
  const Ticket ticket = listings.wait(
      folder, [listed](Ticket, const Result<>& result) { listed(result); }, 0);
  return waits.waiting(ticket) ? ticket : 0;
}

Result<> Client::Impl::writable() const {
  if (options.read_only) return fail_errno(EROFS);
  return {};
}

}  // namespace ebb::fusefs
