// The end of a broker: draining, what is left, and everything that is given back.
#include <algorithm>
#include <utility>

#include "broker/broker_core.hpp"
#include "repair/membership.hpp"

namespace ipcq::detail {
namespace {

struct Draining {
  std::shared_ptr<const QueueMap> map;
  std::uint64_t groups = 0;  // those that have members, one bit each
};

bool is_drained(const Draining& q) {
  const std::uint64_t next = q.map->ring().cursor(kProducers).next;
  for (unsigned g = 0; g < kMaxGroups; ++g) {
    if ((q.groups >> g & 1) == 0) continue;
    if (q.map->ring().cursor(1 + g).next != next || q.map->member(g, 0, kBrokerClient).others_have(next)) return false;
  }
  return true;
}

bool is_kept(const GroupState& group) { return !group.name.empty() && !group.leaving; }

}  // namespace

BrokerCore::~BrokerCore() { stop(Duration::zero()); }

std::uint64_t BrokerCore::stop(Duration drain_for) {
  if (is_forked_child()) return 0;  // everything here is the parent's
  // Before waiting for a stop() that drains already: a more impatient one shortens it.
  const std::uint64_t until = deadline_after(drain_for);
  std::uint64_t before = drain_until_.load();
  while (until < before && !drain_until_.compare_exchange_weak(before, until)) {
  }
  const std::scoped_lock one_at_a_time(stopping_);
  {
    const std::scoped_lock lock(mutex_);
    if (stopped_) return left_;
    stopped_ = true;
    for (auto& [name, q] : queues_) {
      q.map->control().state.store(static_cast<std::uint64_t>(QueueState::draining), std::memory_order_release);
      close_intake(*q.map);
    }
  }
  drain();
  end_threads();
  for (auto& [device, r] : runners_) {
    if (r.link->has_ended()) r.link->end();  // its kernels may still write what clients are about to give up
  }
  left_ = close_queues();
  give_back();
  log_.close();
  return left_;
}

// Waits, with the mutex open, until groups that have members took everything, or as long as anybody who stops will
// wait.
void BrokerCore::drain() {
  for (;;) {
    std::vector<Draining> waited_for;
    {
      const std::scoped_lock lock(mutex_);
      for (const auto& [name, q] : queues_) {
        Draining d{q.map, 0};
        for (unsigned g = 0; g < kMaxGroups; ++g) {
          if (is_kept(q.groups[g]) && q.groups[g].members != 0) d.groups |= std::uint64_t{1} << g;
        }
        waited_for.push_back(std::move(d));
      }
    }
    if (now_ns() >= drain_until_.load() || std::all_of(waited_for.begin(), waited_for.end(), is_drained)) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

// From here on nothing changes any more but what clients do in shared memory.
void BrokerCore::end_threads() {
  {
    const std::scoped_lock lock(mutex_);
    quitting_ = true;
  }
  changed_.notify_all();
  asked_.notify_all();
  signal_eventfd(quit_.get());
  thread_.join();
  end_check();  // first: it ends a runner that does not answer, which the others may wait for
  if (answering_.joinable()) answering_.join();
  if (recovery_.joinable()) recovery_.join();
  // Creations in other threads come to nothing. What they have made so far has names.
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return creating_.empty(); });
}

// Its intake is closed. Nothing is handed out any more, then what is left is counted: no message is both.
BrokerCore::Left BrokerCore::close_queue(const QueueEntry& q) {
  q.map->control().state.store(static_cast<std::uint64_t>(QueueState::closed), std::memory_order_release);
  const std::uint64_t next = q.map->ring().cursor(kProducers).next;
  std::uint64_t waiting[kMaxGroups] = {};
  for (unsigned g = 0; g < kMaxGroups; ++g) {
    if (!is_kept(q.groups[g])) continue;
    const std::uint64_t taken = std::min(close_group(*q.map, g), next);
    const auto from = std::lower_bound(q.tombstones.begin(), q.tombstones.end(), taken);
    waiting[g] = next - taken - static_cast<std::uint64_t>(q.tombstones.end() - from);
  }
  const HeldCounts counts = withdraw_given_back(*q.map, held_blocks(q));
  Left left;
  for (unsigned g = 0; g < kMaxGroups; ++g) {
    if (!is_kept(q.groups[g])) continue;
    left.messages = std::max(left.messages, waiting[g] + counts.given_back[g]);
    left.held = std::max(left.held, counts.held[g]);
  }
  return left;
}

std::uint64_t BrokerCore::close_queues() {
  std::uint64_t left = 0;
  for (auto& [name, q] : queues_) {
    if (q.executor) q.executor->stop();
    const Left l = close_queue(q);
    q.map->ring_all_bells();
    ring_always(q.pool->map->control().free);
    left += l.messages;
    if (l.messages == 0) continue;
    log(LogLevel::warning,
        "queue '" + name + "': stopped with " + std::to_string(l.messages) + " messages left" +
            (l.held == 0 ? std::string() : "; consumers hold " + std::to_string(l.held) + ", which are theirs"));
  }
  return left;
}

void BrokerCore::give_back() {
  StatsView view;
  {
    const std::scoped_lock lock(mutex_);
    view = view_locked();
  }
  BrokerStats last = scan(std::move(view));
  // Unmapped with the mutex open, as it takes its time.
  decltype(clients_) clients;
  decltype(queues_) queues;
  decltype(pools_) pools;
  decltype(runners_) runners;
  {
    const std::scoped_lock lock(mutex_);
    last_stats_ = std::move(last);
    gone_ = true;
    clients.swap(clients_);
    queues.swap(queues_);
    pools.swap(pools_);
    runners.swap(runners_);
  }
  clients.clear();  // closes the connections
  quarantines_.clear();
  // A look at the statistics may still have the maps: their names go now.
  for (auto& [name, q] : queues) q.map->segment().unlink();
  for (auto& [name, pool] : pools) pool->map->segment().unlink();
  queues.clear();
  buried_.clear();
  pools.clear();
  buried_pools_.clear();
  runners.clear();
  name_.release();
  closer_.close_listener(std::move(listener_));
}

}  // namespace ipcq::detail
