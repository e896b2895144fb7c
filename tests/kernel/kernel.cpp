#include "tests/kernel/kernel.h"

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>

#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/check.h"
#include "fusefs/fuse/libfuse.h"

namespace ebb::test {
namespace {

std::atomic<bool> broken = false;

ssize_t read_request(int fd, void* buffer, std::size_t size, void*) {
  return ::read(fd, buffer, size);
}

ssize_t write_answer(int fd, iovec* parts, int count, void*) {
  if (broken) {
    errno = ENOENT;  // what /dev/fuse says of a request that was aborted
    return -1;
  }
  return ::writev(fd, parts, count);
}

}  // namespace

Kernel::Kernel(fusefs::Client& client) {
  broken = false;
  std::array<int, 2> ends{};
  CHECK(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) == 0);
  ours_ = ends[0];
  auto session = fusefs::Session::create(client, notifier_, {.source = "test,\\source"});
  CHECK(session.has_value());
  session_ = std::move(*session);
  fuse_custom_io io{};
  io.read = read_request;
  io.writev = write_answer;
  CHECK(fuse_session_custom_io(session_->raw(), &io, ends[1]) == 0);
  initialise();
}

Kernel::~Kernel() {
  notifier_.stop();
  session_.reset();
  ::close(ours_);
}

fuse_session* Kernel::session() {
  return session_->raw();
}

void Kernel::initialise() {
  fuse_init_in in{};
  in.major = FUSE_KERNEL_VERSION;
  in.minor = FUSE_KERNEL_MINOR_VERSION;
  in.max_readahead = 128 * 1024;
  in.flags = ~0u;
  in.flags2 = 0;
  const Answer answer = ask(FUSE_INIT, 0, bytes(in));
  CHECK(answer.error == 0);
  agreed = answer.as<fuse_init_out>();
}

std::uint64_t Kernel::send(std::uint32_t opcode, std::uint64_t node, const Bytes& body) {
  fuse_in_header header{};
  header.len = static_cast<std::uint32_t>(sizeof header + body.size());
  header.opcode = opcode;
  header.unique = last_unique_ += 2;  // as the kernel does; odd ones are its interrupts
  header.nodeid = node;
  header.uid = uid;
  header.gid = uid;
  header.pid = 1;
  Bytes packet = bytes(header);
  packet.insert(packet.end(), body.begin(), body.end());
  send_raw(packet);
  return header.unique;
}

void Kernel::send_raw(const Bytes& packet) {
  CHECK(::send(ours_, packet.data(), packet.size(), 0) == static_cast<ssize_t>(packet.size()));
  process();
}

void Kernel::process() {
  fuse_buf buffer{};
  const int got = fuse_session_receive_buf(session_->raw(), &buffer);
  if (got > 0) fuse_session_process_buf(session_->raw(), &buffer);
  std::free(buffer.mem);
}

void Kernel::interrupt(std::uint64_t unique) {
  fuse_interrupt_in in{};
  in.unique = unique;
  send(FUSE_INTERRUPT, 0, bytes(in));
}

std::optional<Answer> Kernel::receive() {
  Bytes& packet = in_;
  const ssize_t size = ::recv(ours_, packet.data(), packet.size(), MSG_DONTWAIT);
  fuse_out_header header{};
  if (size < static_cast<ssize_t>(sizeof header)) return std::nullopt;
  std::memcpy(&header, packet.data(), sizeof header);
  CHECK(header.len == static_cast<std::uint32_t>(size));
  // A notification has its number where an answer has its error.
  return Answer{header.unique == 0 ? header.error : -header.error, header.unique,
                Bytes(packet.begin() + sizeof header, packet.begin() + size)};
}

Answer Kernel::ask(std::uint32_t opcode, std::uint64_t node, const Bytes& body) {
  const std::uint64_t unique = send(opcode, node, body);
  auto answer = receive();
  CHECK(answer.has_value());
  CHECK(answer->unique == unique);
  return *answer;
}

void Kernel::break_answers() {
  broken = true;
}

}  // namespace ebb::test
