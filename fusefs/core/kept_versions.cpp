#include "fusefs/core/kept_versions.h"

#include <cerrno>
#include <memory>

#include "fusefs/core/core.h"

namespace ebb::fusefs {
namespace {

/// Without a word of the server; a large file takes its time to be copied there.
constexpr Duration kPatience = std::chrono::hours(1);

KeptVersion of_server(const proto::KeptVersion& version) {
  return {version.path,    version.version,    static_cast<Kind>(version.kind),
          version.deleted, version.size,       version.mtime,
          version.when,    version.client_name};
}

std::optional<Result<>> unexpected() {
  return Result<>(fail_errno(EIO, "the server's answer makes no sense"));
}

}  // namespace

/// The server finds the entry by its id wherever it is by now, what is gone by its path.
EntryId KeptVersions::entry_of(const std::string& path) const {
  NodeId node = kRootNode;
  for (std::size_t at = 0; at < path.size();) {
    const auto end = std::min(path.find('/', at), path.size());
    const auto next = core_.tree->find(node, std::string_view(path).substr(at, end - at));
    if (!next) return {};
    node = *next;
    at = end + 1;
  }
  const auto record = core_.tree->node(node);
  return record && node != kRootNode ? record->entry : EntryId{};
}

Ticket KeptVersions::ask(const proto::Body& question, Take take, Done done) {
  if (!core_.link.can_send()) {
    done(fail_errno(EHOSTDOWN, "the server is out of reach"));
    return 0;
  }
  auto ticket = std::make_shared<Ticket>(0);
  auto session = std::make_shared<std::uint32_t>(0);
  *session = core_.link.open_session([this, ticket, take](Lock&, const proto::Body& body) {
    if (const auto* error = std::get_if<proto::ErrorMessage>(&body)) {
      return core_.waits.finish(*ticket, fail(error->code, error->sentence));
    }
    if (auto ended = take(body)) return core_.waits.finish(*ticket, *ended);
    core_.waits.extend(*ticket, core_.now() + kPatience);
  });
  *ticket = core_.waits.add(core_.now() + kPatience,
                            [this, session, done](Ticket ended, const Result<>& result) {
                              waiting_.erase(ended);
                              core_.link.close_session(*session);
                              done(result);
                            });
  if (*ticket == 0) return 0;
  waiting_.insert(*ticket);
  core_.link.send(*session, question);
  return *ticket;
}

Ticket KeptVersions::history(const std::string& path, Reply<std::vector<KeptVersion>> reply) {
  auto found = std::make_shared<std::vector<KeptVersion>>();
  const auto take = [found](const proto::Body& body) -> std::optional<Result<>> {
    const auto* page = std::get_if<proto::HistoryPage>(&body);
    if (page == nullptr) return unexpected();
    for (const auto& version : page->versions) found->push_back(of_server(version));
    return page->end ? std::optional(Result<>()) : std::nullopt;
  };
  return ask(
      proto::History{entry_of(path), path}, take, [this, reply, found](const Result<>& result) {
        using Answer = Result<std::vector<KeptVersion>>;
        core_.answer(reply, result ? Answer(std::move(*found)) : Answer(pass(result.error())));
      });
}

Ticket KeptVersions::restore(const std::string& path, Version version, Reply<> reply) {
  const Done answer = [this, reply](const Result<>& result) { core_.answer(reply, result); };
  const auto take = [](const proto::Body& body) -> std::optional<Result<>> {
    return std::holds_alternative<proto::RestoreResponse>(body) ? std::optional(Result<>())
                                                                : unexpected();
  };
  // Changes come before the answer to a later question.
  const auto caught_up = [](const proto::Body&) -> std::optional<Result<>> { return Result<>(); };
  return ask(proto::Restore{entry_of(path), path, version}, take,
             [this, answer, caught_up](const Result<>& result) {
               if (!result) return answer(result);
               ask(proto::StatFs{}, caught_up, answer);
             });
}

void KeptVersions::lost() {
  const auto all = waiting_;
  for (const Ticket ticket : all) {
    core_.waits.finish(ticket, fail_errno(EHOSTDOWN, "the connection broke before the answer"));
  }
}

}  // namespace ebb::fusefs
