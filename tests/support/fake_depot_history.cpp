// FakeDepot: what is kept.
#include <cerrno>

#include "tests/support/fake_depot.h"

namespace ebb::test {

using server::Facts;

namespace {

constexpr std::uint64_t kStaging = 2;
constexpr std::uint64_t kHistory = 3;

}  // namespace

Result<std::string> FakeDepot::keep(std::uint64_t number, std::uint64_t history) {
  std::unique_lock lock(mutex_);
  if (auto ok = call(true); !ok) return pass(ok.error());
  const auto& names = now_.inodes.at(kStaging).names;
  const auto it = names.find(server::kept_name(number));
  if (it == names.end()) return std::string();
  bind(kHistory, server::kept_name(history), it->second);
  bind(kStaging, server::kept_name(number), 0);
  return server::kept_name(history);
}

Result<Facts> FakeDepot::stat_kept(const std::string& name) {
  std::unique_lock lock(mutex_);
  if (auto ok = call(false); !ok) return pass(ok.error());
  const auto& names = now_.inodes.at(kHistory).names;
  const auto it = names.find(name);
  if (it == names.end()) return fail_errno(ENOENT, name);
  return facts(it->second);
}

Result<> FakeDepot::drop_kept(const std::string& name) {
  std::unique_lock lock(mutex_);
  if (auto ok = call(true); !ok) return ok;
  if (now_.inodes.at(kHistory).names.count(name) != 0) bind(kHistory, name, 0);
  return {};
}

}  // namespace ebb::test
