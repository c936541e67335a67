// Device queues: which backend a queue gets, its runner, its executor, and producers whose GPU is late.
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "broker/broker_core.hpp"
#include "ipcq/error.hpp"
#include "repair/membership.hpp"

namespace ipcq::detail {
namespace {

// An idle persistent kernel ends after this long: other processes' GPU work is then as fast as on an empty GPU.
constexpr std::uint64_t kParkAfter = 20'000'000;

// The executor of a queue, in a runner.
class DeviceExecutor final : public Executor {
 public:
  DeviceExecutor(std::shared_ptr<RunnerLink> runner, std::uint64_t id, QueueMap& queue, PoolMap& pool)
      : runner_(std::move(runner)), id_(id), queue_(queue), pool_(pool) {}
  ~DeviceExecutor() override { stop(); }

  void stop() noexcept override {
    if (std::exchange(stopped_, true) || fork_epoch() != epoch_) return;
    release_late_payloads(queue_, pool_);  // or it would wait for them
    RunnerRequest r;
    r.op = RunnerOp::stop_queue;
    r.id = id_;
    try {
      (void)runner_->request(r);
    } catch (const std::exception&) {  // it has ended, and the kernel with it
    }
  }

 private:
  std::shared_ptr<RunnerLink> runner_;
  std::uint64_t id_;
  QueueMap& queue_;
  PoolMap& pool_;
  const std::uint32_t epoch_ = fork_epoch();
  bool stopped_ = false;
};

bool has_gpu() { return ::access("/dev/nvidiactl", F_OK) == 0 && !RunnerLink::find_program().empty(); }

}  // namespace

PoolState::~PoolState() {
  if (!runner || fork_epoch() != epoch) return;
  RunnerRequest r;
  r.op = RunnerOp::free;
  r.id = block;
  try {
    (void)runner->request(r);
  } catch (const std::exception&) {  // it has ended, and its memory is free
  }
}

RunnerReply BrokerCore::ask(RunnerLink& runner, const RunnerRequest& request) {
  const Opened opened(mutex_);
  return runner.request(request);
}

std::shared_ptr<RunnerLink> BrokerCore::runner_of(int device) {
  const std::string object = object_of(device);
  check_running(object);
  if (const auto known = runners_.find(device); known != runners_.end()) {
    if (!known->second.link->has_ended()) return known->second.link;
    await_gone(device);
  }
  WatchedRunner watched;
  Unfinished unfinished(mutex_, watched);
  try {
    const Opened opened(mutex_);
    watched.link = RunnerLink::get(device, quit_.get());
    watched.socket = watched.link->watch();
    watched.process = watched.link->watch_process();
  } catch (const BackendError&) {
    check_running(object);  // else it is that
    throw;
  }
  check_running(object);
  if (const auto known = runners_.find(device); known != runners_.end()) return known->second.link;
  start_recovery();
  watch_runner(device, watched);
  const RunnerLink& link = *watched.link;
  log(LogLevel::info, object + " (" + link.device_name() + "): runner pid " + std::to_string(link.pid()) + ", " +
                          (link.has_mps() ? "under MPS" : "without MPS"));
  unfinished.finish();
  return (runners_[device] = std::move(watched)).link;
}

void BrokerCore::watch_runner(int device, const WatchedRunner& watched) {
  epoll_event e{};
  e.events = EPOLLRDHUP;  // answers are read by whoever asked
  e.data.fd = watched.socket.get();
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, watched.socket.get(), &e) != 0) {
    throw_system(errno, "epoll_ctl", "runner of " + object_of(device));
  }
  try {
    watch(watched.process.get());
  } catch (...) {
    unwatch(watched.socket.get());
    throw;
  }
}

// The runner of a GPU that `object` must have.
void BrokerCore::require_runner(const std::string& object, int device) {
  try {
    (void)runner_of(device);
  } catch (const BackendError& e) {
    throw BackendError(object + ": backend 'cuda' cannot run here: " + e.what());
  }
}

