#include "fusefs/core/core.h"

#include "base/log.h"

namespace ebb::fusefs {

Core::Core(ClientSeams client_seams, ClientOptions client_options)
    : seams(std::move(client_seams)),
      options(std::move(client_options)),
      content_files(seams.io, options.state_folder + "/content"),
      garbage(*this),
      contents(*this),
      link(*this),
      watching(*this),
      listings(*this),
      comparing(*this),
      stats(*this),
      kept_versions(*this),
      formers(*this),
      pulls(*this),
      neighbours(*this),
      pushes(*this),
      transitions(*this) {}

Result<> Core::start() {
  if (auto made = seams.io.make_folder(options.state_folder); !made) return made;
  store::StoreOptions store_options;
  store_options.purpose = "ebb mount";
  store_options.random = &seams.random;
  auto opened = store::Store::open(seams.io, options.state_folder + "/data", store_options);
  if (!opened) return pass(opened.error());
  store = std::move(*opened);
  if (auto done = settings.load(*store, seams.random); !done) return done;
  tree.emplace(TreeSeams{*store, seams.clock, [this](NodeId node) { return inodes.in_use(node); },
                         [this](NodeId node) { return inodes.open(node); },
                         [this](NodeId folder) { return inodes.names_seen(folder); }},
               TreeOptions{options.root, options.uid, options.gid, options.server_owners,
                           options.host_name, settings.client()});
  if (auto done = tree->start(); !done) return done;
  for (const NodeId node : tree->suspects()) contents.suspect(node);
  pushes.load();
  transitions.load();
  take_tree_effects();
  return {};
}

void Core::take_tree_effects() {
  // Detaching and the like may have effects of their own.
  for (int round = 0; round < 4; ++round) {
    TreeEffects next = tree->take_effects();
    for (const auto& [node, number] : next.outdated) formers.add(node, number);
    for (const auto number : next.contents_to_remove) {
      contents.dropped(number);
      garbage.add(number);
    }
    for (const auto node : next.replaced) contents.replaced(node);
    for (const auto node : next.content_changed) contents.revalidate(node);
    if (!next.wanted.empty()) pulls.background_changed(), effects.wake = true;
    for (const auto node : next.unsure) stats.want(node);
    for (const auto folder : next.unlisted) {
      if (link.ready()) listings.want(folder);
    }
    for (const auto node : next.to_list) listings.want(node), effects.wake = true;
    if (next.queue_changed) pushes.queue_changed();
    const auto notices = [this](NodeId about) -> auto& {
      return transitions.hushes(about) ? held_notices : effects.notices;
    };
    // What the kernel does not know cannot be wrong in its caches.
    for (const auto node : next.attributes_changed) {
      if (!inodes.in_use(node)) continue;
      notices(node).emplace_back([this, node] { seams.kernel.attributes_changed(node); });
    }
    for (const auto node : next.content_changed) {
      if (!inodes.in_use(node)) continue;
      inodes.pages_outdated(node);
      notices(node).emplace_back([this, node] { seams.kernel.attributes_changed(node); });
    }
    for (const auto& change : next.names_changed) {
      if (!inodes.in_use(change.folder)) continue;
      notices(change.folder).emplace_back([this, change] {
        seams.kernel.name_changed(change.folder, change.name);
      });
    }
    if (next.contents_to_remove.empty() && next.content_changed.empty()) break;
  }
}

void Core::release_held_notices() {
  for (auto& notice : std::exchange(held_notices, {})) {
    effects.notices.push_back(std::move(notice));
  }
}

void Core::run_slowly(Lock& lock, std::function<void(Lock&)> work) {
  const auto job = [this, work = std::move(work)] {
    Section section(*this);
    work(section.lock());
  };
  if (seams.executor != nullptr) return seams.executor->run(job, [] {});
  const Unlocked open(lock);
  job();
}

void Core::release_node(NodeId node) {
  contents.tidy(node);
  if (inodes.in_use(node)) return;
  if (auto done = tree->unused(node); !done && !is_errno(done.error(), ESTALE)) {
    log_warn("a node without a name stays behind: {}", done.error().message());
  }
}

Section::~Section() {
  for (const auto& work : std::exchange(core_.effects.later, {})) work();
  core_.take_tree_effects();
  const Effects effects = std::exchange(core_.effects, {});
  lock_.unlock();
  for (const auto& reply : effects.replies) reply();
  for (const auto& notice : effects.notices) notice();
  if (effects.wake && core_.seams.wake) core_.seams.wake();
}

}  // namespace ebb::fusefs
