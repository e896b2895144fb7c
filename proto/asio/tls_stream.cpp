#include "proto/asio/tls_stream.h"

#include <cerrno>

#include <asio/post.hpp>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <sys/socket.h>

#include "base/check.h"

namespace ebb::proto {

namespace {

int append(BIO* bio, const char* data, std::size_t size, std::size_t* written) {
  const auto bytes = std::as_bytes(std::span(data, size));
  auto& out = *static_cast<Bytes*>(BIO_get_data(bio));
  out.insert(out.end(), bytes.begin(), bytes.end());
  *written = size;
  return 1;
}

/// A BIO whose bytes wait in a Bytes of ours.
BIO* new_appender(Bytes& out) {
  static BIO_METHOD* const method = [] {
    BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "bytes");
    CHECK(made != nullptr);
    BIO_meth_set_write_ex(made, append);
    BIO_meth_set_ctrl(made, [](BIO*, int command, long, void*) {
      return static_cast<long>(command == BIO_CTRL_FLUSH);
    });
    return made;
  }();
  BIO* bio = BIO_new(method);
  CHECK(bio != nullptr);
  BIO_set_data(bio, &out);
  BIO_set_init(bio, 1);
  return bio;
}

}  // namespace

TlsStream::TlsStream(Socket socket, asio::ssl::context& context)
    : socket_(std::move(socket)), ssl_(SSL_new(context.native_handle())) {
  CHECK(ssl_ != nullptr);
  asio::error_code ignored;
  socket_.non_blocking(true, ignored);
  SSL_set_read_ahead(ssl_.get(), 1);
  SSL_set_default_read_buffer_len(ssl_.get(), kReadAhead);
  BIO* in = BIO_new_socket(socket_.native_handle(), BIO_NOCLOSE);
  CHECK(in != nullptr);
  SSL_set_bio(ssl_.get(), in, new_appender(out_));
}

void TlsStream::set_verify_callback(Verify verify) {
  verify_ = std::move(verify);
  SSL_set_app_data(ssl_.get(), this);
  SSL_set_verify(ssl_.get(), SSL_get_verify_mode(ssl_.get()), [](int, X509_STORE_CTX* store) {
    void* ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    const auto* self = static_cast<TlsStream*>(SSL_get_app_data(static_cast<SSL*>(ssl)));
    asio::ssl::verify_context shown(store);
    return static_cast<int>(self->verify_(shown));
  });
}

void TlsStream::async_handshake(Role role, std::function<void(const asio::error_code&)> done) {
  role == client ? SSL_set_connect_state(ssl_.get()) : SSL_set_accept_state(ssl_.get());
  asio::post(get_executor(), [this, done = std::move(done)]() mutable { shake(std::move(done)); });
}

/// One step, and what it has to say; a refusal says why before it ends.
void TlsStream::shake(std::function<void(const asio::error_code&)> done) {
  if (!socket_.is_open()) return done(asio::error::operation_aborted);
  ERR_clear_error();
  const int result = SSL_do_handshake(ssl_.get());
  const auto error = result == 1 ? asio::error_code() : failure(result);
  flush([this, result, error, done = std::move(done)](const asio::error_code& lost) mutable {
    if (error && error != asio::error::would_block) return done(error);
    if (result == 1 || lost) return done(lost);
    socket_.async_wait(Socket::wait_read,
                       [this, done = std::move(done)](const asio::error_code& end) mutable {
                         if (end) return done(end);
                         shake(std::move(done));
                       });
  });
}

void TlsStream::async_read_some(std::span<std::byte> into, Handler done) {
  asio::error_code error;
  const std::size_t n = read_now(into, error);
  if (n != 0 || error != asio::error::would_block) {
    return asio::post(get_executor(), [n, error, done = std::move(done)] {
      done(n != 0 ? asio::error_code() : error, n);
    });
  }
  socket_.async_wait(Socket::wait_read,
                     [this, into, done = std::move(done)](const asio::error_code& end) mutable {
                       if (end) return done(end, 0);
                       asio::error_code failed;
                       const std::size_t got = read_now(into, failed);
                       // Part of a record, perhaps.
                       if (got == 0 && failed == asio::error::would_block) {
                         return async_read_some(into, std::move(done));
                       }
                       done(got != 0 ? asio::error_code() : failed, got);
                     });
}

/// An error behind bytes comes again at the next call.
std::size_t TlsStream::read_now(std::span<std::byte> into, asio::error_code& error) {
  if (!socket_.is_open()) return error = asio::error::operation_aborted, 0;
  std::size_t all = 0;
  while (all < into.size()) {
    ERR_clear_error();
    std::size_t n = 0;
    const int result = SSL_read_ex(ssl_.get(), into.data() + all, into.size() - all, &n);
    if (result != 1) return error = failure(result), all;
    all += n;
  }
  return all;
}

void TlsStream::async_write(ByteView bytes, Handler done) {
  asio::error_code error = asio::error::operation_aborted;
  std::size_t n = 0;
  if (socket_.is_open()) {
    ERR_clear_error();
    const int result = SSL_write_ex(ssl_.get(), bytes.data(), bytes.size(), &n);
    error = result == 1 ? asio::error_code() : failure(result);
  }
  if (error) {
    return asio::post(get_executor(), [error, done = std::move(done)] { done(error, 0); });
  }
  flush([n, done = std::move(done)](const asio::error_code& lost) { done(lost, lost ? 0 : n); });
}

void TlsStream::flush(std::function<void(const asio::error_code&)> done) {
  asio::error_code error;
  if (flush_now(error) || error) {
    return asio::post(get_executor(), [error, done = std::move(done)] { done(error); });
  }
  socket_.async_wait(Socket::wait_write,
                     [this, done = std::move(done)](const asio::error_code& end) mutable {
                       if (end) return done(end);
                       flush(std::move(done));
                     });
}

/// False: the socket takes no more now, or an error.
bool TlsStream::flush_now(asio::error_code& error) {
  while (sent_ < out_.size()) {
    const ssize_t n =
        ::send(socket_.native_handle(), out_.data() + sent_, out_.size() - sent_, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return false;
    if (n < 0) return error.assign(errno, asio::error::get_system_category()), false;
    sent_ += static_cast<std::size_t>(n);
  }
  out_.clear();
  sent_ = 0;
  return true;
}

/// Of the call just made: would_block where more has to arrive.
asio::error_code TlsStream::failure(int result) {
  const int system = errno;
  const int kind = SSL_get_error(ssl_.get(), result);
  const auto reason = ERR_get_error();
  if (kind == SSL_ERROR_WANT_READ) return asio::error::would_block;
  if (kind == SSL_ERROR_ZERO_RETURN) return asio::error::eof;
  const bool cut =
      kind == SSL_ERROR_SSL && ERR_GET_REASON(reason) == SSL_R_UNEXPECTED_EOF_WHILE_READING;
  if (cut || (kind == SSL_ERROR_SYSCALL && system == 0)) return asio::ssl::error::stream_truncated;
  if (kind == SSL_ERROR_SYSCALL) return {system, asio::error::get_system_category()};
  return {static_cast<int>(reason), asio::error::get_ssl_category()};
}

}  // namespace ebb::proto
