#include "store/names_summary.h"

#include <algorithm>

#include "base/bytes.h"
#include "store/fsmap.h"

namespace ebb::store {
namespace {

/// The digest is of the name and, behind it, these.
struct KnownFacts {
  Le<std::uint64_t> entry;
  Le<std::uint64_t> content;
  Le<std::uint64_t> attributes;
  Le<std::uint8_t> kind;
};
static_assert(sizeof(KnownFacts) == 25 && alignof(KnownFacts) == 1);
static_assert(std::has_unique_object_representations_v<KnownFacts>);

}  // namespace

Digest NamesSummary::finish() {
  std::sort(names_.begin(), names_.end(),
            [](const KnownName& a, const KnownName& b) { return a.name < b.name; });
  DigestStream stream(DigestKind::xxh3);
  Summary summary(DigestKind::xxh3);
  for (const KnownName& known : names_) {
    KnownFacts facts;
    facts.entry = known.entry.value;
    facts.content = known.content.value;
    facts.attributes = known.attributes.value;
    facts.kind = known.kind;
    stream.update(as_bytes(known.name));
    stream.update(bytes_of(facts));
    summary.add(stream.finish());
  }
  names_.clear();
  return summary.finish();
}

}  // namespace ebb::store
