// The kernel's end of a FUSE connection, played by a test over a socket pair: no mount, no
// /dev/fuse, no root.
#pragma once

#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <linux/fuse.h>

#include "base/bytes.h"
#include "fusefs/core/client.h"
#include "fusefs/fuse/session.h"

struct fuse_session;

namespace ebb::test {

/// What came back: an error (positive errno), or the bytes behind the header.
struct Answer {
  int error = 0;
  std::uint64_t unique = 0;
  Bytes body;

  template <class T>
  T as(std::size_t at = 0) const {
    T value{};
    if (body.size() >= at + sizeof value) std::memcpy(&value, body.data() + at, sizeof value);
    return value;
  }
  std::string text() const { return std::string(as_text(body)); }
};

/// Requests are processed inside send(), on the test's thread.  INIT has been exchanged.
class Kernel {
 public:
  explicit Kernel(fusefs::Client& client);
  ~Kernel();

  /// Gives the request's number.  The body is what follows the header.
  std::uint64_t send(std::uint32_t opcode, std::uint64_t node, const Bytes& body = {});
  /// The same with a header as it is given, whatever it says.
  void send_raw(const Bytes& packet);
  void interrupt(std::uint64_t unique);
  /// The next answer or notification (unique 0), none when there is none now.
  std::optional<Answer> receive();
  /// send and receive.
  Answer ask(std::uint32_t opcode, std::uint64_t node, const Bytes& body = {});
  /// From now on answers cannot be delivered.
  void break_answers();

  fusefs::KernelNotifier& notifier() { return notifier_; }
  fuse_session* session();
  fuse_init_out agreed{};
  std::uint32_t uid = 1000;

 private:
  void initialise();
  void process();

  fusefs::KernelNotifier notifier_;
  std::unique_ptr<fusefs::Session> session_;
  int ours_ = -1;
  Bytes in_ = Bytes(2u << 20);  // the longest answer
  std::uint64_t last_unique_ = 0;
};

/// Structs and strings (with their NUL) behind each other.
template <class... Parts>
Bytes bytes(const Parts&... parts) {
  Bytes all;
  auto add = [&all](const auto& part) {
    using Part = std::decay_t<decltype(part)>;
    if constexpr (std::is_convertible_v<Part, std::string_view>) {
      const std::string text(part);
      const ByteView view = as_bytes(std::string_view(text.c_str(), text.size() + 1));
      all.insert(all.end(), view.begin(), view.end());
    } else {
      const ByteView view = bytes_of(part);
      all.insert(all.end(), view.begin(), view.end());
    }
  };
  (add(parts), ...);
  return all;
}

}  // namespace ebb::test
