#include "tests/kernel/fake_client.h"

#include <algorithm>
#include <cerrno>

#include <fmt/format.h>

#include "base/file_io.h"
#include "base/seams.h"

namespace ebb::test {
namespace {

std::unique_ptr<FakeCore> current;

class NoKernel : public fusefs::KernelCaches {
  void attributes_changed(NodeId) override {}
  void name_changed(NodeId, const std::string&) override {}
};

}  // namespace

FakeCore& fake_core() {
  return *current;
}

void FakeCore::note(std::string call) {
  std::lock_guard lock(mutex);
  calls.push_back(std::move(call));
}

bool FakeCore::called(const std::string& call) const {
  return std::find(calls.begin(), calls.end(), call) != calls.end();
}

void FakeCore::answer(fusefs::Ticket ticket, int with_error) {
  std::function<void(int)> reply;
  {
    std::lock_guard lock(mutex);
    auto node = held.extract(ticket);
    if (node.empty()) return;
    reply = std::move(node.mapped());
  }
  reply(with_error);
}

std::unique_ptr<fusefs::Client> make_fake_client() {
  static NoKernel kernel;
  current = std::make_unique<FakeCore>();
  fusefs::ClientSeams seams{system_clock(), system_file_io(), system_random(), kernel, [] {}};
  return std::move(*fusefs::Client::open(seams, {}));
}

}  // namespace ebb::test

