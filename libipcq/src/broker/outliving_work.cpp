#include "broker/outliving_work.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/thread.hpp"
#include "repair/repair.hpp"

namespace ipcq::detail {
namespace {

// How long a stop waits for the answer of a runner before it kills it.
constexpr auto kCheckPatience = std::chrono::seconds(5);

// Whether a quarantine of the pool ends only once its runner has been asked: under MPS.
bool asks_runner(const PoolEntry& pool) { return pool.runner && pool.runner->has_mps(); }

std::string object_of(const QueueEntry& q) { return "queue '" + q.name + "'"; }

// A copy of the client's pidfd: the client may be removed first.
Fd process_of(const ConnectedClient& client) {
  return copy_of(client.pidfd, "pidfd of process " + std::to_string(client.pid));
}

}  // namespace

// The driver goes on with a process' GPU work while any process has its descriptors open. A forked child has copies of
// them, and of the connection, which therefore does not hang up. Under MPS the server runs the work.
bool OutlivingWork::may_outlive(const QueueEntry& q, const EndpointEntry& e) const {
  return e.uses_cuda && (supervisor_.has_mps(q.device) || !has_hung_up(e.session));
}

bool OutlivingWork::bears(std::uint32_t client) const {
  const auto has_it = [client](const auto& kept) { return kept.client == client; };
  return std::any_of(late_writers_.begin(), late_writers_.end(), has_it) ||
         std::any_of(quarantines_.begin(), quarantines_.end(), has_it);
}

bool OutlivingWork::keeps_connection(int session) const {
  return std::any_of(quarantines_.begin(), quarantines_.end(),
                     [session](const Quarantine& q) { return q.session == session; });
}

void OutlivingWork::keep_late_writer(const QueueEntry& q, const EndpointEntry& e) {
  const ConnectedClient* const client = clients_.at_socket(e.session);
  if (client == nullptr) return;
  const std::string whose = object_of(q) + ": a producer of pid " + std::to_string(e.pid) +
                            " has closed, but its GPU has not completed what it published; readers wait for that";
  try {
    LateWriter w{process_of(*client), e.client, q.name, q.map->config().segment.generation};
    late_writers_.reserve(late_writers_.size() + 1);
    context_.polls.watch(w.pidfd.get());
    late_writers_.push_back(std::move(w));
    context_.log(LogLevel::warning, whose);
  } catch (const std::exception& error) {  // the endpoint closes even so
    context_.log(LogLevel::error, whose + ", and nobody sees its process end: " + error.what());
  }
}

bool OutlivingWork::keep_quarantine(const QueueEntry& q, const EndpointEntry& e) {
  const ConnectedClient* const client = clients_.at_socket(e.session);
  if (client == nullptr) return false;
  try {
    Quarantine kept{
        .client = e.client, .pid = e.pid, .pool = q.pool, .session = e.session, .pidfd = process_of(*client)};
    quarantines_.reserve(quarantines_.size() + 1);
    context_.polls.watch(kept.pidfd.get());
    quarantines_.push_back(std::move(kept));
    return true;
  } catch (const std::exception& error) {
    context_.log(LogLevel::error,
                 object_of(q) + ": slots that the GPU work of pid " + std::to_string(e.pid) +
                     " may still write stay out of use until the queue is created anew: " + error.what());
    return false;
  }
}

// The socket is not shut down: it could not show any more whether another process has the other end.
void OutlivingWork::keep_connection(ConnectedClient& client) {
  const int fd = client.socket.get();
  std::shared_ptr<const Fd> kept;
  for (Quarantine& q : quarantines_) {
    if (q.session != fd) continue;
    if (!kept) {
      context_.polls.unwatch(fd);
      // Closer closes it: what forked children have sent could make a close here take long.
      kept = std::shared_ptr<Fd>(new Fd(std::move(client.socket)), [this](Fd* socket) {
        closer_.hang_up(std::move(*socket));
        delete socket;
      });
      try {
        context_.polls.watch(fd, PollSet::For::hang_up);  // whatever a child may send is not read
      } catch (const std::exception& error) {
        context_.log(LogLevel::error, "client pid " + std::to_string(q.pid) +
                                          ": cannot be watched, so slots that it wrote to may stay out of use until "
                                          "the next client comes or goes: " +
                                          error.what());
      }
    }
    q.session = -1;
    q.connection = kept;
  }
}

bool OutlivingWork::serve(int fd) { return serve_late_writer(fd) || serve_quarantine(fd); }

bool OutlivingWork::serve_late_writer(int fd) {
  const auto w = std::find_if(late_writers_.begin(), late_writers_.end(),
                              [fd](const LateWriter& l) { return l.pidfd.get() == fd; });
  if (w == late_writers_.end()) return false;
  if (!has_ended(w->pidfd)) return true;  // the event was for an earlier owner of this number
  context_.polls.unwatch(fd);
  if (const QueueEntry* const q = registry_.find_generation(w->queue, w->generation); q != nullptr) {
    const Ended ended{.client = w->client,
                      .kind = EndpointKind::producer,
                      .uses_cuda = true,
                      .gpu_may_outlive = supervisor_.has_mps(q->device) || may_be_inherited(w->client)};
    const RepairReport report = repair_late_writes(*q->map, *q->pool->map, ended);
    if (report.unwritten != 0) {
      context_.log(LogLevel::error, object_of(*q) + ": " + std::to_string(report.unwritten) +
                                        " messages of a process that has ended were never completed by its GPU, and "
                                        "are lost");
    }
  }
  late_writers_.erase(w);
  return true;
}

// Only stops watching a descriptor whose event has come; check_quarantines() acts on it. It is checked, since the event
// may have been for an earlier owner of this number.
bool OutlivingWork::serve_quarantine(int fd) {
  for (const Quarantine& q : quarantines_) {
    const bool ended = q.pidfd.get() == fd;
    if (!ended && !(q.connection && q.connection->get() == fd)) continue;
    if (ended ? has_ended(q.pidfd) : has_hung_up(fd)) context_.polls.unwatch(fd);
    return true;
  }
  return false;
}

bool OutlivingWork::may_be_inherited(std::uint32_t client) const {
  return std::any_of(quarantines_.begin(), quarantines_.end(), [client](const Quarantine& q) {
    return q.client == client && !has_hung_up(q.connection ? q.connection->get() : q.session);
  });
}

// Its process has ended and no child of it has its connection; what it published late has been buried.
bool OutlivingWork::has_left(const Quarantine& q) const {
  const bool late = std::any_of(late_writers_.begin(), late_writers_.end(),
                                [&q](const LateWriter& w) { return w.client == q.client; });
  return !late && q.connection && has_ended(q.pidfd) && has_hung_up(q.connection->get());
}

void OutlivingWork::drop(Quarantine& q) noexcept {
  context_.polls.unwatch(q.pidfd.get());
  if (q.connection && q.connection.use_count() == 1) context_.polls.unwatch(q.connection->get());
  q.connection.reset();
}

void OutlivingWork::end(const Quarantine& q, const PoolEntry& pool) const {
  const std::uint64_t slots = end_quarantine(*pool.map, q.client);
  if (slots == 0) return;
  context_.log(LogLevel::info, "pool '" + pool.name + "': " + std::to_string(slots) +
                                   " slots serve again, since the GPU work of pid " + std::to_string(q.pid) +
                                   " has ended");
}

void OutlivingWork::check_quarantines() {
  bool any_due = false;
  std::erase_if(quarantines_, [&](Quarantine& q) {
    const auto pool = q.pool.lock();
    if (pool && !is_lost(*pool)) {
      if (!has_left(q)) return false;
      if (asks_runner(*pool)) {
        any_due = true;
        return false;
      }
      end(q, *pool);
    }
    drop(q);  // over, or the pool is lost, and its slots with it
    return true;
  });
  if (any_due) start_check();
}

// If no thread can be started, the next round of events tries again.
void OutlivingWork::start_check() {
  if (checking_ || context_.stopped) return;
  if (check_.joinable()) check_.join();  // it has ended
  checking_ = start_thread(check_, [this] { check_contexts(); });
}

// Asks the runners of all quarantines that are due, and ends those whose runner's context works.
void OutlivingWork::check_contexts() noexcept {
  Lock lock(context_.mutex);
  while (!context_.stopped) {
    std::shared_ptr<RunnerLink> runner;
    for (Quarantine& q : quarantines_) {
      const auto pool = q.pool.lock();
      if (!pool || is_lost(*pool) || !asks_runner(*pool) || !has_left(q)) continue;
      if (!runner) runner = pool->runner;
      q.asked = pool->runner == runner;
    }
    if (!runner) break;
    checked_ = runner;
    bool works = true;
    std::string why;
    try {
      const Unlocked unlocked(lock);
      (void)runner->request({.op = RunnerOp::check});
    } catch (const std::exception& e) {
      works = false;
      why = e.what();
    }
    checked_.reset();
    if (!works && !runner->is_lost()) {
      context_.log(LogLevel::error, why + "; ends this runner (pid " + std::to_string(runner->pid()) + ")");
      runner->kill();
    }
    end_checked(works);
  }
  checking_ = false;
  context_.changed.notify_all();
}

void OutlivingWork::end_checked(bool works) {
  std::erase_if(quarantines_, [&](Quarantine& q) {
    const auto pool = q.pool.lock();
    if (!std::exchange(q.asked, false)) return false;
    if (pool && works) end(q, *pool);
    drop(q);
    return true;
  });
}

void OutlivingWork::join() {
  {
    Lock lock(context_.mutex);
    if (!context_.changed.wait_for(lock, kCheckPatience, [this] { return !checking_; })) {
      if (checked_) checked_->kill();
    }
  }
  if (check_.joinable()) check_.join();
}

}  // namespace ipcq::detail
