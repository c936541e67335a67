#include "broker/registry.hpp"

#include <unistd.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/crash_point.hpp"
#include "base/deadline.hpp"
#include "broker/device_executor.hpp"
#include "broker/lost_queues.hpp"
#include "broker/option_checks.hpp"
#include "broker/stream_end.hpp"
#include "executor/host_executor.hpp"
#include "ipcq/builtin_handlers.hpp"
#include "ipcq/error.hpp"

namespace ipcq::detail {
namespace {

std::string object_of_pool(const std::string& name) { return "pool '" + name + "'"; }
std::string object_of_queue(const std::string& name) { return "queue '" + name + "'"; }
bool has_gpu() { return ::access("/dev/nvidiactl", F_OK) == 0 && !RunnerLink::find_program().empty(); }

bool is_own_pool_of(const PoolEntry& pool, const std::vector<QueueEntry>& queues) {
  return std::any_of(queues.begin(), queues.end(),
                     [&](const QueueEntry& q) { return q.options.pool.empty() && q.pool.get() == &pool; });
}

}  // namespace

// Reserves a name while its pool or queue is built. Constructed with the mutex held, destroyed without it.
class Registry::Reservation {
 public:
  Reservation(Registry& registry, std::string object) : registry_(registry), object_(std::move(object)) {
    if (!registry_.reserved_.insert(object_).second) throw UsageError(object_ + ": is being created already");
  }
  ~Reservation() {
    const Lock lock(registry_.context_.mutex);
    registry_.reserved_.erase(object_);
    registry_.context_.changed.notify_all();
  }
  Reservation(const Reservation&) = delete;
  Reservation& operator=(const Reservation&) = delete;

