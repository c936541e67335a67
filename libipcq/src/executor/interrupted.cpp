#include "executor/interrupted.hpp"

#include <algorithm>

#include "base/crash_point.hpp"
#include "executor/in_line.hpp"

namespace ipcq::detail {
namespace {

// The first ticket that the dead executor had not taken.
std::uint64_t end_of_taken(const QueueMap& queue, std::uint64_t begin, std::uint64_t end) noexcept {
  const auto& ring = queue.ring();
  std::uint64_t taken = std::clamp(queue.control().taken.load(std::memory_order_relaxed), begin, end);
  for (std::uint64_t t = end; t > taken; --t) {  // where the word is too low
    if (ring.readable(t - 1)) return t;
  }
  return taken;
}

// False: it is not published, so the executor cannot have had it.
bool fail(const QueueMap& queue, const PoolMap& pool, std::uint64_t ticket, std::uint64_t& failed) noexcept {
  Descriptor d;
  InlineData data;
  const InLine line = read_in_line(queue, pool, ticket, d, data);
  if (line == InLine::absent) return false;
  if (line == InLine::message) {
    d.flags |= kNotProcessed | kHandlerFailed;
    queue.control().processed.fetch_add(1, std::memory_order_relaxed);
    queue.control().failed.fetch_add(1, std::memory_order_relaxed);
    ++failed;
  }
  IPCQ_CRASH_POINT("interrupted.read");
  queue.ring().write_out(ticket, d, data.bytes);
  return true;
}

}  // namespace

Interrupted finish_interrupted(const QueueMap& queue, const PoolMap& pool) noexcept {
  const auto& ring = queue.ring();
  const std::uint64_t end = ring.cursor(kProducers).next;
  const std::uint64_t begin = end - std::min<std::uint64_t>(end, ring.lines());
  Interrupted result;
  result.next = end_of_taken(queue, begin, end);
  for (std::uint64_t t = begin; t < result.next; ++t) {
    if (!ring.readable(t) && !fail(queue, pool, t, result.failed)) result.next = t;
  }
  queue.control().taken.store(result.next, std::memory_order_relaxed);
  wake_after_processing(queue, pool);  // also for lines that were passed on when the process died
  queue.ring_call_bells();
  return result;
}

}  // namespace ipcq::detail
