#include "client/message_wait.hpp"

namespace ipcq::detail {

MessageWait::MessageWait(SessionCore& session, const QueueMap& queue, const Member& member,
                         const ConsumerOptions& options)
    : session_(session), queue_(queue), group_(member.group()), wait_(options.wait), until_(options.until) {
  // Loaded before the check: a stream that ends in between has a higher count, and its end is reported at once.
  const std::uint64_t ends = queue.control().end_count.load(std::memory_order_relaxed);
  if (options.wait_for > Duration::zero() && is_at_end(member)) {
    stale_end_ = ends;
    grace_until_ = deadline_after(options.wait_for);
  }
}

std::uint64_t MessageWait::await_batch(const Member& member, std::size_t room) const noexcept {
  const auto& ring = queue_.ring();
  const std::uint64_t next = member.next_ticket();
  // What a kernel has written lies in memory; to have host threads' lines fetched would disturb these.
  if (queue_.on_device()) return queue_.control().taken.load(std::memory_order_relaxed);
  if (wait_.kind() == Wait::Kind::sleep || ring.has_handler()) return next;
  const std::uint64_t end = std::min(ring.cursor(kProducers).next, next + room);
  if (end <= next + 1) return next;
  constexpr unsigned kPatience = 200;  // no comparison with other values is recorded
  for (unsigned looks = 0; looks < kPatience; ++looks) {
    if (ring.readable(end - 1)) return end;
    cpu_pause();
  }
  return next;
}

bool MessageWait::has_news(const Member& member) const noexcept {
  return member.has_work() || is_at_end(member) || session_.interruption(queue_).check() != Status::ok;
}

Status MessageWait::go_on(Deadline& deadline) const noexcept {
  if (const Status s = session_.interruption(queue_).check(); s != Status::ok) return s;
  return deadline.has_passed() ? deadline.outcome(Status::empty) : Status::ok;
}

}  // namespace ipcq::detail