// "host" or "cuda" for a queue that may have left it open. `shared`: the pool that it shares, or null.
std::string BrokerCore::backend_for(const std::string& name, const QueueOptions& o, const PoolState* shared) {
  const bool on_device = shared != nullptr && shared->map->on_device();
  const std::string object = "queue '" + name + "'";
  if (o.backend == "host" && on_device) {
    throw UsageError(object + ": backend 'host', but pool '" + o.pool + "' is in device memory; use backend cuda");
  }
  if (o.backend == "cuda" && shared != nullptr && !on_device) {
    throw UsageError(object + ": backend 'cuda', but pool '" + o.pool +
                     "' is in host memory; create the pool with backend cuda");
  }
  if (on_device && shared->options.device != o.device && o.device != 0) {
    throw UsageError(object + ": device " + std::to_string(o.device) + ", but pool '" + o.pool + "' is on device " +
                     std::to_string(shared->options.device));
  }
  if (o.backend == "cuda") require_runner(object, on_device ? shared->options.device : o.device);
  if (o.backend != "auto") return o.backend;
  if (shared != nullptr ? !on_device : o.handler.empty()) {  // host, whatever the machine
    const char* const key = o.device != 0                       ? "device"
                            : o.mirror != Mirror::full          ? "mirror"
                            : !o.host_readable                  ? "host_readable"
                            : o.executor != ExecutorKind::auto_ ? "executor"
                                                                : nullptr;
    if (key != nullptr) {
      throw UsageError(object + ": " + key + " says nothing here: backend 'auto' is host " +
                       (shared != nullptr ? "as pool '" + o.pool + "' is; name a pool on a GPU"
                                          : "without a handler; say backend cuda") +
                       ", or leave it out");
    }
  }
  if (shared != nullptr) return on_device ? "cuda" : "host";
  if (o.handler.empty() || !has_gpu()) return "host";
  try {
    (void)runner_of(o.device);
    return "cuda";
  } catch (const BackendError& e) {
    log(LogLevel::warning, object + ": backend host, since " + e.what());
    return "host";
  }
}

DeviceMemory BrokerCore::allocate(PoolState& pool) {
  const MemoryNeeds needs = PoolMap::needs("pool '" + pool.name + "'", pool.options);
  log(LogLevel::info, "pool '" + pool.name + "': needs " + format_bytes(needs.device_memory) + " of GPU " +
                          std::to_string(pool.options.device) + "'s memory, " + format_bytes(needs.shared_memory) +
                          " of /dev/shm, of which " + format_bytes(needs.pinned) + " are pinned");
  auto runner = runner_of(pool.options.device);
  RunnerRequest r;
  r.op = RunnerOp::allocate;
  r.bytes = needs.device_memory;
  const RunnerReply reply = ask(*runner, r);
  pool.runner = std::move(runner);
  pool.block = reply.id;
  return reply.memory;
}

void BrokerCore::start_on_device(QueueEntry& q) {
  const bool pooled = q.pool->map->on_device();
  const auto runner = runner_of(q.device);
  if (pooled && q.pool->runner != runner) {
    throw BackendError("queue '" + q.name + "': pool '" + q.pool->name + "' was lost with its runner meanwhile");
  }
  RunnerRequest r;
  r.op = RunnerOp::start_queue;
  r.executor = q.options.executor == ExecutorKind::stream ? ExecutorKind::stream : ExecutorKind::persistent;
  r.id = pooled ? q.pool->block : 0;
  r.park_after_ns = kParkAfter;
  set_text(r.queue_segment, sizeof r.queue_segment, q.map->segment().name());
  set_text(r.pool_segment, sizeof r.pool_segment, q.pool->map->segment().name());
  set_text(r.handler, sizeof r.handler, q.options.handler.empty() ? "identity" : q.options.handler);
  q.map->control().executor.store(static_cast<std::uint64_t>(r.executor), std::memory_order_relaxed);
  q.asked = r.executor;
  const std::uint64_t id = ask(*runner, r).id;
  q.executed_by = runner;
  q.executor = std::make_unique<DeviceExecutor>(runner, id, *q.map, *q.pool->map);
}

