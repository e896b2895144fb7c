// TLS 1.3 between a client and a server that know each other by their keys.  Each side has one key
// for ever, in a certificate that it has signed itself; names, dates and authorities mean nothing.
// Both show their certificate, so the handshake proves that they have the keys, and what is checked
// is a key's fingerprint.
#pragma once

#include <memory>
#include <string>

#include <asio/ssl.hpp>

#include "base/hash.h"
#include "base/result.h"
#include "proto/asio/tls_stream.h"

namespace ebb::proto {

/// SHA-256 of the key as certificates have it (DER, SubjectPublicKeyInfo).
using Fingerprint = Sha256;
/// 64 hex digits, lowercase.
std::string to_text(const Fingerprint& fingerprint);
Result<Fingerprint> parse_fingerprint(std::string_view text);

/// A key, and TLS with it in either role.  Any thread, once made.
class TlsKey {
 public:
  /// From the file, PEM, which is made with a new key where there is none (mode 0600).  EINVAL,
  /// with the path, for a file that is something else.
  static Result<std::shared_ptr<TlsKey>> load_or_make(const std::string& path);

  const Fingerprint& fingerprint() const { return fingerprint_; }
  asio::ssl::context& context() { return context_; }

 private:
  TlsKey();
  Result<> use(const std::string& pem, const std::string& path);

  asio::ssl::context context_;
  Fingerprint fingerprint_{};
};

/// Whose key the other side claims to have, while certificates are looked at.
Result<Fingerprint> fingerprint_shown(asio::ssl::verify_context& context);
/// Whose key the other side has proved to have; after the handshake.
Result<Fingerprint> peer_fingerprint(TlsStream& stream);

}  // namespace ebb::proto
