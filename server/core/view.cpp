#include "server/core/view.h"

#include <algorithm>
#include <type_traits>

#include "base/hash.h"
#include "proto/errors.h"

namespace ebb::server {

using proto::ChangeKind;

namespace {

/// An id that no entry ever has: a NodeId's highest bit is clear.
constexpr EntryId kNowhere{~std::uint64_t{0}};

/// Those that name no entry and no path.
template <class T>
constexpr bool kNamesNothing =
    std::is_same_v<T, proto::FileSyncData> || std::is_same_v<T, proto::FileSyncCheckHash> ||
    std::is_same_v<T, proto::FileSyncInitResponse> ||
    std::is_same_v<T, proto::FileSyncCheckHashResponse> ||
    std::is_same_v<T, proto::FileSyncFinish> || std::is_same_v<T, proto::Cancel> ||
    std::is_same_v<T, proto::Watch> || std::is_same_v<T, proto::StatFs> ||
    std::is_same_v<T, proto::ErrorMessage>;

template <class T>
constexpr bool kIsOfMap = requires(T message, proto::FsmapOf of) {
  message.of = of;
};
template <class T>
constexpr bool kHasSentence = requires(T message) {
  message.sentence;
};
template <class T>
constexpr bool kHasEntryId = requires(T message, EntryId id) {
  message.entry = id;
};

}  // namespace

TreeId View::tree_id(const TreeId& whole_tree) const {
  if (whole()) return whole_tree;
  Bytes text(whole_tree.bytes.size());
  std::memcpy(text.data(), whole_tree.bytes.data(), text.size());
  for (std::uint64_t rest = top_.value, i = 0; i < 8; ++i, rest >>= 8) {
    text.push_back(static_cast<std::byte>(rest & 0xff));
  }
  const auto hash = sha256(text);
  TreeId id;
  std::copy_n(hash.begin(), id.bytes.size(), id.bytes.begin());
  return id;
}

// ---- what is asked

void View::in(EntryId& id) const {
  if (!id) return;
  if (id == kRootEntry) {
    id = EntryId{top_.value};
  } else if (!tree_->within(top_, NodeId{id.value})) {
    id = kNowhere;
  }
}

void View::in_path(std::string& path) const {
  if (!path.empty()) path = prefix() + path;
}

Result<> View::inward(proto::Body& request) const {
  if (whole()) return {};
  bool known = true;
  std::visit(
      [&](auto& m) {
        using T = std::decay_t<decltype(m)>;
        if constexpr (std::is_same_v<T, proto::FileSyncInit>) {
          in(m.entry);
          in(m.place);
        } else if constexpr (std::is_same_v<T, proto::FileSyncDelta>) {
          in(m.init.entry);
          in(m.init.place);
          in(m.source);
        } else if constexpr (std::is_same_v<T, proto::Mutate>) {
          in(m.entry);
          in(m.other);
          in(m.from);
          in(m.place);
        } else if constexpr (std::is_same_v<T, proto::Pull> || std::is_same_v<T, proto::Stat> ||
                             std::is_same_v<T, proto::Chunks>) {
          in(m.entry);
        } else if constexpr (std::is_same_v<T, proto::List>) {
          in(m.folder);
        } else if constexpr (std::is_same_v<T, proto::History> ||
                             std::is_same_v<T, proto::Restore>) {
          in(m.entry);
          in_path(m.path);
        } else if constexpr (kIsOfMap<T>) {
          if (!m.of.folder) m.of.folder = kRootEntry;
          in(m.of.folder);
        } else if constexpr (std::is_same_v<T, proto::Compare>) {
          for (auto& known_of : m.folders) in(known_of.folder);
        } else {
          known = kNamesNothing<T>;
        }
      },
      request);
  if (!known) return fail(proto::Errc::not_supported, "not within a part of a tree");
  return {};
}

// ---- what is told

bool View::holds(EntryId id) const {
  return id.value == top_.value || tree_->within(top_, NodeId{id.value});
}

void View::out(EntryId& id) const {
  if (id.value == top_.value) id = kRootEntry;
}

bool View::out(proto::Change& change, ClientId peer) const {
  const bool inside =
      holds(change.kind == ChangeKind::entry_changed ? change.entry.id : change.place.folder);
  if (!inside) return false;
  out(change.place.folder);
  out(change.entry.id);
  // Whoever knew another client's id could ask in its name.
  if (change.by != peer) {
    change.by = {};
    change.operation = {};
  }
  return true;
}

std::string View::prefix() const {
  const auto folder = tree_->folder(top_);
  return folder ? folder->path + "/" : "/";
}

bool View::shows(const std::string& path) const {
  return whole() || path.starts_with(prefix());
}

void View::out(proto::HistoryPage& page, ClientId peer) const {
  const std::string before = prefix();
  std::erase_if(page.versions, [&](const auto& kept) { return !kept.path.starts_with(before); });
  for (auto& kept : page.versions) {
    kept.path.erase(0, before.size());
    if (kept.by != peer) kept.by = {};
  }
}

bool View::outward(proto::Body& answer, ClientId peer) const {
  if (whole()) return true;
  return std::visit(
      [&](auto& m) {
        using T = std::decay_t<decltype(m)>;
        // A sentence may have a path or an id in it; the code says enough.
        if constexpr (kHasSentence<T>) m.sentence.clear();
        if constexpr (std::is_same_v<T, proto::Change>) {
          return out(m, peer);
        } else if constexpr (std::is_same_v<T, proto::HistoryPage>) {
          out(m, peer);
        } else if constexpr (std::is_same_v<T, proto::ListPage>) {
          out(m.folder);
        } else if constexpr (std::is_same_v<T, proto::CompareResponse>) {
          for (auto& folder : m.different) out(folder);
        } else if constexpr (std::is_same_v<T, proto::StatResponse>) {
          out(m.entry.id);
        } else if constexpr (kHasEntryId<T>) {
          out(m.entry);
        }
        return true;
      },
      answer);
}

}  // namespace ebb::server