namespace ebb::fusefs {
namespace {

using test::fake_core;

template <class T>
Result<T> result(const T& value) {
  if (fake_core().error != 0) return fail_errno(fake_core().error);
  return value;
}
Result<> done() {
  if (fake_core().error != 0) return fail_errno(fake_core().error);
  return {};
}

template <class T>
Ticket give(const Reply<T>& reply, const Result<T>& with) {
  auto& core = fake_core();
  Ticket ticket = 0;
  if (core.hold) {
    std::lock_guard lock(core.mutex);
    ticket = ++core.last_ticket;
    core.held[ticket] = [reply, with](int error) {
      if (error != 0) return reply(fail_errno(error));
      reply(with);
    };
  }
  if (core.inside) core.inside();
  if (ticket == 0) reply(with);
  return ticket;
}

template <class... Args>
void note(fmt::format_string<Args...> format, Args&&... args) {
  fake_core().note(fmt::format(format, std::forward<Args>(args)...));
}

std::string text(const AttributeChange& change) {
  std::string s;
  if (change.mode) s += fmt::format(" mode={:o}", *change.mode);
  if (change.uid) s += fmt::format(" uid={}", *change.uid);
  if (change.gid) s += fmt::format(" gid={}", *change.gid);
  if (change.size) s += fmt::format(" size={}", *change.size);
  if (change.mtime) s += fmt::format(" mtime={}", *change.mtime);
  if (change.atime) s += fmt::format(" atime={}", *change.atime);
  return s;
}
std::string text(const Maker& maker) {
  return fmt::format("by {}:{}", maker.uid, maker.gid);
}

}  // namespace

struct Client::Impl {};

Client::Client(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Client::~Client() = default;
Result<std::unique_ptr<Client>> Client::open(ClientSeams, ClientOptions) {
  return std::unique_ptr<Client>(new Client(std::make_unique<Impl>()));
}

Ticket Client::lookup(NodeId folder, std::string_view name, Reply<Attributes> reply) {
  note("lookup {} {}", folder.value, name);
  return give(reply, result(fake_core().attributes));
}
void Client::forget(NodeId node, std::uint64_t lookups) {
  note("forget {} {}", node.value, lookups);
}
Result<Attributes> Client::attributes(NodeId node) {
  note("attributes {}", node.value);
  return result(fake_core().attributes);
}
Result<Attributes> Client::attributes(NodeId node, Handle handle) {
  note("attributes {} handle {}", node.value, handle);
  return result(fake_core().attributes);
}
Ticket Client::set_attributes(NodeId node, std::optional<Handle> handle,
                              const AttributeChange& change, Reply<Attributes> reply) {
  note("set_attributes {}{}{}", node.value, handle ? fmt::format(" handle {}", *handle) : "",
       text(change));
  return give(reply, result(fake_core().attributes));
}
Ticket Client::make_folder(NodeId folder, std::string_view name, std::uint32_t mode, Maker maker,
                           Reply<Attributes> reply) {
  note("make_folder {} {} {:o} {}", folder.value, name, mode, text(maker));
  return give(reply, result(fake_core().attributes));
}
Ticket Client::make_symlink(NodeId folder, std::string_view name, std::string_view target,
                            Maker maker, Reply<Attributes> reply) {
  note("make_symlink {} {} -> {} {}", folder.value, name, target, text(maker));
  return give(reply, result(fake_core().attributes));
}
Ticket Client::make_special(NodeId folder, std::string_view name, Kind kind, std::uint64_t device,
                            std::uint32_t mode, Maker maker, Reply<Attributes> reply) {
  note("make_special {} {} kind {} {} {:o} {}", folder.value, name, static_cast<int>(kind), device,
       mode, text(maker));
  return give(reply, result(fake_core().attributes));
}
Ticket Client::create(NodeId folder, std::string_view name, std::uint32_t mode, int flags,
                      Maker maker, Reply<Created> reply) {
  note("create {} {} {:o} flags {:o} {}", folder.value, name, mode, flags, text(maker));
  return give(reply, result(Created{fake_core().attributes, fake_core().open}));
}
void Client::create_nameless(NodeId folder, std::uint32_t mode, int flags, Maker maker,
                             Reply<Created> reply) {
  note("create_nameless {} {:o} flags {:o} {}", folder.value, mode, flags, text(maker));
  give(reply, result(Created{fake_core().attributes, fake_core().open}));
}
Ticket Client::link(NodeId node, NodeId folder, std::string_view name, Reply<Attributes> reply) {
  note("link {} {} {}", node.value, folder.value, name);
  return give(reply, result(fake_core().attributes));
}
Ticket Client::unlink(NodeId folder, std::string_view name, Reply<> reply) {
  note("unlink {} {}", folder.value, name);
  return give(reply, done());
}
Ticket Client::remove_folder(NodeId folder, std::string_view name, Reply<> reply) {
  note("remove_folder {} {}", folder.value, name);
  return give(reply, done());
}
Ticket Client::rename(NodeId from, std::string_view name, NodeId to, std::string_view new_name,
                      unsigned flags, Reply<> reply) {
  note("rename {} {} {} {} flags {}", from.value, name, to.value, new_name, flags);
  return give(reply, done());
}
Result<std::string> Client::read_symlink(NodeId node) {
  note("read_symlink {}", node.value);
  return result(fake_core().text);
}

Ticket Client::open_folder(NodeId folder, Reply<Handle> reply) {
  note("open_folder {}", folder.value);
  return give(reply, result(fake_core().open.handle));
}
Result<> Client::read_folder(Handle handle, std::uint64_t cookie, bool count_lookups,
                             const std::function<bool(const FolderEntry&)>& visit) {
  note("read_folder {} {}{}", handle, cookie, count_lookups ? " counted" : "");
  for (const FolderEntry& entry : fake_core().entries) {
    if (entry.cookie > cookie && !visit(entry)) break;
  }
  return done();
}
void Client::close_folder(Handle handle) {
  note("close_folder {}", handle);
}

Ticket Client::open(NodeId node, int flags, Reply<OpenFile> reply) {
  note("open {} {:o}", node.value, flags);
  return give(reply, result(fake_core().open));
}
Ticket Client::read(Handle handle, std::uint64_t offset, std::size_t size, Reply<Piece> reply) {
  note("read {} {} {}", handle, offset, size);
  return give(reply, result(fake_core().piece));
}
Result<std::size_t> Client::write(Handle handle, std::uint64_t offset, ByteView bytes,
                                  bool append) {
  note("write {} {} {}{}", handle, offset, as_text(bytes), append ? " append" : "");
  return result(bytes.size());
}
Result<> Client::flush(Handle handle) {
  note("flush {}", handle);
  return done();
}
Ticket Client::fsync(Handle handle, bool data_only, Reply<> reply) {
  note("fsync {}{}", handle, data_only ? " data" : "");
  return give(reply, done());
}
Ticket Client::fsync_folder(Handle handle, Reply<> reply) {
  note("fsync_folder {}", handle);
  return give(reply, done());
}
void Client::release(Handle handle) {
  note("release {}", handle);
}
Result<> Client::allocate(Handle handle, int mode, std::uint64_t offset, std::uint64_t length) {
  note("allocate {} {} {} {}", handle, mode, offset, length);
  return done();
}
Result<std::uint64_t> Client::seek(Handle handle, std::uint64_t offset, int whence) {
  note("seek {} {} {}", handle, offset, whence);
  return result(fake_core().number);
}
SpaceFigures Client::space() {
  return fake_core().space;
}

Result<std::string> Client::get_xattr(NodeId node, std::string_view name) {
  note("get_xattr {} {}", node.value, name);
  return result(fake_core().text);
}
Result<std::vector<std::string>> Client::list_xattrs(NodeId node) {
  note("list_xattrs {}", node.value);
  return result(fake_core().names);
}
Ticket Client::set_xattr(NodeId node, std::string_view name, std::string_view value, int flags,
                         Reply<> reply) {
  note("set_xattr {} {}={} flags {}", node.value, name, value, flags);
  return give(reply, done());
}
Result<> Client::remove_xattr(NodeId node, std::string_view name) {
  note("remove_xattr {} {}", node.value, name);
  return done();
}

void Client::interrupt(Ticket ticket) {
  note("interrupt {}", ticket);
  fake_core().answer(ticket, EINTR);
}

}  // namespace ebb::fusefs
