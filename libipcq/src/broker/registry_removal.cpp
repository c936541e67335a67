// The part of Registry for what is removed while the broker runs, and for the limits of what it may hold.
#include <algorithm>
#include <atomic>
#include <iterator>
#include <optional>
#include <set>
#include <utility>

#include "base/crash_point.hpp"
#include "base/os.hpp"
#include "broker/lost_queues.hpp"
#include "broker/registered_homes.hpp"
#include "broker/registry.hpp"
#include "broker/stream_end.hpp"

namespace ipcq::detail {

std::uint64_t Registry::bytes_for(const std::string& name, const QueueOptions& options) const {
  const PoolEntry* const shared = options.pool.empty() ? nullptr : pools_.at(options.pool).get();
  const auto on = [&](const char* backend) {
    QueueOptions o = options;
    o.backend = backend;
    return bytes_of(QueueMap::needs(name, o, shared != nullptr ? &shared->options : nullptr));
  };
  if (options.backend != "auto") return on(options.backend.c_str());
  if (shared != nullptr) return on(shared->map->on_device() ? "cuda" : "host");
  if (options.handler.empty()) return on("host");
  return std::max(on("host"), on("cuda"));
}

void Registry::check_limits(const std::string& object, const Limits& limits, const Reserved& coming) const {
  std::uint64_t there = queues_.size();
  std::uint64_t taken = 0;
  for (const auto& [name, other] : reserved_) {
    if (other.is_there) continue;
    there += other.is_queue ? 1 : 0;
    taken += other.bytes;
  }
  for (const auto& [name, q] : queues_) taken += q.map->segment().size();
  for (const auto& [name, pool] : pools_) {
    taken += pool->map->segment().size();
    if (pool->map->on_device()) taken += PoolMap::needs(object_of_pool(name), pool->options).device_memory;
  }
  if (limits.queues != 0 && coming.is_queue && there >= limits.queues) {
    throw UsageError(object + ": " + context_.self() + " has " + std::to_string(there) + " queues, of " +
                     std::to_string(limits.queues) + " that it may have (max-queues); remove one first");
  }
  if (limits.bytes != 0 && (coming.bytes > limits.bytes || taken > limits.bytes - coming.bytes)) {
    throw UsageError(object + ": needs " + format_bytes(coming.bytes) + ", and of the " + format_bytes(limits.bytes) +
                     " that " + context_.self() + " may take (max-memory) " +
                     format_bytes(limits.bytes - std::min(limits.bytes, taken)) +
                     " are free; make it smaller, or "
                     "remove something first");
  }
}

// ---- removal ----

namespace {

std::string pids_of_clients(const QueueEntry& q, bool only_cuda) {
  std::string pids;
  std::set<std::int32_t> said;
  for (const EndpointEntry& e : q.endpoints) {
    if (e.client == 0 || (only_cuda && !e.uses_cuda) || !said.insert(e.pid).second) continue;
    pids += (pids.empty() ? "pid " : ", ") + std::to_string(e.pid);
  }
  return pids;
}

std::string text_of(std::uint64_t messages) {
  return std::to_string(messages) + (messages == 1 ? " message" : " messages");
}

}  // namespace

bool Registry::shares_its_pool(const QueueEntry& q) const {
  return std::any_of(queues_.begin(), queues_.end(),
                     [&](const auto& other) { return other.second.pool == q.pool && other.second.name != q.name; });
}

void Registry::check_not_awaited(const std::string& object, const std::string& pool) const {
  std::string by = supervisor_.awaiting(pool);
  if (!by.empty()) by = object_of_queue(by) + ", which is created anew,";
  for (const auto& [name, coming] : reserved_) {
    if (coming.is_queue && coming.pool == pool) by = name + ", which is being created,";
  }
  if (!by.empty()) throw UsageError(object + by + " is to have its slots there; try again");
}

// Of requests that were passed on, those that servers have go on: a server reads and writes in the slot.
void Registry::check_no_forwarded(const QueueEntry& q, bool may_be_used) const {
  const RegisteredHomes homes(*this);
  const std::string object = object_of_queue(q.name) + ": ";
  if (const std::uint64_t held = count_forwarded(*q.map, *q.pool->map, homes).held; held != 0) {
    throw UsageError(object + "its servers have " + std::to_string(held) +
                     " requests of other queues, that were passed on to it; let them answer these, or end them");
  }
  const std::uint64_t home = q.map->config().segment.generation;
  for (const auto& [name, other] : queues_) {
    if (may_be_used || count_forwarded(*other.map, *other.pool->map, homes, home).held == 0) continue;
    throw UsageError(object + "servers of queue '" + name +
                     "' have requests of its clients, that were passed on; let them finish these, or end them");
  }
}

// Requests of this queue's clients that wait in others: nobody waits for them, and their slots are free.
void Registry::free_forwarded(const QueueEntry& q) const {
  const RegisteredHomes homes(*this);
  const std::uint64_t home = q.map->config().segment.generation;
  for (const auto& [name, other] : queues_) end_waiting_forwarded(*other.map, *other.pool->map, homes, home);
}

// A queue that others share a pool with is removed once it is empty: what its messages, and its clients, hold of the
// pool could not be told from what is the others'. GPU memory is not taken from under clients that have it mapped.
void Registry::check_removable(const QueueEntry& q, Removal how) const {
  const std::string object = object_of_queue(q.name) + ": ";
  const bool shares = !q.options.pool.empty();
  if (!shares) {
    if (shares_its_pool(q)) {
      throw UsageError(object + "other queues share its pool, which has its name; remove them first");
    }
    check_not_awaited(object, q.name);
  }
  const bool may_be_used = how == Removal::at_once && !shares;
  const std::string users = pids_of_clients(q, may_be_used);
  if (may_be_used && !users.empty() && q.pool->map->on_device()) {
    throw UsageError(object + users +
                     " has its GPU memory mapped (ipcq::cuda), which cannot be taken away; close its "
                     "producers and consumers, or end it, and try again");
  }
  check_no_forwarded(q, may_be_used);
  if (may_be_used) return;
  if (shares && std::any_of(std::begin(q.groups), std::end(q.groups), [](const GroupEntry& g) { return g.leaving; })) {
    throw UsageError(object + "a group that its last member has left still gives its slots back; try again");
  }
  const char* const way = shares ? "" : ", or remove it at once (Removal::at_once, --force), with what is in it";
  if (!users.empty()) {
    throw UsageError(object + users + " has it open; close its " +
                     (q.map->takes_calls() ? "clients and servers" : "producers and consumers") + " first" + way);
  }
  if (const std::uint64_t left = left_in(q, RegisteredHomes(*this)).messages; left != 0) {
    throw UsageError(object + "has " + text_of(left) + " not taken yet; let consumers take all (ipcq drain " + q.name +
                     " waits for that)" + way);
  }
}

std::uint64_t Registry::remove_queue(const std::string& name, Removal how) {
  check_name(name, "queue");
  const std::string object = object_of_queue(name);
  std::optional<Reservation> reserved;
  std::optional<Reservation> own_pool;
  std::optional<QueueEntry> q;
  {
    const Lock lock(context_.mutex);
    context_.check_running(object);
    QueueEntry& there = find(name);
    check_removable(there, how);
    reserved.emplace(*this, object);
    if (there.options.pool.empty()) own_pool.emplace(*this, object_of_pool(name));
    begin_draining(there);
    free_forwarded(there);
    for (const EndpointEntry& e : there.endpoints) ids_.give_back(e.client);
    q.emplace(std::move(there));
    queues_.erase(name);
    if (own_pool) pools_.erase(name);
  }
  IPCQ_CRASH_POINT("remove.taken");
  if (q->executor) q->executor->stop();
  const Leftover left = end_queue(*q);
  {
    // No server takes any more what waits there of other queues: their callers are told.
    const Lock lock(context_.mutex);
    std::atomic_thread_fence(std::memory_order_seq_cst);  // the end of the queue before the look; with end_if_closed()
    end_waiting_forwarded(*q->map, *q->pool->map, RegisteredHomes(*this));
  }
  IPCQ_CRASH_POINT("remove.ended");
  context_.log(LogLevel::info,
               object + ": removed" +
                   (left.messages == 0 ? std::string() : ", with " + text_of(left.messages) + " not taken yet"));
  const bool isolated = q->options.isolate;
  q.reset();
  if (isolated) supervisor_.dismiss_own(name);
  return left.messages;
}

void Registry::remove_pool(const std::string& name) {
  check_name(name, "pool");
  const std::string object = object_of_pool(name);
  std::optional<Reservation> reserved;
  std::shared_ptr<PoolEntry> pool;
  {
    const Lock lock(context_.mutex);
    context_.check_running(object);
    const auto there = pools_.find(name);
    if (there == pools_.end()) {
      throw NotFoundError(object + ": " + context_.self() + " has no such pool; it has " + names_in(pools_));
    }
    for (const auto& [queue, q] : queues_) {
      if (q.pool != there->second) continue;
      if (q.options.pool.empty()) {
        throw UsageError(object + ": belongs to " + object_of_queue(queue) + " and goes with it; remove the queue");
      }
      throw UsageError(object + ": " + object_of_queue(queue) + " has its slots there; remove that first");
    }
    check_not_awaited(object + ": ", name);
    reserved.emplace(*this, object);
    pool = std::move(there->second);
    pools_.erase(there);
  }
  pool->map->segment().unlink();
  context_.log(LogLevel::info, object + ": removed");
}

}  // namespace ipcq::detail
