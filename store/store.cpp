// Opening and reading; changing is in transaction.cpp, durability in checkpoint.cpp and
// journal.cpp.
#include "store/store.h"

#include "base/check.h"
#include "store/store_impl.h"

namespace ebb::store {

Store::Store(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Store::~Store() = default;

Result<std::unique_ptr<Store>> Store::open(FileIo& io, const std::string& folder,
                                           const StoreOptions& options) {
  auto impl = std::make_unique<Impl>(io, folder, options);
  if (auto r = impl->open(); !r) return pass(r.error());
  return std::unique_ptr<Store>(new Store(std::move(impl)));
}

TreeId Store::tree() const {
  return impl_->tree_id;
}
bool Store::rebooted() const {
  return impl_->rebooted;
}
std::uint64_t Store::sequence() const {
  return impl_->live.sequence;
}

Result<Node> Store::node(NodeId id) const {
  return impl_->nodes.get(id);
}

Result<Name> Store::name(NodeId folder, std::string_view name) const {
  return impl_->names.get(folder, name);
}

Result<Name> Store::name_at(NodeId folder, std::uint64_t cookie) const {
  return impl_->names.at(folder, cookie);
}

Result<> Store::list(NodeId folder, std::uint64_t after,
                     const std::function<bool(const Name&)>& visit) const {
  if (auto record = impl_->nodes.record(folder); !record) return pass(record.error());
  std::optional<Error> error;
  auto r = impl_->tree.scan({folder.value, after + 1}, [&](std::uint64_t cookie, const Cell& cell) {
    auto name = impl_->names.decode(folder, cookie, cell);
    if (!name) {
      error = name.error();
      return false;
    }
    return visit(*name);
  });
  if (error) return pass(*error);
  return r;
}

Result<std::vector<Name>> Store::names_of(NodeId id) const {
  return impl_->names.of(id);
}
Result<Bytes> Store::text(NodeId id, Text which) const {
  return impl_->nodes.text(id, which);
}

Result<std::optional<Cell>> Store::cell(Table table, std::uint64_t argument,
                                        std::uint64_t key) const {
  return impl_->tree.find({owner_of(table, argument), key});
}

Result<> Store::scan(Table table, std::uint64_t argument, std::uint64_t from,
                     const std::function<bool(std::uint64_t key, const Cell&)>& visit) const {
  return impl_->tree.scan({owner_of(table, argument), from}, visit);
}

Store::Figures Store::figures() const {
  Figures out;
  out.nodes = impl_->live.nodes;
  out.names = impl_->live.names;
  out.bytes_on_disk = impl_->pages.bytes_on_disk() + impl_->journal->bytes();
  out.overlay_bytes = impl_->pages.overlay_bytes();
  out.journal_bytes = impl_->journal->bytes();
  return out;
}

}  // namespace ebb::store