bool BrokerCore::has_mps(const QueueEntry& q) const {
  const auto runner = runners_.find(q.device);
  return runner != runners_.end() && runner->second.link->has_mps();
}

// Why an endpoint cannot use a queue in device memory; empty when it can.
std::string BrokerCore::device_refusal(const QueueEntry& q, bool consumer, bool uses_cuda) const {
  if (uses_cuda || !q.pool->map->on_device()) return {};
  const std::string object = "queue '" + q.name + "': ";
  const char* const gpu_client = ", or attach with a GPU ({.cuda = true}; --device)";
  if (!q.pool->map->has_host_payloads()) {
    return object +
           "its payloads are in device memory alone (mirror=none), which a client without a GPU cannot reach; "
           "create the pool with mirror=full" +
           gpu_client;
  }
  if (consumer && !q.map->is_host_readable()) {
    return object +
           "its results stay in device memory (host_readable=no), where a consumer without a GPU cannot read "
           "them; create the queue with host_readable=yes" +
           gpu_client;
  }
  return {};
}

// Without MPS a kernel that stays would cost every GPU client a time slice per operation.
void BrokerCore::prefer_stream(QueueEntry& q) {
  if (!q.map->on_device() || q.options.executor != ExecutorKind::auto_) return;
  if (q.asked == ExecutorKind::stream || has_mps(q) || q.wants_stream) return;
  log(LogLevel::info, "queue '" + q.name + "': a client with a GPU attaches and there is no MPS: executor stream");
  if (switch_executor(q, ExecutorKind::stream) != ClaimOutcome::full) return;
  log(LogLevel::warning, "queue '" + q.name +
                             "': it is full; the executor changes as soon as there is a place in it, "
                             "and until then GPU work of its clients waits for time slices");
  q.wants_stream = true;
  switching_ = true;  // finish_switching() follows in serve()
}

bool BrokerCore::finish_switching() {
  bool all = true;
  for (auto& [name, q] : queues_) {
    if (!q.wants_stream) continue;
    const bool wanted =
        std::any_of(q.endpoints.begin(), q.endpoints.end(), [](const auto& e) { return e.client != 0 && e.uses_cuda; });
    q.wants_stream = wanted && switch_executor(q, ExecutorKind::stream) == ClaimOutcome::full;
    all = all && !q.wants_stream;
  }
  return all;
}

// Does not wait for a place in a queue that is full.
ClaimOutcome BrokerCore::switch_executor(QueueEntry& q, ExecutorKind kind) {
  const std::string object = "queue '" + q.name + "': ";
  if (!q.map->on_device()) {
    throw UsageError(object + "its executor is not a GPU's (backend " + (q.executor ? "host" : "host, no handler") +
                     "), so there is nothing to switch");
  }
  if (kind != ExecutorKind::persistent && kind != ExecutorKind::stream) {
    throw UsageError(object + "executor " +
                     (kind == ExecutorKind::auto_ ? "'auto'" : std::to_string(static_cast<std::uint64_t>(kind))) +
                     ": name persistent or stream");
  }
  // A ticket of the ring: what comes before it is done by the old executor, what comes after it by the new one.
  const auto& ring = q.map->ring();
  std::uint64_t limit = 0;
  const PublishClaim c = ring.claim_publish(kBrokerClient, 1, limit);
  if (c.outcome != ClaimOutcome::ok) return c.outcome;
  Descriptor d;
  d.kind = LineKind::control;
  d.producer = kBrokerClient;
  d.sequence = static_cast<std::uint64_t>(kind == ExecutorKind::stream ? ControlOp::switch_to_stream
                                                                       : ControlOp::switch_to_persistent);
  ring.publish(c.ticket, d, nullptr);
  q.asked = kind;
  q.tombstones.insert(std::upper_bound(q.tombstones.begin(), q.tombstones.end(), c.ticket), c.ticket);
  auto& control = q.map->control();
  ring_always(control.work);
  ring_always(control.waker);
  if (control.end_ticket.load(std::memory_order_relaxed) == kNoTicket) return ClaimOutcome::ok;
  // The stream has ended, and does so behind this ticket now.
  // SYNC stream-end (release). Pairs with: is_at_end.
  control.end_ticket.store(ring.cursor(kProducers).next, std::memory_order_release);
  for (Doorbell& bell : control.ready) ring_always(bell);
  return ClaimOutcome::ok;
}

