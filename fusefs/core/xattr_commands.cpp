#include "fusefs/core/xattr_commands.h"

#include <cerrno>

#include <sys/xattr.h>

#include "base/hash.h"
#include "fusefs/core/core.h"

namespace ebb::fusefs {
namespace {

constexpr std::string_view kUser = "user.";
constexpr std::string_view kOurs = "user.ebb.";
constexpr std::string_view kWords[] = {"status", "state", "progress", "version", "hash", "pin"};

bool starts_with(std::string_view text, std::string_view with) {
  return text.substr(0, with.size()) == with;
}

/// One trailing NUL or newline is forgiven.
std::string_view trimmed(std::string_view value) {
  if (!value.empty() && (value.back() == '\0' || value.back() == '\n')) value.remove_suffix(1);
  return value;
}

bool is_ours(std::string_view name) {
  if (!starts_with(name, kOurs)) return false;
  name.remove_prefix(kOurs.size());
  for (const auto word : kWords) {
    if (word == name) return true;
  }
  return false;
}

Result<std::string> our_value(Core& core, NodeId id, std::string_view which) {
  const auto node = core.tree->node(id);
  if (!node) return pass(node.error());
  if (which == "status") return std::string(word(node->status));
  if (which == "pin") return std::string(word(node->pin));
  if (which == "version") return std::to_string(node->content_base.value);
  if (which == "hash") return node->hash_known ? hex16(node->hash) : std::string{};
  if (which == "progress") {
    return std::to_string(bytes_here(core, id, *node)) + "/" + std::to_string(node->size);
  }
  const State state = core.tree->state(id, *node);
  std::string text(word(state));
  const bool may_have =
      state == State::error || state == State::conflict || state == State::waiting;
  std::string reason = may_have ? reason_of(core, id) : std::string{};
  if (reason.empty() && state == State::waiting) reason = core.pushes.why_waiting(id);
  if (!reason.empty()) text += " " + reason;
  return text;
}

/// Names that are not ours: whether there can be such an attribute at all.
Result<> ordinary(std::string_view name) {
  if (starts_with(name, kOurs)) return fail_errno(EPERM, "no such attribute of EbbFS");
  if (!starts_with(name, kUser) || name.size() == kUser.size()) return fail_errno(EOPNOTSUPP);
  return {};
}

Result<> set_pin(Core& core, NodeId node, std::string_view value) {
  const auto pin = store::parse_pin(value);
  if (!pin) return fail_errno(EINVAL, "keep, auto or inherit");
  return core.transitions.pin(node, *pin);
}

}  // namespace

std::vector<std::string> attribute_names() {
  std::vector<std::string> names;
  for (const auto word : kWords) names.push_back(std::string(kOurs) + std::string(word));
  return names;
}

std::string reason_of(Core& core, NodeId node) {
  if (auto becoming = core.transitions.reason(node); !becoming.empty()) return becoming;
  const auto text = core.store->text(node, store::Text::reason);
  return text ? std::string(as_text(*text)) : std::string{};
}

std::uint64_t bytes_here(Core& core, NodeId id, const store::Node& node) {
  if (node.kind != Kind::file) return node.size;
  if (const auto open = core.contents.find(id)) return open->bytes_here();
  if (node.has(store::kWhole) || node.size == 0) return node.size;
  if (node.content == 0) return 0;
  const auto text = core.store->text(id, store::Text::extents);
  if (!text || text->empty()) return 0;
  const auto extents = store::unpack_extents(*text);
  return extents ? extents->here().within({0, node.size}).total() : 0;
}

Result<std::string> get_attribute(Core& core, NodeId node, std::string_view name) {
  if (is_ours(name)) return our_value(core, node, name.substr(kOurs.size()));
  if (starts_with(name, kOurs)) return fail_errno(ENODATA);
  if (auto fine = ordinary(name); !fine) return pass(fine.error());
  const auto xattrs = core.tree->xattrs(node);
  if (!xattrs) return pass(xattrs.error());
  const auto it = xattrs->find(std::string(name));
  if (it == xattrs->end()) return fail_errno(ENODATA);
  return it->second;
}

Ticket set_attribute(Core& core, NodeId node, std::string_view name, std::string_view value,
                     int flags, Reply<> reply) {
  const auto answer = [&](Result<> result) -> Ticket {
    return core.answer(reply, std::move(result)), 0;
  };
  if (core.options.read_only) return answer(fail_errno(EROFS));
  if (!is_ours(name)) {
    if (auto fine = ordinary(name); !fine) return answer(std::move(fine));
    return answer(core.tree->set_xattr(node, name, value, flags));
  }
  // They are always there.
  if ((flags & XATTR_CREATE) != 0) return answer(fail_errno(EEXIST));
  const std::string_view which = name.substr(kOurs.size());
  if (which == "pin") return answer(set_pin(core, node, trimmed(value)));
  if (which != "status") return answer(fail_errno(EPERM, "it is told, not set"));
  const auto to = store::parse_status(trimmed(value));
  if (!to) return answer(fail_errno(EINVAL, "no such status"));
  return core.transitions.begin(node, *to, false, std::move(reply));
}

Result<> remove_attribute(Core& core, NodeId node, std::string_view name) {
  if (core.options.read_only) return fail_errno(EROFS);
  if (is_ours(name)) return fail_errno(EPERM);
  if (starts_with(name, kOurs)) return fail_errno(ENODATA);
  if (auto fine = ordinary(name); !fine) return fine;
  return core.tree->remove_xattr(node, name);
}

}  // namespace ebb::fusefs
