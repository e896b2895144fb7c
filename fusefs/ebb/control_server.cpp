#include "fusefs/ebb/control_server.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include <asio/post.hpp>
#include <asio/read_until.hpp>
#include <asio/streambuf.hpp>
#include <asio/write.hpp>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "fusefs/ebb/control.h"

namespace ebb::fusefs {
namespace {

using Socket = asio::local::stream_protocol::socket;

Json error_json(const Error& error) {
  const bool number = error.code.category() == std::generic_category();
  return {{"error", error.message()}, {"errno", number ? error.code.value() : 0}};
}
Json error_json(std::string_view sentence, int number) {
  return {{"error", sentence}, {"errno", number}};
}

Json versions_json(const std::vector<KeptVersion>& versions) {
  Json list = Json::array();
  for (const auto& version : versions) {
    if (list.size() == kEntriesMax) break;
    list.push_back(to_json(version));
  }
  return {{"versions", list}};
}

bool may_speak(Socket& socket) {
  ucred who{};
  socklen_t size = sizeof who;
  if (::getsockopt(socket.native_handle(), SOL_SOCKET, SO_PEERCRED, &who, &size) != 0) return false;
  return who.uid == 0 || who.uid == ::getuid();
}

}  // namespace

/// One conversation: a request, its answer, the next request.
class ControlServer::Peer : public std::enable_shared_from_this<Peer> {
 public:
  Peer(ControlServer& server, Socket socket)
      : server_(&server),
        io_(server.io_),
        client_(server.client_),
        socket_(std::move(socket)),
        in_(kRequestMax) {}

  void start() { read(); }
  /// The server is going: nothing is called any more.
  void leave() {
    server_ = nullptr;
    give_up();
    asio::error_code ignored;
    socket_.close(ignored);
  }

 private:
  void read() {
    asio::async_read_until(
        socket_, in_, '\n',
        [self = shared_from_this()](const asio::error_code& error, std::size_t size) {
          if (error) return self->close();
          self->handle(size);
        });
  }

  void handle(std::size_t size) {
    if (!server_) return;
    const Json request = parse_json({static_cast<const char*>(in_.data().data()), size});
    in_.consume(size);
    try {
      if (!request.is_object()) return answer(error_json("not a request", EINVAL));
      dispatch(request.value("do", ""), request);
    } catch (const Json::exception&) {  // a member of another type than it should be
      answer(error_json("not a request", EINVAL));
    }
  }

  void dispatch(const std::string& what, const Json& request) {
    if (what == "mount") return answer(mount_json());
    if (what == "queue") return answer(queue_json());
    if (what == "history") return history(bytes_from_json(request.value("path", "")));
    if (what == "restore") {
      const Version version(request.value("version", std::uint64_t{0}));
      const std::string path = bytes_from_json(request.value("path", ""));
      return wait_for(
          [&](Reply<> reply) { return client_.restore(path, version, std::move(reply)); });
    }
    const auto node = client_.find(bytes_from_json(request.value("path", "")));
    if (!node) return answer(error_json(node.error()));
    if (what == "status") {
      const auto status = client_.status(*node);
      answer(status ? to_json(*status) : error_json(status.error()));
    } else if (what == "list") {
      list(*node, request.value("cookie", std::uint64_t{0}));
    } else if (what == "set") {
      const auto to = store::parse_status(request.value("to", ""));
      if (!to) return answer(error_json("not a status", EINVAL));
      wait_for([&](Reply<> reply) { return client_.set_status(*node, *to, std::move(reply)); });
    } else if (what == "pin") {
      const auto pin = store::parse_pin(request.value("pin", ""));
      if (!pin) return answer(error_json("not a pin", EINVAL));
      const auto done = client_.set_pin(*node, *pin);
      answer(done ? Json::object() : error_json(done.error()));
    } else if (what == "wait") {
      wait_for([&](Reply<> reply) { return client_.wait(*node, std::move(reply)); });
    } else {
      answer(error_json("not a request of this version", ENOSYS));
    }
  }

  Json mount_json() const {
    Json json = to_json(client_.status());
    json["mountpoint"] = bytes_to_json(server_->facts_.mountpoint);
    json["source"] = bytes_to_json(server_->facts_.source);
    json["state_folder"] = bytes_to_json(server_->facts_.state_folder);
    json["ending"] = server_->facts_.ending && server_->facts_.ending();
    return json;
  }

  Json queue_json() const {
    Json waiting = Json::array();
    for (const auto& item : client_.queue(kEntriesMax)) {
      waiting.push_back({{"path", bytes_to_json(item.path)},
                         {"seconds", std::chrono::duration<double>(item.age).count()}});
    }
    return {{"waiting", waiting}};
  }

  /// The folder may have to be asked for from the server first.
  void list(NodeId folder, std::uint64_t cookie) {
    ticket_ = client_.open_folder(
        folder, [self = shared_from_this(), cookie](const Result<Handle>& handle) {
          asio::post(self->io_, [self, cookie, handle] {
            self->ticket_ = 0;
            self->answer(handle ? self->page(*handle, cookie) : error_json(handle.error()));
            if (handle) self->client_.close_folder(*handle);
          });
        });
    watch();
  }

