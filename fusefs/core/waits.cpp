#include "fusefs/core/waits.h"

#include <cerrno>
#include <vector>

namespace ebb::fusefs {

Ticket Waits::add(Time deadline, Resume resume, Ticket again) {
  if (table_.size() >= kWaitsMax) {
    resume(0, fail_errno(ENOMEM, "too many operations wait"));
    return 0;
  }
  const Ticket ticket = again != 0 ? again : ++last_;
  table_.insert_or_assign(ticket, Waiting{deadline, std::move(resume)});
  order_.emplace(deadline, ticket);
  return ticket;
}

void Waits::finish(Ticket ticket, const Result<>& result) {
  const auto it = table_.find(ticket);
  if (it == table_.end()) return;
  const Resume resume = std::move(it->second.resume);
  order_.erase({it->second.deadline, ticket});
  table_.erase(it);
  resume(ticket, result);
}

void Waits::extend(Ticket ticket, Time deadline) {
  const auto it = table_.find(ticket);
  if (it == table_.end() || it->second.deadline == deadline) return;
  order_.erase({it->second.deadline, ticket});
  it->second.deadline = deadline;
  order_.emplace(deadline, ticket);
}

Time Waits::next_deadline() const {
  return order_.empty() ? kNever : order_.begin()->first;
}

void Waits::expire(Time now) {
  while (!order_.empty() && order_.begin()->first <= now) {
    finish(order_.begin()->second, fail_errno(ETIMEDOUT, "the server does not answer"));
  }
}

void Waits::finish_all(const Result<>& result) {
  std::vector<Ticket> all;
  for (const auto& [deadline, ticket] : order_) all.push_back(ticket);
  for (const Ticket ticket : all) finish(ticket, result);
}

}  // namespace ebb::fusefs
