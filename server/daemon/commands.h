// The commands of ebbd.  Each returns its exit code and has said on `err`, in one line, what
// failed.
#pragma once

#include <ostream>
#include <string>
#include <vector>

#include "base/result.h"
#include "proto/packet.h"

namespace ebb::server {

struct Command {
  std::string root;
  std::string state;  // empty: ROOT/.ebbd
  std::vector<std::string> listen;
  bool read_only = false;
  bool insecure = false;
  bool json = false;
  bool repair = false;
  bool verbose = false;
  std::string history_max;  // a size; empty: as the service has it
  std::uint32_t packet_max = proto::kPacketMaxEver;
  std::string client;   // undo: whose changes
  std::string since;    // a time
  std::string host;     // invite: NAME[:PORT] under which clients reach the server
  std::string subtree;  // invite: the folder that is to be the client's tree
  std::string expires;  // invite: in 90s, 15m, 2h, 3d
  std::string name;     // revoke: of the client
};

int serve(const Command& command, std::ostream& out, std::ostream& err);
int show_status(const Command& command, std::ostream& out, std::ostream& err);
int undo(const Command& command, std::ostream& out, std::ostream& err);
int invite(const Command& command, std::ostream& out, std::ostream& err);
int show_clients(const Command& command, std::ostream& out, std::ostream& err);
int revoke(const Command& command, std::ostream& out, std::ostream& err);
int check(const Command& command, std::ostream& out, std::ostream& err);

std::string state_folder(const Command& command);
/// In the state folder: a line of JSON for whoever connects.
std::string control_path(const Command& command);
/// In the state folder: the server's key, and the TCP address that it listens on with TLS.
std::string key_path(const std::string& state);
std::string listening_path(const std::string& state);

}  // namespace ebb::server
