#include "base/xattrs.h"

#include <cerrno>

namespace ebb {

Bytes pack_xattrs(const Xattrs& xattrs) {
  Bytes out;
  Writer writer(out);
  for (const auto& [name, value] : xattrs) {
    writer.short_text(name).long_bytes(as_bytes(value));
  }
  return out;
}

Result<Xattrs> unpack_xattrs(ByteView bytes) {
  Xattrs xattrs;
  if (bytes.size() > kXattrsMax) return fail_errno(EINVAL, "xattrs too long");
  Reader reader(bytes);
  while (reader.ok() && !reader.at_end()) {
    const std::string name(reader.short_text());
    const std::string value(as_text(reader.long_bytes()));
    if (name.empty() || name.size() > kXattrNameMax || value.size() > kXattrValueMax) {
      return fail_errno(EINVAL, "xattr out of bounds");
    }
    if (!xattrs.emplace(name, value).second) return fail_errno(EINVAL, "xattr twice");
  }
  if (!reader.ok()) return fail_errno(EINVAL, "xattrs cut short");
  return xattrs;
}

}  // namespace ebb
