#include "broker/administration.hpp"

#include <chrono>
#include <thread>

#include "base/os.hpp"
#include "broker/groups.hpp"
#include "broker/registered_homes.hpp"
#include "broker/stream_end.hpp"

namespace ipcq::detail {
namespace {
constexpr auto kDrainLookEvery = std::chrono::milliseconds(5);
}

void Administration::create_pool(const std::string& name, const PoolOptions& options, const Limits& limits) {
  registry_.create_pool(name, options, limits);
}

void Administration::create_queue(const std::string& name, const QueueOptions& options, const Limits& limits) {
  inliner_.look_after(name, registry_.create_queue(name, options, limits));
}

void Administration::change_group(const std::string& queue, const std::string& group, bool paused) {
  const Lock lock(context_.mutex);
  context_.check_running("queue '" + queue + "'");
  pause_one_group(registry_.find(queue), group, paused);
}

void Administration::pause(const std::string& queue, const std::string& group) {
  if (!group.empty()) return change_group(queue, group, true);
  changes_.set_paused(queue, true);
}

void Administration::resume(const std::string& queue, const std::string& group) {
  if (!group.empty()) return change_group(queue, group, false);
  changes_.set_paused(queue, false);
  const Lock lock(context_.mutex);
  context_.check_running("queue '" + queue + "'");
  QueueEntry& q = registry_.find(queue);
  if (!q.draining) return;
  q.draining = false;
  end_draining(q);
}

std::uint64_t Administration::begin_drain(const std::string& queue) {
  context_.check_running("queue '" + queue + "'");
  QueueEntry& q = registry_.find(queue);
  if (!q.draining) {
    q.draining = true;
    begin_draining(q);
    context_.log(LogLevel::info, "queue '" + queue + "': takes no more messages");
  }
  return left_in(q, RegisteredHomes(registry_)).of_one;
}

std::uint64_t Administration::count_left(const std::string& queue) const {
  context_.check_running("queue '" + queue + "'");
  const QueueEntry& q = registry_.find(queue);
  if (q.draining) return left_in(q, RegisteredHomes(registry_)).of_one;
  throw UsageError("queue '" + queue +
                   "': it takes messages again: it was resumed before it was drained, or removed and created anew");
}

std::uint64_t Administration::drain(const std::string& queue, Deadline& deadline) {
  for (bool first = true;; first = false) {
    std::uint64_t left = 0;
    {
      const Lock lock(context_.mutex);
      left = first ? begin_drain(queue) : count_left(queue);
    }
    if (left == 0 || deadline.has_passed()) return left;
    std::this_thread::sleep_for(kDrainLookEvery);
  }
}

}  // namespace ipcq::detail
