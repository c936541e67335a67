#include "broker/registry.hpp"

#include <unistd.h>

#include <utility>

#include "base/crash_point.hpp"
#include "base/deadline.hpp"
#include "broker/groups.hpp"
#include "broker/option_checks.hpp"
#include "broker/runner_executor.hpp"
#include "broker/stream_end.hpp"
#include "executor/host_executor.hpp"
#include "ipcq/builtin_handlers.hpp"
#include "ipcq/error.hpp"

namespace ipcq::detail {
namespace {

// A call of a linked handler may take much longer than its user knows it to.
bool may_begin_linked(const QueueOptions& o) { return o.quick_start && o.handler_deadline == Duration::zero(); }
bool has_gpu() { return ::access("/dev/nvidiactl", F_OK) == 0 && !RunnerLink::find_program(0).empty(); }

}  // namespace

// Ends the runner that a queue was given for itself, unless the queue is created. The supervisor, which tries again,
// keeps it meanwhile. Destroyed without the mutex, after what was built with that runner.
class Registry::OwnRunner {
 public:
  OwnRunner(RunnerSupervisor& supervisor, const QueuePlan& plan, By by)
      : supervisor_(plan.options.isolate && by == By::user ? &supervisor : nullptr), queue_(plan.name) {}
  ~OwnRunner() {
    if (supervisor_ != nullptr) supervisor_->dismiss_own(queue_);
  }
  OwnRunner(const OwnRunner&) = delete;
  OwnRunner& operator=(const OwnRunner&) = delete;
  void keep() noexcept { supervisor_ = nullptr; }

 private:
  RunnerSupervisor* supervisor_;
  std::string queue_;
};

Registry::Registry(BrokerContext& context, RunnerSupervisor& supervisor) : context_(context), supervisor_(supervisor) {
  supervisor_.set_user(*this);
}

void Registry::create_pool(const std::string& name, const PoolOptions& options, const Limits& limits) {
  check_name(name, "pool");
  add_pool(name, options, By::user, limits);
}

std::shared_ptr<const HandlerImage> Registry::create_queue(const std::string& name, const QueueOptions& options,
                                                           const Limits& limits) {
  check_name(name, "queue");
  return add_queue(name, options, By::user, {}, limits);
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
  if (pools_.count(name) != 0) {
    const bool own = queues_.count(name) != 0;
    throw UsageError(object + ": exists already" +
                     (own ? ", and belongs to " + object_of_queue(name) + "; take another name"
                          : std::string("; remove it first, or take another name")));
  }
  if (by == By::supervisor) check_not_reserved(object);
  if (by == By::user && supervisor_.recreates_pool(name)) {
    throw UsageError(object + ": is being created anew already");
  }
  check_pool_options(object, options);
}

void Registry::check_new_queue(const std::string& name, const QueueOptions& o, By by) const {
  const std::string object = object_of_queue(name);
  context_.check_running(object);
  if (queues_.count(name) != 0) throw UsageError(object + ": exists already; remove it first, or take another name");
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
    throw UsageError(object + ": pool '" + printable(o.pool) + "' does not exist; create it before the queue (" +
                     printable(o.pool) + "=SIZE,slots=N behind --pool), or name the queue whose own pool it is");
  }
  if (is_lost(*pool->second)) {
    throw BackendError(object + ": pool '" + o.pool + "' was lost with its runner; try again");
  }
  check_shared_pool(object, o, *pool->second);
}

// ---- the two phases ----

void Registry::add_pool(const std::string& name, const PoolOptions& options, By by, const Limits& limits) {
  std::optional<Reservation> reserved;
  std::uint64_t generation = 0;
  {
    const Lock lock(context_.mutex);
    check_new_pool(name, options, by);
    const std::string object = object_of_pool(name);
    const Reserved coming{.bytes = bytes_of(PoolMap::needs(object, options))};
    check_limits(object, limits, coming);
    reserved.emplace(*this, object, coming);
    generation = context_.new_generation();
  }
  const std::shared_ptr<PoolEntry> pool = build_pool(name, options, generation);
  {
    const Lock lock(context_.mutex);
    commit_pool(pool);
    reserved->commit();
  }
  IPCQ_CRASH_POINT("create.committed");
}

std::shared_ptr<const HandlerImage> Registry::add_queue(const std::string& name, const QueueOptions& options, By by,
                                                        Lasting lasting, const Limits& limits) {
  std::optional<Reservation> reserved;
  std::optional<Reservation> own_pool;
  QueuePlan plan;
  plan.name = name;
  plan.options = options;
  if (options.calls != 0) plan.options.groups = {{.name = group_of_calls(options)}};
  plan.lasting = std::move(lasting);
  {
    const Lock lock(context_.mutex);
    check_new_queue(name, options, by);
    const std::string object = object_of_queue(name);
    const Reserved coming{.bytes = bytes_for(name, options), .is_queue = true, .pool = options.pool};
    check_limits(object, limits, coming);
    reserved.emplace(*this, object, coming);
    if (options.pool.empty()) {
      own_pool.emplace(*this, object_of_pool(name));
    } else {
      plan.shared = pools_.at(options.pool);
    }
    plan.pool_generation = context_.new_generation();
    plan.generation = context_.new_generation();
  }
  OwnRunner own_runner(supervisor_, plan, by);
  QueueEntry q = build_queue(plan);
  auto image = q.image;
  {
    const Lock lock(context_.mutex);
    commit_queue(q);
    reserved->commit();
    own_runner.keep();
  }
  IPCQ_CRASH_POINT("create.committed");
  return image;
}

