#include "broker/broker_core.hpp"

#include <algorithm>
#include <chrono>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "base/deadline.hpp"
#include "base/memory_file.hpp"
#include "base/thread.hpp"
#include "broker/queue_dump.hpp"
#include "broker/stream_end.hpp"
#include "protocol/doorbell.hpp"

namespace ipcq::detail {
namespace {

constexpr auto kDrainLookEvery = std::chrono::milliseconds(5);

struct Draining {
  std::shared_ptr<const QueueMap> map;
  std::uint64_t groups = 0;  // those that have members and are not paused, one bit each
};

bool is_drained(const Draining& q) {
  const std::uint64_t next = q.map->ring().cursor(kProducers).next;
  for (unsigned g = 0; g < kMaxGroups; ++g) {
    if ((q.groups >> g & 1) == 0) continue;
    if (q.map->ring().cursor(1 + g).next != next || q.map->member(g, 0, kBrokerClient).others_have(next)) return false;
  }
  return true;
}

Draining draining(const QueueEntry& q) {
  Draining d{q.map, 0};
  for (unsigned g = 0; g < kMaxGroups; ++g) {
    const bool takes = q.groups[g].members != 0 && !q.groups[g].paused && !q.options.paused;
    if (is_kept(q.groups[g]) && takes) d.groups |= std::uint64_t{1} << g;
  }
  return d;
}

}  // namespace

BrokerCore::BrokerCore(const BrokerOptions& options) : parts_(options), server_(parts_, options.group) {}

void BrokerCore::end_of_stream(const std::string& queue) {
  const Lock lock(parts_.context.mutex);
  end_stream(parts_.registry.find(queue));
}

void BrokerCore::save_state(const std::string& queue, const std::string& file) {
  write_out(parts_.changes.save(queue)->content.get(), file, "queue '" + queue + "'");
}

void BrokerCore::load_state(const std::string& queue, const std::string& file) {
  Fd content;
  std::uint64_t bytes = 0;
  {
    const Lock lock(parts_.context.mutex);
    const QueueEntry& q = parts_.registry.find(queue);
    content = LiveChanges::file_for_state(q);
    bytes = q.state->bytes;
  }
  read_into(content.get(), bytes, file, "queue '" + queue + "'");
  parts_.changes.load(queue, std::move(content));
}

BrokerStats BrokerCore::stats() const {
  StatsView view;
  {
    const Lock lock(parts_.context.mutex);
    if (gone_) return last_stats_;
    view = parts_.statistics.view();
  }
  return scan(std::move(view));
}

std::string BrokerCore::dump(const std::string& queue) const {
  QueueDump dump;
  {
    const Lock lock(parts_.context.mutex);
    dump = dump_of(parts_.registry.find(queue));
  }
  return to_text(dump);
}

// ---- the end ----

std::uint64_t BrokerCore::stop(Deadline& drained_by) {
  if (is_forked_child()) return 0;  // everything here is the parent's
  // Before the lock is taken: an earlier deadline also shortens the drain of the stop() that holds it.
  const std::uint64_t until = drained_by.at_ns();
  std::uint64_t before = drain_until_.load();
  while (until < before && !drain_until_.compare_exchange_weak(before, until)) {
  }
  const std::scoped_lock one_at_a_time(stopping_);
  {
    const Lock lock(parts_.context.mutex);
    if (parts_.context.stopped) return left_;
    parts_.context.stopped = true;
    for (const auto& [name, q] : parts_.registry.queues()) begin_draining(q);
  }
  drain();
  end_threads();
  parts_.supervisor.end_lost_for_good();  // its kernels may still write what clients are about to give up
  left_ = close_queues();
  give_back();
  parts_.context.close_log();
  return left_;
}

// Waits, without the mutex, until every group that has members, and is not paused, has taken all messages, or until the
// earliest deadline that any stop() has given.
void BrokerCore::drain() const {
  for (;;) {
    std::vector<Draining> waited_for;
    {
      const Lock lock(parts_.context.mutex);
      for (const auto& [name, q] : parts_.registry.queues()) waited_for.push_back(draining(q));
    }
    if (now_ns() >= drain_until_.load() || std::all_of(waited_for.begin(), waited_for.end(), is_drained)) return;
    std::this_thread::sleep_for(kDrainLookEvery);
  }
}

// From here on nothing changes any more but what clients do in shared memory.
void BrokerCore::end_threads() {
  {
    const Lock lock(parts_.context.mutex);
    parts_.context.quitting = true;
  }
  parts_.context.changed.notify_all();
  signal_eventfd(parts_.context.quit.get());
  server_.join_control();
  parts_.outliving.join();  // first: it ends a runner that does not answer, which the others may wait for
  server_.join_answers();
  parts_.inliner.join();
  parts_.supervisor.join();
  // Creations in other threads fail, since `stopped` is set. Waits until they have removed what they had built so far,
  // as that has names.
  Lock lock(parts_.context.mutex);
  parts_.context.changed.wait(lock, [this] { return !parts_.registry.is_creating(); });
}

// A handler that does not return takes seconds to stop. Those in runners of their own are asked at the same time.
void BrokerCore::stop_executors() {
  std::vector<std::thread> asking;
  asking.reserve(parts_.registry.queues().size());
  for (auto& [name, q] : parts_.registry.queues()) {
    if (!q.executor || !q.options.isolate) continue;
    std::thread thread;
    if (start_thread(thread, [executor = q.executor.get()] { executor->stop(); })) asking.push_back(std::move(thread));
  }
  for (auto& [name, q] : parts_.registry.queues()) {
    if (q.executor && !q.options.isolate) q.executor->stop();
  }
  for (auto& thread : asking) thread.join();
  // Those for which there was no thread; the others have stopped.
  for (auto& [name, q] : parts_.registry.queues()) {
    if (q.executor) q.executor->stop();
  }
}

std::uint64_t BrokerCore::close_queues() {
  stop_executors();
  std::uint64_t left = 0;
  for (auto& [name, q] : parts_.registry.queues()) {
    const Leftover l = close_queue(q);
    wake_everybody(*q.map, *q.pool->map);
    left += l.messages;
    if (l.messages == 0) continue;
    parts_.context.log(
        LogLevel::warning,
        "queue '" + name + "': stopped with " + std::to_string(l.messages) + " messages left" +
            (l.held == 0 ? std::string() : "; consumers hold " + std::to_string(l.held) + ", which are theirs"));
  }
  return left;
}

void BrokerCore::give_back() {
  StatsView view;
  {
    const Lock lock(parts_.context.mutex);
    view = parts_.statistics.view();
  }
  BrokerStats last = scan(std::move(view));
  // Moved out of the parts, so that they are unmapped without the mutex: that takes long.
  Clients::List clients;
  Registry::Queues queues;
  Registry::Pools pools;
  {
    const Lock lock(parts_.context.mutex);
    last_stats_ = std::move(last);
    gone_ = true;
    clients = parts_.clients.take_all();
    queues.swap(parts_.registry.queues());
    pools.swap(parts_.registry.pools());
  }
  clients.clear();  // closes the connections
  parts_.outliving.clear();
  // A scan in another thread may keep the maps for a while, so the names are removed here.
  for (auto& [name, q] : queues) q.map->segment().unlink();
  for (auto& [name, pool] : pools) pool->map->segment().unlink();
  queues.clear();
  pools.clear();
  parts_.supervisor.give_up_all();
  parts_.context.name.release();
  server_.close_socket();
}

}  // namespace ipcq::detail