  /// Of a path that may name nothing now.
  void history(const std::string& path) {
    ticket_ = client_.history(
        path, [self = shared_from_this()](const Result<std::vector<KeptVersion>>& found) {
          asio::post(self->io_, [self, found] {
            self->ticket_ = 0;
            self->answer(found ? versions_json(*found) : error_json(found.error()));
          });
        });
    watch();
  }

  Json page(Handle handle, std::uint64_t cookie) {
    std::vector<FolderEntry> entries;
    std::uint64_t next = 0;
    auto visit = [&entries, &next](const FolderEntry& entry) {
      if (entries.size() == kEntriesMax) {
        next = entries.back().cookie;
        return false;
      }
      entries.push_back(entry);
      return true;
    };
    if (auto read = client_.read_folder(handle, cookie, false, visit); !read)
      return error_json(read.error());
    Json list = Json::array();
    for (const FolderEntry& entry : entries) {
      const auto status = client_.status(entry.attributes.node);
      if (!status) continue;  // gone meanwhile
      Json json = to_json(*status);
      json["name"] = bytes_to_json(entry.name);
      list.push_back(std::move(json));
    }
    return {{"entries", list}, {"next", next}};
  }

  template <class Begin>
  void wait_for(Begin begin) {
    ticket_ = begin([self = shared_from_this()](const Result<>& result) {
      asio::post(self->io_, [self, result] {
        self->ticket_ = 0;
        self->answer(result ? Json::object() : error_json(result.error()));
      });
    });
    watch();
  }

  /// While an operation runs: whoever asked may hang up.
  void watch() {
    busy_ = true;
    socket_.async_wait(Socket::wait_read,
                       [self = shared_from_this()](const asio::error_code& error) {
                         asio::error_code ignored;
                         if (self->busy_ && (error || self->socket_.available(ignored) == 0))
                           self->give_up();
                       });
  }

  void give_up() {
    if (ticket_ != 0) client_.interrupt(ticket_);
    ticket_ = 0;
  }

  void answer(const Json& json) {
    if (busy_) {
      busy_ = false;
      asio::error_code ignored;
      socket_.cancel(ignored);
    }
    out_ = to_line(json);
    asio::async_write(socket_, asio::buffer(out_),
                      [self = shared_from_this()](const asio::error_code& error, std::size_t) {
                        if (error) return self->close();
                        self->read();
                      });
  }

  void close() {
    asio::error_code ignored;
    socket_.close(ignored);
    if (server_) std::exchange(server_, nullptr)->gone(this);
  }

  ControlServer* server_;
  asio::io_context& io_;
  Client& client_;
  Socket socket_;
  asio::streambuf in_;
  std::string out_;
  Ticket ticket_ = 0;
  bool busy_ = false;
};

ControlServer::ControlServer(asio::io_context& io, Client& client, Facts facts)
    : io_(io),
      client_(client),
      facts_(std::move(facts)),
      path_(facts_.state_folder + "/" + std::string(kControlSocket)),
      acceptor_(io) {}

ControlServer::~ControlServer() {
  for (const auto& peer : peers_) peer->leave();
  if (acceptor_.is_open()) ::unlink(path_.c_str());
}

Outcome<std::unique_ptr<ControlServer>> ControlServer::listen(asio::io_context& io, Client& client,
                                                              Facts facts) {
  std::unique_ptr<ControlServer> server(new ControlServer(io, client, std::move(facts)));
  if (auto opened = server->open(); !opened) return tl::unexpected(opened.error());
  server->accept();
  return server;
}

Outcome<> ControlServer::open() {
  // A socket's address holds 107 bytes, a state folder's path may be longer: through /proc it is
  // short.
  const int folder = ::open(facts_.state_folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return refuse("{}: {}", facts_.state_folder, std::strerror(errno));
  ::unlink(path_.c_str());
  asio::error_code error;
  acceptor_.open({}, error);
  const mode_t before = ::umask(0177);
  if (!error) acceptor_.bind(fmt::format("/proc/self/fd/{}/{}", folder, kControlSocket), error);
  ::umask(before);
  ::close(folder);
  if (!error) acceptor_.listen(asio::socket_base::max_listen_connections, error);
  if (error) return refuse("{}: {}", path_, error.message());
  return {};
}

void ControlServer::accept() {
  acceptor_.async_accept([this](const asio::error_code& error, Socket socket) {
    if (error == asio::error::operation_aborted) return;  // `this` is gone
    if (!error && peers_.size() < kPeersMax && may_speak(socket)) {
      peers_.push_back(std::make_shared<Peer>(*this, std::move(socket)));
      peers_.back()->start();
    }
    accept();
  });
}

void ControlServer::gone(Peer* peer) {
  std::erase_if(peers_, [peer](const auto& p) { return p.get() == peer; });
}

}  // namespace ebb::fusefs
