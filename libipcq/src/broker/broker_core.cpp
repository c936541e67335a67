#include "broker/broker_core.hpp"

#include <grp.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>

#include "base/thread.hpp"
#include "ipcq/error.hpp"
#include "repair/membership.hpp"

namespace ipcq::detail {
namespace {

Segment::Access access_for(const std::string& group) {
  if (group.empty()) return {};
  check_c_string(group, "unix group");
  const ::group* entry = ::getgrnam(group.c_str());
  if (entry == nullptr) throw UsageError("unix group '" + group + "': does not exist on this system");
  return {.mode = 0660, .gid = static_cast<std::int64_t>(entry->gr_gid)};
}

void check_backend(const std::string& object, const std::string& backend) {
  if (backend == "auto" || backend == "host" || backend == "cuda") return;
  throw UsageError(object + ": backend '" + printable(backend) + "': use auto, host or cuda");
}

// As far as options tell what was given from what was left alone.
void check_handlers_threads(const std::string& object, const QueueOptions& o) {
  if (!o.handler.empty()) {
    if (o.threads != 0 && o.threads <= 256) return;
    throw UsageError(object + ": threads is " + std::to_string(o.threads) + "; allowed are 1 to 256");
  }
  const QueueOptions unset;
  const bool waits = o.wait.kind() != unset.wait.kind() || o.wait.spin_for() != unset.wait.spin_for();
  if (o.threads == unset.threads && !waits) return;
  throw UsageError(object + ": " + (waits ? "wait" : "threads") +
                   " says nothing here: it is of the handler's threads; name a handler, or leave it out");
}

// A name is taken while what bears it is being made. Tells when it is not any more.
class Reserved {
 public:
  Reserved(std::set<std::string>& names, std::condition_variable& changed, std::string object)
      : names_(names), changed_(changed), object_(std::move(object)) {
    if (!names_.insert(object_).second) throw UsageError(object_ + ": is being created already");
  }
  ~Reserved() {
    names_.erase(object_);
    changed_.notify_all();
  }
  Reserved(const Reserved&) = delete;
  Reserved& operator=(const Reserved&) = delete;

