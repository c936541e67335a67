// The part of Registry for runners that die.
#include <algorithm>
#include <iterator>
#include <utility>

#include "base/deadline.hpp"
#include "broker/lost_queues.hpp"
#include "broker/registry.hpp"
#include "broker/runner_executor.hpp"
#include "broker/stream_end.hpp"
#include "executor/interrupted.hpp"

namespace ipcq::detail {
namespace {

bool is_own_pool_of(const PoolEntry& pool, const std::vector<QueueEntry>& queues) {
  return std::any_of(queues.begin(), queues.end(),
                     [&](const QueueEntry& q) { return q.options.pool.empty() && q.pool.get() == &pool; });
}

}  // namespace

// The queues stay until the runner is gone, and closed endpoints are repaired as usual; but nothing can be published,
// and no client attaches. Those of a host runner lie in host memory, and go on.
void Registry::on_runner_lost(const RunnerKey& key) {
  if (key.device == kHostRunner) return;
  for (auto& [name, q] : queues_) {
    if (!lies_with(q, key)) continue;
    q.lost = true;
    begin_draining(q);
  }
}

std::vector<QueueEntry> Registry::take_queues_of(const RunnerKey& key) {
  std::vector<QueueEntry> taken;
  for (auto q = queues_.begin(); q != queues_.end();) {
    const bool on_it = lies_with(q->second, key);
    if (on_it) taken.push_back(std::move(q->second));
    q = on_it ? queues_.erase(q) : std::next(q);
  }
  return taken;
}

// Removes the runner's pools, and pools that belong to a queue of `ended`. Returns those that belong to none of these.
std::vector<std::shared_ptr<PoolEntry>> Registry::take_pools_of(const RunnerKey& key,
                                                                const std::vector<QueueEntry>& ended) {
  std::vector<std::shared_ptr<PoolEntry>> taken;
  for (auto p = pools_.begin(); p != pools_.end();) {
    const bool of_a_queue = is_own_pool_of(*p->second, ended);
    const bool on_it = p->second->map->on_device() && p->second->lies_with() == key;
    if (on_it && !of_a_queue) taken.push_back(p->second);
    p = on_it || of_a_queue ? pools_.erase(p) : std::next(p);
  }
  return taken;
}

// Removes the names at once; the supervisor frees the memory.
Aftermath Registry::on_runner_gone(const GoneRunner& runner) {
  if (runner.key.device == kHostRunner) return on_host_runner_gone(runner);
  std::vector<QueueEntry> ended = take_queues_of(runner.key);
  const auto pools = take_pools_of(runner.key, ended);
  for (const auto& q : ended) {
    end_lost_queue(context_, q, runner.how);
    for (const EndpointEntry& e : q.endpoints) ids_.give_back(e.client);
  }
  if (runner.under_mps) warn_of_lost_contexts(context_, runner.key.device, ended);
  Aftermath after;
  for (const auto& p : pools) {
    p->map->segment().unlink();
    after.recreate.push_back({Recreation::Kind::pool,
                              p->name,
                              {},
                              [this, name = p->name, o = p->options] { add_pool(name, o, By::supervisor); },
                              runner.under_mps});
  }
  for (auto& q : ended) {
    after.recreate.push_back(
        {q.options.pool.empty() ? Recreation::Kind::queue : Recreation::Kind::sharing, q.name, q.options.pool,
         [this, name = q.name, o = q.options, lasting = Lasting{q.image, q.state, q.draining, q.birth}] {
           add_queue(name, o, By::supervisor, lasting);
         },
         runner.under_mps});
    after.remains.push_back(std::make_shared<QueueEntry>(std::move(q)));
  }
  after.remains.insert(after.remains.end(), pools.begin(), pools.end());
  return after;
}

// ---- host runners ----

namespace {

constexpr std::uint64_t kSoonNs = 10'000'000'000;  // a handler that has worked so long begins anew with its pauses
constexpr std::uint64_t kFirstPauseNs = 10'000'000;
constexpr unsigned kMostDoublings = 9;  // then 5 s

// When a handler of which the process has died may run again.
std::uint64_t time_to_start(Relapses& r, std::uint64_t now) {
  r.streak = now - r.last_ns < kSoonNs ? r.streak + 1 : 1;
  r.last_ns = now;
  return r.streak == 1 ? now : now + (kFirstPauseNs << std::min(r.streak - 2, kMostDoublings));
}

}  // namespace

// Its queues stay, and what is published meanwhile waits for the next one.
Aftermath Registry::on_host_runner_gone(const GoneRunner& runner) {
  Aftermath after;
  const std::uint64_t now = now_ns();
  std::uint64_t failed = 0;
  std::string culprits;
  for (auto& [name, q] : queues_) {
    if (!lies_with(q, runner.key)) continue;
    const Interrupted left = finish_interrupted(*q.map, *q.pool->map);
    failed += left.failed;
    // Where the runner could not say whom it died of, all that it worked on may have been it.
    const bool suspect =
        runner.died_of.empty() ? left.failed != 0 || q.relapses.is_starting : runner.died_of == q.map->segment().name();
    std::uint64_t not_before = 0;
    if (suspect) {
      not_before = time_to_start(q.relapses, now);
      culprits += (culprits.empty() ? "" : ", ") + ("'" + q.options.handler + "' of queue '" + name + "'");
    }
    q.relapses.is_starting = false;
    const std::uint64_t generation = q.map->config().segment.generation;
    after.recreate.push_back({.kind = Recreation::Kind::executor,
                              .name = name,
                              .pool = {},
                              .create = [this, key = runner.key, queue = name, generation,
                                         first = left.next] { restart_executor(key, queue, generation, first); },
                              .patient = true,
                              .not_before = not_before});
  }
  if (!after.recreate.empty()) {
    context_.complain(object_of(runner.key) + ": was lost (" + runner.how + ")" +
                      (culprits.empty() ? std::string() : ", by " + culprits) + "; " + std::to_string(failed) +
                      " messages that it had in work are passed on as failed, and the handlers of " +
                      std::to_string(after.recreate.size()) + " queues are started again");
  }
  return after;
}

// In a handler: of what start_runner_executor() throws.
void Registry::give_up(const std::string& name, std::uint64_t generation, PendingHandler& pending) {
  const Lock lock(context_.mutex);
  pending.refused = std::current_exception();
  if (QueueEntry* const q = find_generation(name, generation); q != nullptr) q->pending.reset();
  context_.changed.notify_all();
}

bool Registry::is_there(const std::string& queue, std::uint64_t generation) {
  const Lock lock(context_.mutex);
  return find_generation(queue, generation) != nullptr;
}

// Without the mutex.
void Registry::restart_executor(const RunnerKey& key, const std::string& name, std::uint64_t generation,
                                std::uint64_t first) {
  if (!is_there(name, generation)) return;  // removed: no runner is to be started for it
  const auto runner = supervisor_.require("queue '" + name + "'", key);
  QueueOptions options;
  std::shared_ptr<QueueMap> map;
  std::shared_ptr<PoolEntry> pool;
  std::shared_ptr<const HandlerImage> image;
  std::shared_ptr<const KeptState> state;
  std::shared_ptr<PendingHandler> pending;
  {
    const Lock lock(context_.mutex);
    if (QueueEntry* const q = find_generation(name, generation); q != nullptr) {
      options = q->options;
      map = q->map;
      pool = q->pool;
      image = q->image;
      state = q->state;
      pending = q->pending;
      q->relapses.is_starting = true;
    }
  }
  if (!map) return dismiss_if_removed(key);
  if (pending) {
    options.handler = pending->handler;
    image = pending->image;
  }
  std::unique_ptr<RunnerExecutor> started;
  try {
    started = start_runner_executor(runner, options, *map, *pool,
                                    {.image = image.get(), .state = state.get(), .first = first});
  } catch (const Error&) {
    if (!pending) throw;
    give_up(name, generation, *pending);
    if (runner->is_lost()) throw;
    return restart_executor(key, name, generation, first);  // as it was
  }
  const std::uint64_t id = started->id();
  std::unique_ptr<Executor> executor = std::move(started);
  if (state) context_.log(LogLevel::warning, "queue '" + name + "': its state is " + state->as);
  {
    const Lock lock(context_.mutex);
    if (QueueEntry* const q = find_generation(name, generation); q != nullptr) {
      q->id_there = id;
      q->executor.swap(executor);
      q->executed_by = runner;
      q->relapses.is_starting = false;
      if (pending) {
        q->options.handler = pending->handler;
        q->image = pending->image;
        q->relapses = {};
        q->pending.reset();
        pending->done = true;
      }
    }
  }
  context_.changed.notify_all();
  executor.reset();  // the old one, of a runner that is gone; or the new one, of a queue that was removed meanwhile
  dismiss_if_removed(key);
}

void Registry::dismiss_if_removed(const RunnerKey& key) {
  if (key.queue.empty()) return;
  std::optional<Reservation> nobody_creates_it;
  {
    const Lock lock(context_.mutex);
    const std::string object = object_of_queue(key.queue);
    if (queues_.count(key.queue) != 0 || reserved_.count(object) != 0) return;
    nobody_creates_it.emplace(*this, object);
  }
  supervisor_.dismiss_own(key.queue);
}

}  // namespace ipcq::detail