Reply BrokerCore::set_executor(QueueEntry& q, ExecutorKind kind) {
  switch (switch_executor(q, kind)) {
    case ClaimOutcome::ok:
      q.wants_stream = false;     // the latest word counts
      q.options.executor = kind;  // and holds when it is created anew
      break;
    case ClaimOutcome::full:
      return refuse(Refusal::busy, "queue '" + q.name + "': it is full, and a switch takes a place in it; try again");
    case ClaimOutcome::closed:
      return refuse(Refusal::usage, "queue '" + q.name + "': it is being closed");
  }
  return {};
}

// A driver keeps a process' GPU work running while anybody has its descriptors open: a child that the process forked
// has copies, and then one of the connection, too, which does not hang up. Under MPS the server has its say: see
// broker_quarantine.cpp.
bool BrokerCore::may_gpu_outlive(const QueueEntry& q, const EndpointState& e) const {
  return e.uses_cuda && (has_mps(q) || !has_hung_up(e.session));
}

void BrokerCore::keep_late_writer(const QueueEntry& q, const EndpointState& e) {
  const ClientState* const client = client_at(e.session);
  if (client == nullptr) return;
  const std::string whose = "queue '" + q.name + "': a producer of pid " + std::to_string(e.pid) +
                            " has closed, but its GPU has not completed what it published; readers wait for that";
  try {
    LateWriter w{copy_of(client->pidfd, "pidfd of process " + std::to_string(e.pid)), e.client, q.name,
                 q.map->config().segment.generation};
    late_writers_.reserve(late_writers_.size() + 1);
    watch(w.pidfd.get());
    late_writers_.push_back(std::move(w));
    log(LogLevel::warning, whose);
  } catch (const std::exception& error) {  // the endpoint closes all the same
    log(LogLevel::error, whose + ", and nobody sees its process end: " + error.what());
  }
}

// False when the descriptor is not that of one.
bool BrokerCore::late_writer_died(int fd) {
  const auto w = std::find_if(late_writers_.begin(), late_writers_.end(),
                              [&](const LateWriter& l) { return l.pidfd.get() == fd; });
  if (w == late_writers_.end()) return false;
  if (!has_ended(w->pidfd)) return true;  // the event was for an earlier owner of this number
  unwatch(fd);
  const auto q = queues_.find(w->queue);
  if (q != queues_.end() && q->second.map->config().segment.generation == w->generation) {
    const Ended ended{.client = w->client,
                      .kind = EndpointKind::producer,
                      .uses_cuda = true,
                      .gpu_may_outlive = has_mps(q->second) || may_be_inherited(w->client)};
    const RepairReport report = repair_late_writes(*q->second.map, *q->second.pool->map, ended);
    if (report.unwritten != 0) {
      log(LogLevel::error, "queue '" + w->queue + "': " + std::to_string(report.unwritten) +
                               " messages of a process that has ended were never completed by its GPU, and are lost");
    }
  }
  late_writers_.erase(w);
  return true;
}

}  // namespace ipcq::detail
