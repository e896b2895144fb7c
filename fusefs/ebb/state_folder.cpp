#include "fusefs/ebb/state_folder.h"

#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <fcntl.h>
#include <pwd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file_io.h"
#include "base/folder_lock.h"
#include "base/json.h"
#include "fusefs/ebb/control.h"
#include "fusefs/ebb/mounts.h"

namespace ebb::fusefs {
namespace {

std::string read_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

Json read_sources(const std::string& base) {
  Json sources = parse_json(read_text(base + "/sources"));
  return sources.is_object() ? sources : Json::object();
}

Outcome<> make_folders(const std::string& folder) {
  const mode_t before = ::umask(077);
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  ::umask(before);
  if (error)
    return refuse("state folder {}: {}; give another with -o state=DIR", folder, error.message());
  return {};
}

}  // namespace

std::string to_text(const TreeId& tree) {
  std::string text;
  for (auto byte : tree.bytes) text += fmt::format("{:02x}", byte);
  return text;
}

std::optional<TreeId> parse_tree(std::string_view text) {
  TreeId tree;
  while (!text.empty() && (text.back() == '\n')) text.remove_suffix(1);
  if (text.size() != tree.bytes.size() * 2) return std::nullopt;
  for (std::size_t i = 0; i < tree.bytes.size(); ++i) {
    const char* at = text.data() + 2 * i;
    if (std::from_chars(at, at + 2, tree.bytes[i], 16).ptr != at + 2) return std::nullopt;
  }
  if (!tree) return std::nullopt;
  return tree;
}

Outcome<std::string> default_state_base() {
  if (const char* state = std::getenv("XDG_STATE_HOME"); state && *state == '/') {
    return std::string(state) + "/ebbfs";
  }
  const char* home = std::getenv("HOME");
  if (!home || *home != '/') {
    const passwd* user = ::getpwuid(::getuid());
    home = user ? user->pw_dir : nullptr;
  }
  if (!home || *home != '/')
    return refuse("no home directory for the state; give a folder with -o state=DIR");
  return std::string(home) + "/.local/state/ebbfs";
}

std::optional<TreeId> remembered_tree(const std::string& base, const std::string& source) {
  const Json sources = read_sources(base);
  const auto at = sources.find(bytes_to_json(source));
  if (at == sources.end() || !at->is_string()) return std::nullopt;
  return parse_tree(at->get<std::string>());
}

Outcome<> remember_tree(const std::string& base, const std::string& source, const TreeId& tree) {
  if (auto made = make_folders(base); !made) return made;
  const FolderLock lock(base + "/sources.lock");
  Json sources = read_sources(base);
  const std::string key = bytes_to_json(source);
  if (sources.contains(key) && sources[key] == to_text(tree)) return {};
  sources[key] = to_text(tree);
  auto written = replace_file(system_file_io(), base + "/sources", as_bytes(to_line(sources)));
  if (!written) return refuse("{}", written.error().message());
  return {};
}

Outcome<std::string> prepare_state_folder(const std::string& folder) {
  std::error_code error;
  const auto whole =
      std::filesystem::weakly_canonical(std::filesystem::absolute(folder, error), error);
  if (error) return refuse("state folder {}: {}", folder, error.message());
  const auto mounts = read_mounts();
  const Mount* mount = mount_of(mounts, whole.string());
  if (mount && mount->ours()) {
    return refuse(
        "state folder {}: lies in the EbbFS mount {}; give a folder on a disk with -o state=DIR",
        folder, mount->point);
  }
  if (auto made = make_folders(whole.string()); !made) return tl::unexpected(made.error());
  if (!std::filesystem::is_directory(whole, error))
    return refuse("state folder {}: not a folder", folder);
  return whole.string();
}

bool has_state(const std::string& folder) {
  return parse_tree(read_text(folder + "/tree")).has_value();
}

Outcome<> check_state_tree(const std::string& folder, const TreeId& tree) {
  const auto known = parse_tree(read_text(folder + "/tree"));
  if (known && *known != tree) {
    return refuse(
        "state folder {}: it keeps the state of another tree ({}, not {}); give another with "
        "-o state=DIR",
        folder, to_text(*known), to_text(tree));
  }
  if (known) return {};
  auto written = replace_file(system_file_io(), folder + "/tree", as_bytes(to_text(tree) + "\n"));
  if (!written) return refuse("state folder {}: {}", folder, written.error().message());
  return {};
}

}  // namespace ebb::fusefs
