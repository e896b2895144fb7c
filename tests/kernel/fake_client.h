// The core as the FUSE layer sees it, with answers that a test writes: fake_client.cpp defines the
// members of class Client anew, so that what the layer says to it and does with its answers is all
// there is to see.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "fusefs/core/client.h"

namespace ebb::test {

/// One test, one of these; any thread.
struct FakeCore {
  /// What the layer called, "unlink 1 name"; a call without interest for the test is in here as
  /// well.
  std::vector<std::string> calls;
  /// Answers: an errno for everything that can fail, or what follows.
  int error = 0;
  fusefs::Attributes attributes;
  fusefs::OpenFile open;
  fusefs::Piece piece;
  std::string text;
  std::vector<std::string> names;
  std::vector<fusefs::FolderEntry> entries;
  std::uint64_t number = 0;
  fusefs::SpaceFigures space;
  /// Replies are kept until the test gives them (or an interrupt does), each with a ticket.
  bool hold = false;
  std::map<fusefs::Ticket, std::function<void(int error)>> held;
  /// Called inside every call that has a reply, after it was held.
  std::function<void()> inside;

  /// Gives the reply of a held call, as it was written when the call came, or an error.
  void answer(fusefs::Ticket ticket, int with_error = 0);
  void note(std::string call);
  bool called(const std::string& call) const;

  std::mutex mutex;
  fusefs::Ticket last_ticket = 0;
};

FakeCore& fake_core();
/// A new FakeCore, and a Client over it.
std::unique_ptr<fusefs::Client> make_fake_client();

}  // namespace ebb::test