// ---- without the mutex: what takes its time ----

std::shared_ptr<PoolEntry> Registry::build_pool(const std::string& name, const PoolOptions& options,
                                                std::uint64_t generation, const std::string& only_for) {
  const std::string object = object_of_pool(name);
  auto pool = std::make_shared<PoolEntry>();
  pool->name = name;
  pool->options = options;
  DeviceMemory memory;
  const bool on_device = options.backend == "cuda";
  if (on_device) {
    pool->only_for = only_for;
    const auto runner = supervisor_.require(object, pool->lies_with());
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

std::string Registry::choose_backend(const QueuePlan& plan) {
  const std::string object = object_of_queue(plan.name);
  const QueueOptions& o = plan.options;
  const PoolEntry* const shared = plan.shared.get();
  const bool on_device = shared != nullptr && shared->map->on_device();
  const RunnerKey gpu = runner_on(on_device ? shared->options.device : o.device, plan.name, o);
  if (o.backend == "cuda") (void)supervisor_.require(object, gpu);
  if (o.backend != "auto") return o.backend;
  if (shared != nullptr ? !on_device : o.handler.empty()) check_nothing_of_a_gpu(object, o, shared);
  if (shared != nullptr) return on_device ? "cuda" : "host";
  if (o.handler.empty() || !has_gpu()) return "host";
  try {
    (void)supervisor_.get(gpu);
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
  q.schemas[kSchemaIn] = q.options.schema;
  q.schemas[kSchemaOut] = q.options.result_schema;
  q.options.backend = choose_backend(plan);
  const bool pool_on_device = plan.shared && plan.shared->map->on_device();
  q.device = pool_on_device ? plan.shared->options.device : q.options.device;
  q.state = plan.lasting.state ? plan.lasting.state : first_state(object, q.options);
  if (is_handler_file(q.options.handler)) {
    q.image = plan.lasting.image ? plan.lasting.image
                                 : image_for(object, q.options, runner_on(q.device, q),
                                             {.may_be_linked = may_begin_linked(q.options)});
  }
  // A queue's own pool has the queue's name, by which other queues may share it.
  q.pool = plan.shared ? plan.shared
                       : build_pool(plan.name, PoolMap::of_queue(q.options), plan.pool_generation,
                                    plan.options.isolate ? plan.name : std::string());
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
    q.groups[g].paused = q.options.groups[g].paused;
  }
  apply_pauses(q);
  q.birth = plan.lasting.birth != 0 ? plan.lasting.birth : plan.generation;
  q.draining = plan.lasting.draining;
  if (q.draining) begin_draining(q);
  q.rate_at_ns = now_ns();
  start_executor(q, executed);
  if (plan.lasting.state) context_.log(LogLevel::warning, object + ": its state is " + q.state->as);
  return q;
}

void Registry::start_executor(QueueEntry& q, QueueMap::Executed executed) {
  const std::string object = object_of_queue(q.name);
  const bool by_device = executed == QueueMap::Executed::by_device;
  if (executed == QueueMap::Executed::none) return;
  if (!by_device && !q.image) {
    q.executor = make_host_executor(*q.map, *q.pool->map, {.builtin = find_host_handler(q.options.handler)},
                                    q.options.threads, q.options.wait, {.paused = q.options.paused});
    return;
  }
  auto runner =
      by_device ? supervisor_.get(runner_on(q.device, q)) : supervisor_.require(object, runner_on(kHostRunner, q));
  if (by_device && q.pool->map->on_device() && q.pool->runner != runner) {
    throw BackendError(object + ": pool '" + q.pool->name + "' was lost with its runner meanwhile");
  }
  if (by_device) q.asked = first_executor(q.options);
  auto executor =
      start_runner_executor(runner, q.options, *q.map, *q.pool, {.image = q.image.get(), .state = q.state.get()});
  q.id_there = executor->id();
  q.executor = std::move(executor);
  q.executed_by = std::move(runner);
}

std::shared_ptr<const HandlerImage> Registry::image_for(const std::string& object, const QueueOptions& options,
                                                        const RunnerKey& gpu, const Making& making) {
  HandlerTarget target;
  if (options.backend == "cuda") target.capability = supervisor_.require(object, gpu)->capability();
  auto image = compile_handler(object, options, target, making, context_.quit.get());
  context_.log(LogLevel::info, object + ": handler " + image->said);
  if (!image->warned.empty()) context_.log(LogLevel::warning, object + ": of its handler:" + image->warned);
  return image;
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
  if (comes_back(queue)) {
    throw NotFoundError(object_of_queue(queue) + ": its runner was lost, and it is being created anew; wait for it");
  }
  throw NotFoundError(object_of_queue(queue) + ": " + context_.self() + " has no such queue; it has " +
                      names_in(queues_));
}

bool Registry::comes_back(const std::string& queue) const {
  const auto it = queues_.find(queue);
  return it != queues_.end() ? it->second.lost : supervisor_.recreates_queue(queue);
}

QueueEntry* Registry::find_generation(const std::string& queue, std::uint64_t generation) {
  const auto it = queues_.find(queue);
  const bool same = it != queues_.end() && it->second.map->config().segment.generation == generation;
  return same ? &it->second : nullptr;
}

}  // namespace ipcq::detail
