#include "store/errors.h"

#include <cerrno>

namespace ebb::store {
namespace {

class Category final : public std::error_category {
 public:
  const char* name() const noexcept override { return "store"; }
  std::string message(int code) const override {
    switch (static_cast<Errc>(code)) {
      case Errc::corrupt:
        return "the store is damaged";
      case Errc::newer_format:
        return "made by a newer version of ebb";
      case Errc::older_format:
        return "made by an early version of ebb, whose format is no longer read";
      case Errc::other_tree:
        return "belongs to another tree";
      case Errc::stale:
        return "the entry is no more";
      case Errc::in_use:
        return "the entry still has names";
    }
    return "unknown error of the store";
  }
  // What a caller that knows only errno makes of it.
  std::error_condition default_error_condition(int code) const noexcept override {
    switch (static_cast<Errc>(code)) {
      case Errc::corrupt:
        return std::make_error_condition(std::errc::io_error);
      case Errc::stale:
        return {ESTALE, std::generic_category()};
      case Errc::in_use:
        return std::make_error_condition(std::errc::device_or_resource_busy);
      default:
        return {code, *this};
    }
  }
};

}  // namespace

const std::error_category& category() {
  static const Category instance;
  return instance;
}

}  // namespace ebb::store
