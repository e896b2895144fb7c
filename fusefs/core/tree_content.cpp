// What the content layer reports, and attributes.
#include <cerrno>

#include <sys/xattr.h>

#include "fusefs/core/access_times.h"
#include "fusefs/core/tree_edit.h"

namespace ebb::fusefs {

using store::Node;
using store::Table;
using store::Text;

namespace {

void wake_above(Edit& edit, NodeId id) {
  for (const auto& name : edit.names(id)) {
    if (name.local == id) wake_folder(edit, name.folder);
  }
}

void mark_attributes(Edit& edit, NodeId id, Node& n) {
  n.ctime = edit.wall();
  ++n.attributes_local;
  if (!is_synced(n.status)) return;
  n.set(store::kAttributesDirty);
  edit.changed(id);
}

}  // namespace

void content_written(Edit& edit, NodeId id, std::uint64_t size, std::optional<WallNs> mtime) {
  const auto before = edit.node(id);
  if (before.kind != Kind::file) refuse(EINVAL, "no file");
  auto after = before;
  after.size = size;
  after.ctime = edit.wall();
  after.mtime = mtime.value_or(after.ctime);
  after.hash_known = false;
  ++after.content_local;
  if (after.status == Status::remote) after.status = Status::sync;
  if (is_synced(after.status)) after.set(store::kContentDirty);
  // An error of the push before may be none for what is there now.
  after.set(store::kError, false);
  edit.save(id, before, after);
  if (before.has(store::kError)) edit.set_text(id, Text::reason, {});
  if (before.status == Status::remote) wake_above(edit, id);
  if (is_synced(after.status)) edit.changed(id);
}

void set_here(Edit& edit, NodeId id, ByteView extents, bool whole, bool settled) {
  const auto before = edit.node(id);
  auto after = before;
  after.set(store::kWhole, whole);
  after.set(store::kVolatile, !settled);
  const bool becomes_sync = whole && after.status == Status::remote;
  if (becomes_sync) after.status = Status::sync;
  if (whole) after.set(store::kPulling, false);
  edit.save(id, before, after);
  edit.set_text(id, Text::extents, extents);
  if (whole && before.has(store::kPulling)) edit.erase_cell(Table::pulls, 0, id.index());
  if (settled) {
    if (before.has(store::kVolatile)) {
      edit.erase_cell(Table::unsettled, kUnsettledTable, id.index());
    }
  } else if (!before.has(store::kVolatile)) {
    edit.put_cell(Table::unsettled, kUnsettledTable, id.index(), id);
  }
  if (becomes_sync) wake_above(edit, id);
}

void empty_content(Edit& edit, NodeId id) {
  content_written(edit, id, 0);
  edit.drop_content(id);
  set_here(edit, id, {}, true, true);
}

bool content_lost(Edit& edit, NodeId id) {
  const auto node = edit.node(id);
  if (!node.entry || !is_synced(node.status) || node.has(store::kContentDirty)) {
    error_at(edit, id, "its content file is lost, and the server does not have this content");
    return false;
  }
  edit.drop_content(id);
  if (node.status == Status::sync) edit.want_content(id);
  edit.touch(id);
  return true;
}

void set_open_for_write(Edit& edit, NodeId id, bool on) {
  if (edit.node(id).has(store::kOpenForWrite) == on) return;
  edit.change(id, [&](Node& n) { n.set(store::kOpenForWrite, on); });
  if (on) return edit.put_cell(Table::unsettled, kOpenForWriteTable, id.index(), id);
  edit.erase_cell(Table::unsettled, kOpenForWriteTable, id.index());
}

// ---- attributes

namespace {

/// With the mounting user's owner on everything, chown to what is so already succeeds.
void check_owner(const TreeOptions& options, const AttributeChange& change) {
  if (options.server_owners) return;
  if (change.uid && *change.uid != options.uid) refuse(EPERM, "owners are the mounting user's");
  if (change.gid && *change.gid != options.gid) refuse(EPERM, "owners are the mounting user's");
}

}  // namespace

void set_attributes(Edit& edit, NodeId id, const AttributeChange& change) {
  check_owner(edit.core.options, change);
  const auto before = edit.node(id);
  auto after = before;
  if (change.mode) after.mode = *change.mode & 07777;
  if (change.uid && edit.core.options.server_owners) after.uid = *change.uid;
  if (change.gid && edit.core.options.server_owners) after.gid = *change.gid;
  if (change.mtime) after.mtime = *change.mtime;
  change_access_time(edit, id, change, before, after);
  const bool access_alone =
      change.atime && !change.mode && !change.uid && !change.gid && !change.mtime;
  if (access_alone) {
    after.ctime = edit.wall();
  } else {
    mark_attributes(edit, id, after);
  }
  edit.save(id, before, after);
}

namespace {

constexpr std::string_view kUserPrefix = "user.";
constexpr std::string_view kOwnPrefix = "user.ebb.";

void check_xattr(const std::string& name) {
  if (!name.starts_with(kUserPrefix)) refuse(EOPNOTSUPP, "only user attributes");
  if (name.starts_with(kOwnPrefix)) refuse(EPERM, "answered by EbbFS itself");
  if (name.size() > kXattrNameMax) refuse(ERANGE);
}

Xattrs xattrs_of(Edit& edit, NodeId id) {
  return need(unpack_xattrs(need(edit.core.store().text(id, Text::xattrs))));
}

void put_xattrs(Edit& edit, NodeId id, const Xattrs& xattrs) {
  const auto packed = pack_xattrs(xattrs);
  if (packed.size() > kXattrsMax) refuse(ENOSPC, "too many attributes");
  edit.set_text(id, Text::xattrs, packed);
  edit.change(id, [&](Node& n) { mark_attributes(edit, id, n); });
}

}  // namespace

void set_xattr(Edit& edit, NodeId id, const std::string& name, std::string_view value, int flags) {
  check_xattr(name);
  if (value.size() > kXattrValueMax) refuse(E2BIG);
  auto xattrs = xattrs_of(edit, id);
  const bool there = xattrs.contains(name);
  if (there && flags == XATTR_CREATE) refuse(EEXIST);
  if (!there && flags == XATTR_REPLACE) refuse(ENODATA);
  xattrs[name] = std::string(value);
  put_xattrs(edit, id, xattrs);
}

void remove_xattr(Edit& edit, NodeId id, const std::string& name) {
  check_xattr(name);
  auto xattrs = xattrs_of(edit, id);
  if (xattrs.erase(name) == 0) refuse(ENODATA);
  put_xattrs(edit, id, xattrs);
}

}  // namespace ebb::fusefs
