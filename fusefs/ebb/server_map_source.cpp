// A server as the source of a map: the connection, made again where it broke.
#include <algorithm>
#include <cerrno>

#include <fmt/format.h>
#include <unistd.h>

#include "base/hash.h"
#include "fusefs/ebb/map_session.h"
#include "fusefs/ebb/source_link.h"
#include "proto/errors.h"

namespace ebb::fusefs {
namespace {

using proto::Errc;

constexpr Duration kAnswerLimit = std::chrono::seconds(10);
/// Of a server that answers pings and nothing else, while files are under way.
constexpr Duration kSilenceLimit = std::chrono::seconds(60);
/// A walk of the server's disk may take as long as its files are many.
constexpr Duration kNoLimit = std::chrono::hours(24 * 365);

/// The same for every run of this user here, so that a server keeps one record of it.
ClientId client_of(const std::optional<Enrolment>& enrolment) {
  const std::string key = enrolment ? proto::to_text(enrolment->key->fingerprint()) : "";
  const std::string who = fmt::format("maps {} {} {}", host_name(), ::getuid(), key);
  return ClientId{(xxh3(as_bytes(who)) >> 8) | 2};
}

class ServerMapSource final : public MapSource {
 public:
  static Outcome<std::unique_ptr<MapSource>> open(const Source& source, bool insecure) {
    auto made = std::make_unique<ServerMapSource>(source);
    auto link = open_source(made->io_, source, insecure, false);
    if (!link) return tl::unexpected(link.error());
    made->link_ = std::move(*link);
    if (auto ok = made->connect(); !ok) return tl::unexpected(made->why_not(ok.error()));
    if (made->link_.enrolment && !made->link_.enrolment->secret.empty()) {
      auto kept = keep_enrolment(*source.address, made->link_.enrolment->server);
      if (!kept) return tl::unexpected(kept.error());
      made->link_.enrolment->secret.clear();
    }
    return std::unique_ptr<MapSource>(std::move(made));
  }

  explicit ServerMapSource(const Source& source) : source_(source) {}
  ~ServerMapSource() override {
    stream_.reset();
    link_.dialer.reset();
  }

  Result<MapFigures> figures(DigestKind kind) override {
    if (auto ok = connected(); !ok) return pass(ok.error());
    session_->ask_figures(kind);
    if (auto ok = run(kNoLimit); !ok) return pass(ok.error());
    return session_->figures;
  }
  Result<store::Minified> hashes(DigestKind kind, const MapFigures& of) override {
    if (auto ok = connected(); !ok) return pass(ok.error());
    session_->ask_hashes(kind, of);
    if (auto ok = run(kSilenceLimit); !ok) return pass(ok.error());
    return std::move(session_->hashes);
  }
  Result<> fetch(DigestKind kind, const MapFigures& of, const std::vector<WantedFile>& wanted,
                 FileSink& sink) override {
    if (auto ok = connected(); !ok) return ok;
    session_->ask_files(kind, of, wanted, sink);
    return run(kSilenceLimit);
  }
  std::uint64_t bytes_in() const override {
    return bytes_in_ + (stream_ ? stream_->bytes_in() : 0);
  }
  std::uint64_t bytes_out() const override {
    return bytes_out_ + (stream_ ? stream_->bytes_out() : 0);
  }

 private:
  Refusal why_not(const Error& error) const {
    if (error.code == Errc::not_enrolled || is_errno(error, EKEYREJECTED)) {
      return {fmt::format("source {}: {}", source_.text(), error.detail)};
    }
    return {fmt::format("source {}: no answer: {}", source_.text(), error.message())};
  }

  Result<> connected() {
    if (session_ && !session_->broken()) return {};
    return connect();
  }

  proto::VersionHandshake hello() const {
    proto::VersionHandshake hello;
    hello.version_min = proto::kVersionMin;
    hello.version_max = proto::kVersionMax;
    hello.packet_max = proto::kPacketMaxEver;
    hello.client = client_of(link_.enrolment);
    hello.client_name = host_name();
    hello.tree = tree_;
    hello.capabilities = proto::kSubtrees;
    if (source_.address) hello.subtree = source_.address->subtree;
    if (link_.enrolment) {
      const auto secret = as_bytes(link_.enrolment->secret);
      hello.proof.assign(secret.begin(), secret.end());
    }
    return hello;
  }

  Result<> connect() {
    hang_up();
    std::optional<Result<std::unique_ptr<proto::Stream>>> dialed;
    link_.dialer->dial([&dialed](auto stream) { dialed = std::move(stream); });
    const Time end = system_clock().now() + kAnswerLimit;
    while (!dialed && system_clock().now() < end) turn();
    if (!dialed) link_.dialer->cancel();
    if (!dialed) return fail(Errc::lost, "nobody answers");
    if (!*dialed) {
      if (is_errno(dialed->error(), EKEYREJECTED)) return pass(dialed->error());
      return fail(Errc::lost, dialed->error().message());
    }
    stream_ = std::move(**dialed);
    session_.emplace(hello(), system_clock().now());
    stream_->start({.bytes =
                        [this](ByteView bytes) {
                          session_->received(bytes, system_clock().now());
                          if (stream_) stream_->wake();
                        },
                    .next_output = [this] { return session_->next_output(); },
                    .closed = [this](const Error& why) { session_->lost(why); }});
    if (auto ok = run(kAnswerLimit); !ok) return ok;
    tree_ = session_->tree();
    return {};
  }

  void hang_up() {
    if (!stream_) return;
    bytes_in_ += stream_->bytes_in();
    bytes_out_ += stream_->bytes_out();
    stream_.reset();
  }

  void turn() {
    io_.run_one_for(std::chrono::milliseconds(50));
    if (io_.stopped()) io_.restart();
  }

  /// Until the question is answered.
  Result<> run(Duration silence_max) {
    stream_->wake();
    const Time began = system_clock().now();
    while (!session_->done()) {
      turn();
      const Time now = system_clock().now();
      session_->advance(now);
      stream_->wake();
      if (now - std::max(began, session_->heard_at()) > silence_max) {
        session_->lost({std::make_error_code(std::errc::timed_out), "the server is silent"});
      }
    }
    if (session_->failure()) return pass(*session_->failure());
    return {};
  }

  const Source source_;
  asio::io_context io_;
  SourceLink link_;
  std::unique_ptr<proto::Stream> stream_;
  std::optional<MapSession> session_;
  TreeId tree_;
  std::uint64_t bytes_in_ = 0;
  std::uint64_t bytes_out_ = 0;
};

}  // namespace

Outcome<std::unique_ptr<MapSource>> open_map_source(const Source& source, bool insecure) {
  if (!source.address && published_kind(source.folder)) return open_published(source.folder);
  return ServerMapSource::open(source, insecure);
}

}  // namespace ebb::fusefs