 private:
  std::set<std::string>& names_;
  std::condition_variable& changed_;
  std::string object_;
};

}  // namespace

BrokerCore::BrokerCore(const BrokerOptions& options)
    : log_(options.log), access_(access_for(options.group)), name_(options.name), started_at_ns_(now_ns()) {
  access_.log = [this](LogLevel level, const std::string_view text) { log(level, std::string(text)); };
  if (!name_.closed().empty()) log(LogLevel::warning, "broker '" + name_.name() + "': " + name_.closed());
  if (!name_.leftovers().empty()) {
    log(LogLevel::warning,
        "broker '" + name_.name() + "': the last one of this name did not stop cleanly; removed " + name_.leftovers());
  }
  quit_ = make_eventfd();
  reserve_.fill();
  epoll_ = Fd(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll_) throw_system(errno, "epoll_create1", "broker '" + name_.name() + "'");
  listener_ = name_.listen(access_.mode, access_.gid);
  if (access_.gid >= 0 && !name_.is_reachable_by(access_.gid)) {
    log(LogLevel::warning, "broker '" + name_.name() + "': the directory of " + name_.socket_path() +
                               " is closed to members of group '" + options.group +
                               "'; give the broker a path (--name) in one that they may search");
  }
  watch(quit_.get());
  watch(listener_.get());
  require_thread(thread_, "broker '" + name_.name() + "'", [this] { serve(); });
}

void BrokerCore::log(LogLevel level, const std::string& text) const { log_.add(level, text); }

// Unique among all segments that a client could have seen under one name.
std::uint64_t BrokerCore::new_generation() noexcept {
  last_generation_ = std::max(last_generation_ + 1, now_ns());
  return last_generation_;
}

std::shared_ptr<PoolState> BrokerCore::make_pool(const std::string& name, const PoolOptions& options) {
  auto pool = std::make_shared<PoolState>();
  Unfinished unfinished(mutex_, pool);
  const std::uint64_t generation = new_generation();
  pool->name = name;
  pool->options = options;
  DeviceMemory memory;
  const bool on_device = options.backend == "cuda";
  if (on_device) memory = allocate(*pool);
  const Opened opened(mutex_);
  pool->map = PoolMap::create(name_.segment("pool", name, generation), name, options, on_device ? &memory : nullptr,
                              generation, access_);
  IPCQ_STEP("create.pool_made");
  unfinished.finish();
  return pool;
}

void BrokerCore::create_pool(const std::string& name, const PoolOptions& options) {
  check_name(name, "pool");
  const std::scoped_lock lock(mutex_);
  check_running("pool '" + name + "'");
  if (pools_.count(name) != 0) throw UsageError("pool '" + name + "': exists already");
  if (recoveries_.awaits_pool(name)) throw UsageError("pool '" + name + "': is being created anew already");
  if (options.slots == 0) throw UsageError("pool '" + name + "': slots is 0; a pool that queues share needs some");
  check_backend("pool '" + name + "'", options.backend);
  add_pool(name, options);
}

void BrokerCore::add_pool(const std::string& name, const PoolOptions& options) {
  const std::string object = "pool '" + name + "'";
  const Reserved reserved(creating_, changed_, object);
  if (options.backend == "auto" && (options.device != 0 || options.mirror != Mirror::full)) {
    throw UsageError(object + ": " + (options.device != 0 ? "device" : "mirror") +
                     " says nothing here: backend 'auto' is host for a pool; say backend cuda, or leave it out");
  }
  if (options.backend == "cuda") require_runner(object, options.device);
  auto pool = make_pool(name, options);
  Unfinished unfinished(mutex_, pool);
  check_running(object);
  if (is_lost(*pool)) throw BackendError(object + ": its runner ended meanwhile");
  if (!pools_.emplace(name, pool).second) throw UsageError(object + ": exists already");
  unfinished.finish();
}

void BrokerCore::check_running(const std::string& object) const {
  if (stopped_) throw UsageError(object + ": the broker has stopped");
}

void BrokerCore::check_options(const std::string& name, const QueueOptions& o) const {
  const std::string object = "queue '" + name + "'";
  if (queues_.count(name) != 0) throw UsageError(object + ": exists already");
  check_backend(object, o.backend);
  if (!o.handler.empty() && find_host_handler(o.handler) == nullptr) {
    std::string known;
    for (const auto& h : handler_names()) known += (known.empty() ? "" : ", ") + h;
    throw UsageError(object + ": handler '" + printable(o.handler) + "' is not known; there are " + known);
  }
  check_handlers_threads(object, o);
  if (o.pool.empty()) (void)PoolMap::needs(object, PoolMap::of_queue(o));  // else its pool would be named
  if (o.pool.empty() && pools_.count(name) != 0) {
    throw UsageError(object + ": a pool of that name exists already; say pool=" + name + " to share it");
  }
  if (!o.pool.empty() && pools_.count(o.pool) == 0) {
    throw UsageError(object + ": pool '" + printable(o.pool) + "' does not exist; create it before the queue (--pool " +
                     printable(o.pool) + "=SIZE,slots=N), or name the queue whose own pool it is");
  }
  for (std::size_t i = 0; i < o.groups.size(); ++i) {
    check_name(o.groups[i].name, "group");
    for (std::size_t j = 0; j < i; ++j) {
      if (o.groups[i].name == o.groups[j].name) throw UsageError(object + ": group '" + o.groups[i].name + "' twice");
    }
  }
}

void BrokerCore::create_queue(const std::string& name, const QueueOptions& options) {
  check_name(name, "queue");
  const std::scoped_lock lock(mutex_);
  check_running("queue '" + name + "'");
  if (recoveries_.awaits_queue(name) || (options.pool.empty() && recoveries_.awaits_pool(name))) {
    throw UsageError("queue '" + name + "': what has that name is being created anew already");
  }
  if (!options.pool.empty() && recoveries_.awaits_pool(options.pool)) {
    throw BackendError("queue '" + name + "': pool '" + options.pool + "' is being created anew; try again");
  }
  check_options(name, options);
  if (const auto pool = pools_.find(options.pool); pool != pools_.end() && is_lost(*pool->second)) {
    throw BackendError("queue '" + name + "': pool '" + options.pool + "' was lost with its runner; try again");
  }
  add_queue(name, options);
}

void BrokerCore::add_queue(const std::string& name, const QueueOptions& options) {
  const std::string object = "queue '" + name + "'";
  const Reserved reserved(creating_, changed_, object);
  std::optional<Reserved> own_pool;
  if (options.pool.empty()) own_pool.emplace(creating_, changed_, "pool '" + name + "'");
  const std::shared_ptr<PoolState> shared = options.pool.empty() ? nullptr : pools_.at(options.pool);
  QueueEntry q;
  Unfinished unfinished(mutex_, q);
  q.name = name;
  q.options = options;
  q.options.backend = backend_for(name, options, shared.get());
  // A queue's own pool has the queue's name; other queues may share it by that.
  q.pool = shared ? shared : make_pool(name, PoolMap::of_queue(q.options));
  const std::uint64_t generation = new_generation();
  const auto executed = QueueMap::executed(q.options, q.pool->map->config());
  {
    const Opened opened(mutex_);
    q.map = QueueMap::create(name_.segment("queue", name, generation), name, options, executed, q.pool->map->config(),
                             generation, access_);
    IPCQ_STEP("create.queue_made");
  }
  q.endpoints.resize(options.endpoints);
  q.kept.resize(options.endpoints);
  for (std::size_t g = 0; g < options.groups.size(); ++g) {
    q.groups[g].name = options.groups[g].name;
    q.groups[g].durable = true;
    q.groups[g].lossy = options.groups[g].policy == GroupPolicy::lossy;
  }
  q.rate_at_ns = now_ns();
  q.device = q.pool->map->on_device() ? q.pool->options.device : options.device;
  if (executed == QueueMap::Executed::by_device) start_on_device(q);
  if (executed == QueueMap::Executed::by_host) {
    q.executor =
        make_host_executor(*q.map, *q.pool->map, find_host_handler(options.handler), options.threads, options.wait);
  }
  // The mutex may have been open.
  check_running(object);
  const bool lost_runner = q.executed_by && q.executed_by->has_ended();
  if (lost_runner || is_lost(*q.pool)) throw BackendError(object + ": its runner ended meanwhile");
  const auto [pool, fresh] = pools_.emplace(q.pool->name, q.pool);
  if (pool->second != q.pool || fresh != options.pool.empty()) {
    if (fresh) pools_.erase(pool);
    throw BackendError(object + ": pool '" + q.pool->name + "' was lost meanwhile; try again");
  }
  queues_.emplace(name, std::move(q));
  unfinished.finish();
}

QueueEntry& BrokerCore::find(const std::string& queue) {
  return const_cast<QueueEntry&>(std::as_const(*this).find(queue));
}

const QueueEntry& BrokerCore::find(const std::string& queue) const {
  const auto it = queues_.find(queue);
  if (it != queues_.end() && !it->second.lost) return it->second;
  if (it != queues_.end() || recoveries_.awaits_queue(queue)) {
    throw NotFoundError("queue '" + queue + "': its runner was lost, and it is being created anew; wait for it");
  }
  std::string known;
  for (const auto& [name, q] : queues_) known += (known.empty() ? "" : ", ") + name;
  throw NotFoundError("queue '" + queue + "': broker '" + name_.name() + "' has no such queue; it has " +
                      (known.empty() ? "none" : known));
}

void BrokerCore::end_of_stream(const std::string& queue) {
  const std::scoped_lock lock(mutex_);
  end_stream(find(queue));
}

}  // namespace ipcq::detail

