#include "fusefs/ebb/patch_plan.h"

#include <algorithm>

#include "proto/errors.h"

namespace ebb::fusefs {

PatchPlan::PatchPlan(const store::Minified& target, store::FsmapTree local)
    : local_(std::move(local)) {
  store::FsmapDiff diff(target);
  for (std::uint64_t i = 0; i < local_.size(); ++i) {
    if (!diff.take(local_.file(i).digest)) invalid_.push_back(i);
  }
  missing_ = diff.missing();
}

void PatchPlan::each_invalid(
    const std::function<void(const std::string&, const store::FsmapFile&)>& take) const {
  for (const std::uint64_t i : invalid_) take(local_.path(i), local_.file(i));
}

/// Both lists are in the order of a map, so they are gone through side by side.
Result<std::vector<Landing>> PatchPlan::landings(std::vector<std::string> paths) const {
  std::vector<Landing> out;
  out.reserve(paths.size());
  std::uint64_t at = 0;
  std::size_t bad = 0;  // in invalid_
  for (std::string& path : paths) {
    if (!out.empty() && !store::fsmap_before(out.back().path, path)) {
      return fail(proto::Errc::bad_packet,
                  path + ": does not stand behind " + out.back().path + " as its index says");
    }
    Landing landing{std::move(path), nullptr};
    while (at < local_.size() && store::fsmap_before(local_.path(at), landing.path)) ++at;
    if (at < local_.size() && local_.path(at) == landing.path) {
      while (bad < invalid_.size() && invalid_[bad] < at) ++bad;
      if (bad == invalid_.size() || invalid_[bad] != at) {
        return fail(proto::Errc::bad_packet,
                    landing.path + ": is here already, as another file of the map");
      }
      landing.listed = &local_.file(at);
    }
    out.push_back(std::move(landing));
  }
  return out;
}

PatchPlan::Removals PatchPlan::removals(const std::vector<Landing>& landings) const {
  std::unordered_set<std::string> files;
  std::unordered_set<std::string> folders;
  for (const auto& landing : landings) {
    files.insert(landing.path);
    for (std::size_t slash = landing.path.rfind('/'); slash != std::string::npos && slash != 0;
         slash = landing.path.rfind('/', slash - 1)) {
      if (!folders.insert(landing.path.substr(0, slash)).second) break;
    }
  }
  Removals out;
  for (const std::uint64_t i : invalid_) {
    const std::string path = local_.path(i);
    if (files.count(path) != 0) continue;  // it is landed upon
    bool in_the_way = folders.count(path) != 0;
    for (std::size_t slash = path.rfind('/');
         !in_the_way && slash != std::string::npos && slash != 0;
         slash = path.rfind('/', slash - 1)) {
      in_the_way = files.count(path.substr(0, slash)) != 0;
    }
    (in_the_way ? out.before : out.after).push_back(i);
  }
  return out;
}

}  // namespace ebb::fusefs