 private:
  Registry& registry_;
  std::string object_;
};

Registry::Registry(BrokerContext& context, RunnerSupervisor& supervisor) : context_(context), supervisor_(supervisor) {
  supervisor_.set_user(*this);
}

void Registry::create_pool(const std::string& name, const PoolOptions& options) {
  check_name(name, "pool");
  add_pool(name, options, By::user);
}

void Registry::create_queue(const std::string& name, const QueueOptions& options) {
  check_name(name, "queue");
  add_queue(name, options, By::user);
}

// ---- under the mutex: what can be refused ----

// A creation that has been committed keeps its name reserved a moment longer, and its runner may die in that moment. A
// BackendError has the supervisor try again; a UsageError would have it give up.
void Registry::check_not_reserved(const std::string& object) const {
  if (reserved_.count(object) != 0) throw BackendError(object + ": its last creation has not ended yet");
}

void Registry::check_new_pool(const std::string& name, const PoolOptions& options, By by) const {
  const std::string object = object_of_pool(name);
  context_.check_running(object);
  if (pools_.count(name) != 0) throw UsageError(object + ": exists already");
  if (by == By::supervisor) check_not_reserved(object);
  if (by == By::user && supervisor_.recreates_pool(name)) {
    throw UsageError(object + ": is being created anew already");
  }
  check_pool_options(object, options);
}

void Registry::check_new_queue(const std::string& name, const QueueOptions& o, By by) const {
  const std::string object = object_of_queue(name);
  context_.check_running(object);
  if (queues_.count(name) != 0) throw UsageError(object + ": exists already");
  if (by == By::supervisor) {
    check_not_reserved(object);
    if (o.pool.empty()) check_not_reserved(object_of_pool(name));
  } else {
    if (supervisor_.recreates_queue(name) || (o.pool.empty() && supervisor_.recreates_pool(name))) {
      throw UsageError(object + ": what has that name is being created anew already");
    }
    // A pool in `pools_` can be used, even while the supervisor does not know yet that its recreation is done.
    if (!o.pool.empty() && pools_.count(o.pool) == 0 && supervisor_.recreates_pool(o.pool)) {
      throw BackendError(object + ": pool '" + o.pool + "' is being created anew; try again");
    }
  }
  check_queue_options(object, o);
  if (o.pool.empty() && pools_.count(name) != 0) {
    throw UsageError(object + ": a pool of that name exists already; say pool=" + name + " to share it");
  }
  if (o.pool.empty()) return;
  const auto pool = pools_.find(o.pool);
  if (pool == pools_.end()) {
    throw UsageError(object + ": pool '" + printable(o.pool) + "' does not exist; create it before the queue (--pool " +
                     printable(o.pool) + "=SIZE,slots=N), or name the queue whose own pool it is");
  }
  if (is_lost(*pool->second)) {
    throw BackendError(object + ": pool '" + o.pool + "' was lost with its runner; try again");
  }
  check_shared_pool(object, o, *pool->second);
}

// ---- the two phases ----

void Registry::add_pool(const std::string& name, const PoolOptions& options, By by) {
  std::optional<Reservation> reserved;
  std::uint64_t generation = 0;
  {
    const Lock lock(context_.mutex);
    check_new_pool(name, options, by);
    reserved.emplace(*this, object_of_pool(name));
    generation = context_.new_generation();
  }
  const std::shared_ptr<PoolEntry> pool = build_pool(name, options, generation);
  {
    const Lock lock(context_.mutex);
    commit_pool(pool);
  }
  IPCQ_CRASH_POINT("create.committed");
}

void Registry::add_queue(const std::string& name, const QueueOptions& options, By by) {
  std::optional<Reservation> reserved;
  std::optional<Reservation> own_pool;
  QueuePlan plan;
  plan.name = name;
  plan.options = options;
  {
    const Lock lock(context_.mutex);
    check_new_queue(name, options, by);
    reserved.emplace(*this, object_of_queue(name));
    if (options.pool.empty()) {
      own_pool.emplace(*this, object_of_pool(name));
    } else {
      plan.shared = pools_.at(options.pool);
    }
    plan.pool_generation = context_.new_generation();
    plan.generation = context_.new_generation();
  }
  QueueEntry q = build_queue(plan);
  {
    const Lock lock(context_.mutex);
    commit_queue(q);
  }
  IPCQ_CRASH_POINT("create.committed");
}

// ---- without the mutex: what takes its time ----

std::shared_ptr<PoolEntry> Registry::build_pool(const std::string& name, const PoolOptions& options,
                                                std::uint64_t generation) {
  const std::string object = object_of_pool(name);
  auto pool = std::make_shared<PoolEntry>();
  pool->name = name;
  pool->options = options;
  DeviceMemory memory;
  const bool on_device = options.backend == "cuda";
  if (on_device) {
    const auto runner = supervisor_.require(object, options.device);
    const MemoryNeeds needs = PoolMap::needs(object, options);
    context_.log(LogLevel::info, object + ": needs " + format_bytes(needs.device_memory) + " of GPU " +
                                     std::to_string(options.device) + "'s memory, " +
                                     format_bytes(needs.shared_memory) + " of /dev/shm, of which " +
                                     format_bytes(needs.pinned) + " are pinned");
    memory = pool->allocate(runner, needs.device_memory);
  }
  pool->map = PoolMap::create(context_.name.segment(kPoolKind, name, generation), name, options,
                              on_device ? &memory : nullptr, generation, context_.access);
  IPCQ_CRASH_POINT("create.pool_made");
  return pool;
}

std::string Registry::choose_backend(const std::string& object, const QueueOptions& o, const PoolEntry* shared) {
  const bool on_device = shared != nullptr && shared->map->on_device();
  if (o.backend == "cuda") (void)supervisor_.require(object, on_device ? shared->options.device : o.device);
  if (o.backend != "auto") return o.backend;
  if (shared != nullptr ? !on_device : o.handler.empty()) check_nothing_of_a_gpu(object, o, shared);
  if (shared != nullptr) return on_device ? "cuda" : "host";
  if (o.handler.empty() || !has_gpu()) return "host";
  try {
    (void)supervisor_.get(o.device);
    return "cuda";
  } catch (const BackendError& e) {
    context_.log(LogLevel::warning, object + ": backend host, since " + e.what());
    return "host";
  }
}

QueueEntry Registry::build_queue(const QueuePlan& plan) {
  const std::string object = object_of_queue(plan.name);
  QueueEntry q;
  q.name = plan.name;
  q.options = plan.options;
  q.options.backend = choose_backend(object, plan.options, plan.shared.get());
  // A queue's own pool has the queue's name, by which other queues may share it.
  q.pool = plan.shared ? plan.shared : build_pool(plan.name, PoolMap::of_queue(q.options), plan.pool_generation);
  const auto executed = QueueMap::executed(q.options, q.pool->map->config());
  q.map = QueueMap::create(context_.name.segment(kQueueKind, plan.name, plan.generation), plan.name, plan.options,
                           executed, q.pool->map->config(), plan.generation, context_.access);
  IPCQ_CRASH_POINT("create.queue_made");
  q.endpoints.resize(q.options.endpoints);
  q.kept.resize(q.options.endpoints);
  for (std::size_t g = 0; g < q.options.groups.size(); ++g) {
    q.groups[g].name = q.options.groups[g].name;
    q.groups[g].durable = true;
    q.groups[g].lossy = q.options.groups[g].policy == GroupPolicy::lossy;
  }
  q.rate_at_ns = now_ns();
  q.device = q.pool->map->on_device() ? q.pool->options.device : q.options.device;
  if (executed == QueueMap::Executed::by_device) {
    auto runner = supervisor_.get(q.device);
    if (q.pool->map->on_device() && q.pool->runner != runner) {
      throw BackendError(object + ": pool '" + q.pool->name + "' was lost with its runner meanwhile");
    }
    q.asked = first_executor(q.options);
    q.executor = start_device_executor(runner, q.options, *q.map, *q.pool);
    q.executed_by = std::move(runner);
  }
  if (executed == QueueMap::Executed::by_host) {
    q.executor = make_host_executor(*q.map, *q.pool->map, find_host_handler(q.options.handler), q.options.threads,
                                    q.options.wait);
  }
  return q;
}

// ---- under the mutex again ----

void Registry::commit_pool(const std::shared_ptr<PoolEntry>& pool) {
  const std::string object = object_of_pool(pool->name);
  context_.check_running(object);
  if (is_lost(*pool)) throw BackendError(object + ": its runner ended meanwhile");
  if (!pools_.emplace(pool->name, pool).second) throw UsageError(object + ": exists already");
}

void Registry::commit_queue(QueueEntry& q) {
  const std::string object = object_of_queue(q.name);
  context_.check_running(object);
  const bool lost_runner = q.executed_by && q.executed_by->is_lost();
  if (lost_runner || is_lost(*q.pool)) throw BackendError(object + ": its runner ended meanwhile");
  const auto [pool, fresh] = pools_.emplace(q.pool->name, q.pool);
  if (pool->second != q.pool || fresh != q.options.pool.empty()) {
    if (fresh) pools_.erase(pool);
    throw BackendError(object + ": pool '" + q.pool->name + "' was lost meanwhile; try again");
  }
  std::string name = q.name;
  queues_.emplace(std::move(name), std::move(q));
}

// ---- look-up ----

QueueEntry& Registry::find(const std::string& queue) {
  return const_cast<QueueEntry&>(std::as_const(*this).find(queue));
}

const QueueEntry& Registry::find(const std::string& queue) const {
  const auto it = queues_.find(queue);
  if (it != queues_.end() && !it->second.lost) return it->second;
  if (it != queues_.end() || supervisor_.recreates_queue(queue)) {
    throw NotFoundError(object_of_queue(queue) + ": its runner was lost, and it is being created anew; wait for it");
  }
  std::string known;
  for (const auto& [name, q] : queues_) known += (known.empty() ? "" : ", ") + name;
  throw NotFoundError(object_of_queue(queue) + ": " + context_.self() + " has no such queue; it has " +
                      (known.empty() ? "none" : known));
}

QueueEntry* Registry::find_generation(const std::string& queue, std::uint64_t generation) {
  const auto it = queues_.find(queue);
  const bool same = it != queues_.end() && it->second.map->config().segment.generation == generation;
  return same ? &it->second : nullptr;
}

// ---- a runner dies ----

// The queues stay until the runner is gone, and closed endpoints are repaired as usual; but nothing can be published,
// and no client attaches.
void Registry::on_runner_lost(int device) {
  for (auto& [name, q] : queues_) {
    if (!lies_on(q, device)) continue;
    q.lost = true;
    begin_draining(q);
  }
}

std::vector<QueueEntry> Registry::take_queues_of(int device) {
  std::vector<QueueEntry> taken;
  for (auto q = queues_.begin(); q != queues_.end();) {
    const bool on_it = lies_on(q->second, device);
    if (on_it) taken.push_back(std::move(q->second));
    q = on_it ? queues_.erase(q) : std::next(q);
  }
  return taken;
}

// Removes the device's pools, and pools that belong to a queue of `ended`. Returns those that belong to none of these.
std::vector<std::shared_ptr<PoolEntry>> Registry::take_pools_of(int device, const std::vector<QueueEntry>& ended) {
  std::vector<std::shared_ptr<PoolEntry>> taken;
  for (auto p = pools_.begin(); p != pools_.end();) {
    const bool of_a_queue = is_own_pool_of(*p->second, ended);
    const bool on_it = p->second->map->on_device() && p->second->options.device == device;
    if (on_it && !of_a_queue) taken.push_back(p->second);
    p = on_it || of_a_queue ? pools_.erase(p) : std::next(p);
  }
  return taken;
}

// Removes the names at once; the supervisor frees the memory.
Aftermath Registry::on_runner_gone(const GoneRunner& runner) {
  std::vector<QueueEntry> ended = take_queues_of(runner.device);
  const auto pools = take_pools_of(runner.device, ended);
  for (const auto& q : ended) {
    end_lost_queue(context_, q, runner.how);
    for (const EndpointEntry& e : q.endpoints) ids_.give_back(e.client);
  }
  if (runner.under_mps) warn_of_lost_contexts(context_, runner.device, ended);
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
         [this, name = q.name, o = q.options] { add_queue(name, o, By::supervisor); }, runner.under_mps});
    after.remains.push_back(std::make_shared<QueueEntry>(std::move(q)));
  }
  after.remains.insert(after.remains.end(), pools.begin(), pools.end());
  return after;
}

}  // namespace ipcq::detail
