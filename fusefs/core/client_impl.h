// What the files of Client share.
#pragma once

#include "fusefs/core/client.h"
#include "fusefs/core/core.h"

namespace ebb::fusefs {

struct Client::Impl : Core {
  using Core::Core;

  /// Does `work`, under the lock, when the names of the folder are known, or tells it why they are
  /// not.
  Ticket when_listed(NodeId folder, std::function<void(const Result<>&)> work);
  /// Makes an entry when the folder's names are known, and answers with its attributes.
  template <class Make>
  Ticket make_in(NodeId folder, Reply<Attributes> reply, Make make);
  /// The same for what answers nothing.
  template <class Work>
  Ticket change_in(NodeId folder, Reply<> reply, Work work);
  /// The same for what removes or replaces what stands at the name: of a folder it has to be known
  /// what is in it.
  template <class Work>
  Ticket change_at(NodeId folder, std::string name, Reply<> reply, Work work);
  /// The node's attributes, its blocks counted where its size does not tell them.
  Attributes measured(NodeId node, const store::Node& record);
  void measure(Attributes& attributes);
  /// As they are now, where somebody writes the file without us, too.
  Result<Attributes> attributes(NodeId node);
  /// The node's attributes, counted as one lookup.
  Result<Attributes> entry(NodeId node);
  Result<> writable() const;
  Result<OpenFile> open_node(Lock& lock, NodeId node, int flags);
  /// Opens without touching its file: for where the lock is not in hand.
  Result<OpenFile> open_lazily(NodeId node, int flags);
  Result<> truncate(Lock& lock, NodeId node, std::uint64_t size);
  Ticket wait_whole(Lock& lock, const OpenFile& opened, std::function<void(Result<OpenFile>)> done);
  bool flush_matters(const ContentPtr& content, int flags) const;
  void close_handle(Handle handle);
  void handles_gone(NodeId node, bool free);
  void read_ahead(OpenHandle& handle, Range range);
};

}  // namespace ebb::fusefs