namespace ipcq {

namespace {

detail::BrokerCore& usable(const std::unique_ptr<detail::BrokerCore>& core) {
  if (!core) throw UsageError("broker: none was started here; assign one, as ipcq::Broker({.name = ...})");
  if (core->is_forked_child()) {
    throw UsageError("broker at " + core->socket_path() + ": used after fork; it is the parent's");
  }
  return *core;
}

}  // namespace

Broker::Broker(BrokerOptions options) : core_(std::make_unique<detail::BrokerCore>(options)) {}
Broker::Broker(std::nullptr_t) noexcept {}
Broker::Broker(Broker&&) noexcept = default;
Broker& Broker::operator=(Broker&& other) noexcept {
  if (this != &other) {
    const Broker before(std::move(*this));
    core_ = std::move(other.core_);
  }
  return *this;
}
Broker::~Broker() {
  if (core_ && core_->is_forked_child()) detail::keep_for_ever(std::move(core_));
}
void Broker::create_pool(const std::string& name, PoolOptions options) { usable(core_).create_pool(name, options); }
void Broker::create(const std::string& queue, QueueOptions options) { usable(core_).create_queue(queue, options); }
void Broker::end_of_stream(const std::string& queue) {
  detail::BrokerCore& core = usable(core_);
  detail::check_name(queue, "queue");
  core.end_of_stream(queue);
}
std::uint64_t Broker::stop(Timeout drain_for) { return core_ ? core_->stop(drain_for) : 0; }
BrokerStats Broker::stats() const { return usable(core_).stats(); }
std::string Broker::socket_path() const {
  if (!core_) (void)usable(core_);  // throws
  return core_->socket_path();
}
std::string Broker::dump(const std::string& queue) const {
  const detail::BrokerCore& core = usable(core_);
  detail::check_name(queue, "queue");
  return core.dump(queue);
}

}  // namespace ipcq
