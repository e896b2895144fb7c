// The commands of ebbd.  Each returns its exit code and has said on `err`, in one line, what
// failed.
#pragma once

#include <ostream>
#include <string>
#include <vector>

#include "base/result.h"

namespace ebb::server {

struct Command {
  std::string root;
  std::string state;  // empty: ROOT/.ebbd
  std::vector<std::string> listen;
  bool read_only = false;
  bool insecure = false;
  bool json = false;
  bool verbose = false;
  std::string history_max;  // a size; empty: as the service has it
  std::string client;       // undo: whose changes
  std::string since;        // a time
};

int serve(const Command& command, std::ostream& out, std::ostream& err);
int show_status(const Command& command, std::ostream& out, std::ostream& err);
int undo(const Command& command, std::ostream& out, std::ostream& err);
int check(const Command& command, std::ostream& out, std::ostream& err);

std::string state_folder(const Command& command);
/// In the state folder: a line of JSON for whoever connects.
std::string control_path(const Command& command);

}  // namespace ebb::server
