#include "fusefs/ebb/map_session.h"

#include <algorithm>
#include <variant>

#include <fmt/format.h>

#include "proto/errors.h"

namespace ebb::fusefs {
namespace {

using proto::Errc;

constexpr int kTriesMax = 5;  // at a file whose transfer fails, or which the server is busy with
/// A map of more files than this is not believed: its hashes alone are 4 GiB.
constexpr std::uint64_t kFilesMax = std::uint64_t{1} << 28;

Error nonsense(std::string what) {
  return {proto::make_error_code(Errc::bad_packet), "the server answers nonsense: " + what};
}

Error error_of(const proto::ErrorMessage& message) {
  if (message.code == Errc::unknown_type) {
    return {proto::make_error_code(message.code), "this server is too old to hand out maps"};
  }
  return {proto::make_error_code(message.code),
          message.sentence.empty() ? std::string(proto::sentence(message.code)) : message.sentence};
}

}  // namespace

MapSession::MapSession(const proto::VersionHandshake& hello, Time now)
    : connection_(proto::Role::client, proto::Limits{}, now),
      now_(now),
      heard_at_(now),
      of_subtree_(!hello.subtree.empty()) {
  if (auto sent = connection_.send(0, hello); !sent) fail_with(sent.error(), true);
}

void MapSession::fail_with(const Error& why, bool broken) {
  if (!failure_) failure_ = why;
  broken_ = broken_ || broken;
  waiting_ = false;
  // What still comes for these is for nobody.
  for (const auto& [session, handler] : sessions_) {
    if (!broken_) (void)connection_.send(session, proto::Cancel{});
  }
  sessions_.clear();
  wanted_.clear();
  sink_ = nullptr;
}

void MapSession::lost(const Error& why) {
  fail_with({proto::make_error_code(Errc::lost), why.message()}, true);
}

void MapSession::advance(Time now) {
  now_ = now;
  if (auto ok = connection_.advance(now); !ok) lost(ok.error());
}

void MapSession::received(ByteView bytes, Time now) {
  now_ = now;
  const auto taken = connection_.receive(bytes, now);
  while (auto message = connection_.next_message()) heard(*message);
  if (!taken) {
    const bool garbage = taken.error().code == Errc::bad_packet;
    fail_with(garbage ? nonsense(taken.error().detail) : taken.error(), true);
  }
  ask_more_files();
}

void MapSession::heard(const proto::Message& message) {
  if (const auto* answer = std::get_if<proto::VersionHandshakeResponse>(&message.body)) {
    return greeted(*answer);
  }
  if (message.session == 0) {
    if (const auto* error = std::get_if<proto::ErrorMessage>(&message.body)) {
      fail_with(error_of(*error), true);
    }
    return;
  }
  const auto it = sessions_.find(message.session);
  if (it == sessions_.end()) return;  // cancelled
  heard_at_ = now_;
  const Handler handler = it->second;
  if (auto ok = handler(message.body); !ok) {
    const bool garbage = ok.error().code == Errc::bad_packet;
    fail_with(ok.error(), garbage);
  }
}

void MapSession::greeted(const proto::VersionHandshakeResponse& answer) {
  if (shaken_) return fail_with(nonsense("a second handshake"), true);
  shaken_ = true;
  if (answer.code != Errc::ok) {
    return fail_with({proto::make_error_code(answer.code), answer.sentence}, true);
  }
  if (of_subtree_ && (answer.capabilities & proto::kSubtrees) == 0) {
    return fail_with({Errc::not_supported, "the server is older and serves whole trees alone"},
                     true);
  }
  connection_.agree(answer.packet_max);
  tree_ = answer.tree;
  waiting_ = false;
}

std::uint32_t MapSession::open(Handler handler) {
  const std::uint32_t session = next_session_++;
  sessions_[session] = std::move(handler);
  waiting_ = true;
  return session;
}

// ---- the map

void MapSession::ask_figures(DigestKind kind) {
  failure_.reset();
  const std::uint32_t session = next_session_;
  open([this, session](const proto::Body& body) -> Result<> {
    if (const auto* error = std::get_if<proto::ErrorMessage>(&body)) return pass(error_of(*error));
    const auto* answer = std::get_if<proto::FsmapResponse>(&body);
    if (answer == nullptr) return pass(nonsense("no summary"));
    figures = {answer->summary, answer->files, answer->bytes};
    sessions_.erase(session);
    waiting_ = false;
    return {};
  });
  (void)connection_.send(session, proto::Fsmap{{kind, {}}});
}

void MapSession::ask_hashes(DigestKind kind, const MapFigures& of) {
  failure_.reset();
  hashes = {kind, {}};
  map_ = of;
  if (of.files > kFilesMax) return fail_with(nonsense("more files than can be"), true);
  const std::uint32_t session = next_session_;
  open([this, session](const proto::Body& body) -> Result<> {
    if (const auto* error = std::get_if<proto::ErrorMessage>(&body)) return pass(error_of(*error));
    const auto* answer = std::get_if<proto::FsmapHashesPage>(&body);
    if (answer == nullptr) return pass(nonsense("no hashes"));
    return page(session, *answer);
  });
  (void)connection_.send(session, proto::FsmapHashes{{kind, {}}, of.summary, 0});
}

Result<> MapSession::page(std::uint32_t session, const proto::FsmapHashesPage& page) {
  auto& all = hashes.digests;
  if (page.from != all.size()) return pass(nonsense("hashes out of order"));
  if (page.digests.size() > map_.files - all.size() || (page.digests.empty() && !page.end)) {
    return pass(nonsense("another number of hashes than of files"));
  }
  all.insert(all.end(), page.digests.begin(), page.digests.end());
  if (!page.end) return {};
  if (all.size() != map_.files || store::summary_of(hashes) != map_.summary) {
    return pass(nonsense("hashes that are not those of the summary"));
  }
  sessions_.erase(session);
  waiting_ = false;
  return {};
}

// ---- files

void MapSession::ask_files(DigestKind kind, const MapFigures& of,
                           const std::vector<WantedFile>& wanted, FileSink& sink) {
  failure_.reset();
  of_ = {kind, {}};
  map_ = of;
  wanted_.assign(wanted.begin(), wanted.end());
  tries_.clear();
  sink_ = &sink;
  waiting_ = true;
  heard_at_ = now_;
  ask_more_files();
}

void MapSession::ask_more_files() {
  if (sink_ == nullptr) return;
  while (!wanted_.empty() && sessions_.size() < kFilesAsked && connection_.can_send()) {
    auto coming = std::make_shared<Coming>();
    coming->wanted = wanted_.front();
    wanted_.pop_front();
    const std::uint32_t session = next_session_;
    open([this, session, coming](const proto::Body& body) {
      return file_message(session, coming, body);
    });
    (void)connection_.send(
        session, proto::FsmapFile{of_, map_.summary, coming->wanted.index, coming->wanted.have});
  }
  if (!wanted_.empty() || !sessions_.empty()) return;
  sink_ = nullptr;
  waiting_ = false;
}

Result<> MapSession::file_message(std::uint32_t session, const std::shared_ptr<Coming>& coming,
                                  const proto::Body& body) {
  if (const auto* data = std::get_if<proto::FileSyncData>(&body)) {
    if (!coming->begun || !coming->hash->update(data->offset, data->bytes)) {
      return pass(nonsense("data that belongs nowhere"));
    }
    return sink_->data(coming->wanted.index, data->offset, data->bytes);
  }
  if (const auto* path = std::get_if<proto::FsmapPath>(&body)) {
    if (!coming->file.path.empty()) return pass(nonsense("two paths of one file"));
    if (!store::fsmap_path_fits(path->path)) {
      return pass(nonsense(fmt::format("a path that no map lists, {}", path->path)));
    }
    coming->file.path = path->path;
    return {};
  }
  if (const auto* init = std::get_if<proto::FileSyncInit>(&body)) {
    return file_begins(*coming, *init);
  }
  if (const auto* check = std::get_if<proto::FileSyncCheckHash>(&body)) {
    return file_ends(session, coming, *check);
  }
  const auto* error = std::get_if<proto::ErrorMessage>(&body);
  if (error == nullptr) return pass(nonsense("a message that belongs nowhere"));
  if (error->code != Errc::busy || ++tries_[coming->wanted.index] > kTriesMax) {
    Error why = error_of(*error);
    if (!coming->file.path.empty()) why.detail = coming->file.path + ": " + why.detail;
    return pass(std::move(why));
  }
  file_again(session, coming->wanted);
  return {};
}

Result<> MapSession::file_begins(Coming& coming, const proto::FileSyncInit& init) {
  if (coming.begun || coming.file.path.empty()) return pass(nonsense("a file out of order"));
  const std::uint64_t from = init.ranges.empty() ? init.size : init.ranges.front().begin;
  if (from < std::min(coming.wanted.have, init.size)) return pass(nonsense("data that is here"));
  coming.begun = true;
  coming.file.size = init.size;
  coming.file.mode = init.attributes.mode;
  coming.file.mtime = init.attributes.mtime;
  coming.hash = std::make_unique<proto::SessionHash>(init.size, init.ranges);
  return sink_->begin(coming.wanted.index, coming.file);
}

Result<> MapSession::file_ends(std::uint32_t session, const std::shared_ptr<Coming>& coming,
                               const proto::FileSyncCheckHash& check) {
  if (!coming->begun || !coming->hash->complete()) return pass(nonsense("a file cut short"));
  if (coming->hash->digest() != check.sent) {
    if (++tries_[coming->wanted.index] > kTriesMax) {
      return fail(Errc::wrong_hash, coming->file.path);
    }
    file_again(session, {coming->wanted.index, 0});
    return {};
  }
  sessions_.erase(session);
  return sink_->end(coming->wanted.index);
}

void MapSession::file_again(std::uint32_t session, const WantedFile& wanted) {
  sessions_.erase(session);
  wanted_.push_back(wanted);
}

}  // namespace ebb::fusefs
