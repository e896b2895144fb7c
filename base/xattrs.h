// A node's user xattrs as one byte string, the same on disk and on the wire: for each, sorted by name, u16
// name length, name, u32 value length, value; little-endian.  ebb-protocol(7), "Attributes".
#pragma once

#include <map>
#include <string>

#include "base/bytes.h"
#include "base/result.h"

namespace ebb {

using Xattrs = std::map<std::string, std::string>;

inline constexpr std::size_t kXattrNameMax = 255;
inline constexpr std::size_t kXattrValueMax = 64 * 1024;
/// All of a node's xattrs packed; as large as the kernel's own list limit and one value together.
inline constexpr std::size_t kXattrsMax = 128 * 1024;

Bytes pack_xattrs(const Xattrs& xattrs);
/// EINVAL for bytes that are not a packed list within the limits.
Result<Xattrs> unpack_xattrs(ByteView bytes);

}  // namespace ebb
