#include "proto/asio/tls.h"

#include <charconv>
#include <fstream>
#include <sstream>

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "base/file_io.h"
#include "base/folder_lock.h"
#include "base/log.h"

namespace ebb::proto {

namespace {

constexpr std::size_t kPemMax = 64u << 10;
/// A certificate has dates, though nobody here looks at them.
constexpr long kCenturySeconds = 100L * 365 * 24 * 3600;

template <auto free>
struct Freed {
  template <class T>
  void operator()(T* thing) const {
    free(thing);
  }
};
using Key = std::unique_ptr<EVP_PKEY, Freed<EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, Freed<X509_free>>;
using Memory = std::unique_ptr<BIO, Freed<BIO_free_all>>;

Certificate sign_itself(EVP_PKEY* key) {
  Certificate made(X509_new());
  if (!made) return nullptr;
  X509_NAME* name = X509_get_subject_name(made.get());
  const auto* common = reinterpret_cast<const unsigned char*>("ebbfs");
  const bool good = X509_set_version(made.get(), X509_VERSION_3) == 1 &&
                    ASN1_INTEGER_set(X509_get_serialNumber(made.get()), 1) == 1 &&
                    X509_gmtime_adj(X509_getm_notBefore(made.get()), 0) != nullptr &&
                    X509_gmtime_adj(X509_getm_notAfter(made.get()), kCenturySeconds) != nullptr &&
                    X509_set_pubkey(made.get(), key) == 1 &&
                    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, common, -1, -1, 0) == 1 &&
                    X509_set_issuer_name(made.get(), name) == 1 &&
                    X509_sign(made.get(), key, nullptr) > 0;
  return good ? std::move(made) : nullptr;
}

/// A new key and its certificate; empty where OpenSSL cannot.
std::string make_pem() {
  const Key key(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
  if (!key) return {};
  const Certificate certificate = sign_itself(key.get());
  const Memory out(BIO_new(BIO_s_mem()));
  if (!certificate || !out) return {};
  if (PEM_write_bio_PrivateKey(out.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) != 1 ||
      PEM_write_bio_X509(out.get(), certificate.get()) != 1) {
    return {};
  }
  char* text = nullptr;
  const long size = BIO_get_mem_data(out.get(), &text);
  return std::string(text, static_cast<std::size_t>(size));
}

Result<Fingerprint> fingerprint_of(const X509* certificate) {
  unsigned char* der = nullptr;
  const int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der);
  if (size <= 0) return fail_errno(EINVAL, "a certificate without a key");
  const Fingerprint print = sha256(as_bytes(
      std::string_view(reinterpret_cast<const char*>(der), static_cast<std::size_t>(size))));
  OPENSSL_free(der);
  return print;
}

Result<std::string> read_pem(const std::string& path) {
  auto& io = system_file_io();
  auto there = io.exists(path);
  if (!there) return pass(there.error());
  if (!*there) {
    const std::string pem = make_pem();
    if (pem.empty()) return fail_errno(EIO, path + ": OpenSSL makes no key");
    if (auto kept = replace_file(io, path, as_bytes(pem)); !kept) return pass(kept.error());
    return pem;
  }
  std::ifstream file(path, std::ios::binary);
  std::string pem(kPemMax, '\0');
  file.read(pem.data(), static_cast<std::streamsize>(pem.size()));
  pem.resize(static_cast<std::size_t>(file.gcount()));
  if (pem.empty()) return fail_errno(EACCES, path + ": cannot be read");
  return pem;
}

}  // namespace

std::string to_text(const Fingerprint& fingerprint) {
  std::string text;
  for (const auto byte : fingerprint) text += fmt::format("{:02x}", byte);
  return text;
}

Result<Fingerprint> parse_fingerprint(std::string_view text) {
  Fingerprint print{};
  if (text.size() != 2 * print.size()) return fail_errno(EINVAL, "not a fingerprint");
  for (std::size_t i = 0; i < print.size(); ++i) {
    const char* at = text.data() + 2 * i;
    if (std::from_chars(at, at + 2, print[i], 16).ptr != at + 2) {
      return fail_errno(EINVAL, "not a fingerprint");
    }
  }
  return print;
}

TlsKey::TlsKey() : context_(asio::ssl::context::tls) {
  SSL_CTX* raw = context_.native_handle();
  SSL_CTX_set_min_proto_version(raw, TLS1_3_VERSION);
  SSL_CTX_set_max_proto_version(raw, TLS1_3_VERSION);
  // Each connection proves its key anew, so that a revoked one ends with its connections.
  SSL_CTX_set_num_tickets(raw, 0);
  SSL_CTX_set_session_cache_mode(raw, SSL_SESS_CACHE_OFF);
  // Any key may come; which one it is is looked at after the handshake.
  context_.set_verify_mode(asio::ssl::verify_peer | asio::ssl::verify_fail_if_no_peer_cert);
  context_.set_verify_callback([](bool, asio::ssl::verify_context&) { return true; });
}

Result<> TlsKey::use(const std::string& pem, const std::string& path) {
  asio::error_code error;
  const auto bytes = asio::buffer(pem);
  context_.use_certificate_chain(bytes, error);
  if (!error) context_.use_private_key(bytes, asio::ssl::context::pem, error);
  const X509* own = error ? nullptr : SSL_CTX_get0_certificate(context_.native_handle());
  if (own == nullptr) {
    return fail_errno(EINVAL,
                      path + ": no key and certificate; put it away, and a new one is made");
  }
  auto print = fingerprint_of(own);
  if (!print) return pass(print.error());
  fingerprint_ = *print;
  return {};
}

Result<std::shared_ptr<TlsKey>> TlsKey::load_or_make(const std::string& path) {
  const FolderLock lock(path + ".lock");
  const auto pem = read_pem(path);
  if (!pem) return pass(pem.error());
  const std::shared_ptr<TlsKey> key(new TlsKey);
  if (auto used = key->use(*pem, path); !used) return pass(used.error());
  return key;
}

Result<Fingerprint> fingerprint_shown(asio::ssl::verify_context& context) {
  const X509* shown = X509_STORE_CTX_get0_cert(context.native_handle());
  if (shown == nullptr) return fail_errno(EPROTO, "the other side has shown no key");
  return fingerprint_of(shown);
}

Result<Fingerprint> peer_fingerprint(TlsStream& stream) {
  const Certificate shown(SSL_get1_peer_certificate(stream.native_handle()));
  if (!shown) return fail_errno(EPROTO, "the other side has shown no key");
  return fingerprint_of(shown.get());
}

}  // namespace ebb::proto
