// Slots that a client's GPU work may still write after its end: when they serve again.
//
// Three things prove that it has ended. Its process has. Nobody holds its connection any more: a child that it forked
// has the driver's descriptors as well, and the driver goes on with the work for as long. And under MPS, where the
// server runs the work, the context of the pool's runner has outlived both: a client that is killed within a kernel
// takes all contexts of its server along. (docs/design/cuda.md, "Death", has what was measured.)
//
// The runner is asked on a thread of its own, since it may take its time.
#include <sys/epoll.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "broker/broker_core.hpp"

namespace ipcq::detail {
namespace {

// How long a stop waits for a runner that is being asked.
constexpr auto kCheckPatience = std::chrono::seconds(5);

// Whether the end of a client proves nothing until the pool's runner has been asked.
bool asks_runner(const PoolState& pool) { return pool.runner && pool.runner->has_mps(); }

}  // namespace

bool BrokerCore::keep_quarantine(const QueueEntry& q, const EndpointState& e) {
  const ClientState* const client = client_at(e.session);
  if (client == nullptr) return false;
  try {
    Quarantine kept{.client = e.client,
                    .pid = e.pid,
                    .pool = q.pool,
                    .session = e.session,
                    .pidfd = copy_of(client->pidfd, "pidfd of process " + std::to_string(e.pid))};
    quarantines_.reserve(quarantines_.size() + 1);
    watch(kept.pidfd.get());
    quarantines_.push_back(std::move(kept));
    return true;
  } catch (const std::exception& error) {
    log(LogLevel::error, "queue '" + q.name + "': slots that the GPU work of pid " + std::to_string(e.pid) +
                             " may still write stay out of use until the queue is created anew: " + error.what());
    return false;
  }
}

// False when the descriptor is not of one. What has happened look_at_quarantines() sees, and it happens once; an event
// may also have been for an earlier owner of this number.
bool BrokerCore::serve_quarantine(int fd) {
  for (const Quarantine& q : quarantines_) {
    const bool ended = q.pidfd.get() == fd;
    if (!ended && !(q.connection && q.connection->get() == fd)) continue;
    if (ended ? has_ended(q.pidfd) : has_hung_up(fd)) unwatch(fd);
    return true;
  }
  return false;
}

bool BrokerCore::may_be_inherited(std::uint32_t client) const {
  return std::any_of(quarantines_.begin(), quarantines_.end(), [client](const Quarantine& q) {
    return q.client == client && !has_hung_up(q.connection ? q.connection->get() : q.session);
  });
}

// Of a client that is about to be dropped: not hung up on, since only then it shows who else has it.
void BrokerCore::keep_connection(ClientState& client) {
  const int fd = client.socket.get();
  std::shared_ptr<const Fd> kept;
  for (Quarantine& q : quarantines_) {
    if (q.session != fd) continue;
    if (!kept) {
      unwatch(fd);
      // What its heirs may have sent is not closed here: that could take long (closer.hpp).
      kept = std::shared_ptr<Fd>(new Fd(std::move(client.socket)), [this](Fd* socket) {
        closer_.hang_up(std::move(*socket));
        delete socket;
      });
      epoll_event e{};
      e.events = EPOLLRDHUP;  // whatever a child may send is not read
      e.data.fd = fd;
      if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &e) != 0) {
        log(LogLevel::error, "client pid " + std::to_string(q.pid) +
                                 ": cannot be watched, so slots that it wrote to may stay out of use until the next "
                                 "client comes or goes");
      }
    }
    q.session = -1;
    q.connection = kept;
  }
}

void BrokerCore::drop_quarantine(Quarantine& q) noexcept {
  unwatch(q.pidfd.get());
  if (q.connection && q.connection.use_count() == 1) unwatch(q.connection->get());
  q.connection.reset();
}

void BrokerCore::end_quarantine_of(const Quarantine& q, PoolState& pool) const {
  const std::uint64_t slots = end_quarantine(*pool.map, q.client);
  if (slots == 0) return;
  log(LogLevel::info, "pool '" + pool.name + "': " + std::to_string(slots) +
                          " slots serve again, since the GPU work of pid " + std::to_string(q.pid) + " has ended");
}

// Its process has ended and no child of it has its connection; what it published late has been buried.
bool BrokerCore::has_left(const Quarantine& q) const {
  const bool late = std::any_of(late_writers_.begin(), late_writers_.end(),
                                [&q](const LateWriter& w) { return w.client == q.client; });
  return !late && q.connection && has_ended(q.pidfd) && has_hung_up(q.connection->get());
}

void BrokerCore::look_at_quarantines() {
  bool any_due = false;
  std::erase_if(quarantines_, [&](Quarantine& q) {
    const auto pool = q.pool.lock();
    if (pool && !is_lost(*pool)) {
      if (!has_left(q)) return false;
      if (asks_runner(*pool)) {
        any_due = true;
        return false;
      }
      end_quarantine_of(q, *pool);
    }
    drop_quarantine(q);  // or its memory is gone, and the slots with it
    return true;
  });
  if (any_due) start_check();
}

// Where no thread is to be had, the next event of the broker tries again.
void BrokerCore::start_check() {
  if (checking_ || stopped_) return;
  if (check_.joinable()) check_.join();  // it has ended
  checking_ = start_thread(check_, [this] { check_contexts(); });
}

// Asks the runners of all quarantines that are due, and ends those whose runner's context works.
void BrokerCore::check_contexts() noexcept {
  std::unique_lock lock(mutex_);
  while (!stopped_) {
    std::shared_ptr<RunnerLink> runner;
    for (Quarantine& q : quarantines_) {
      const auto pool = q.pool.lock();
      if (!pool || is_lost(*pool) || !asks_runner(*pool) || !has_left(q)) continue;
      if (!runner) runner = pool->runner;
      q.asked = pool->runner == runner;
    }
    if (!runner) break;
    checked_ = runner;
    std::string why;
    try {
      (void)ask(*runner, {.op = RunnerOp::check});  // opens the mutex
    } catch (const std::exception& e) {
      why = e.what();
    }
    checked_.reset();
    if (!why.empty() && !runner->has_ended()) {
      log(LogLevel::error, why + "; ends this runner (pid " + std::to_string(runner->pid()) + ")");
      runner->kill();
    }
    std::erase_if(quarantines_, [&](Quarantine& q) {
      const auto pool = q.pool.lock();
      if (!std::exchange(q.asked, false)) return false;
      if (pool && why.empty()) end_quarantine_of(q, *pool);
      drop_quarantine(q);
      return true;
    });
  }
  checking_ = false;
  changed_.notify_all();
}

void BrokerCore::end_check() {
  {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, kCheckPatience, [this] { return !checking_; })) {
      if (checked_) checked_->kill();
    }
  }
  if (check_.joinable()) check_.join();
}

}  // namespace ipcq::detail
