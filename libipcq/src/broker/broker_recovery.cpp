// What happens when a runner dies: its queues end, and come back under their names.
#include <algorithm>
#include <iterator>

#include "base/thread.hpp"
#include "broker/broker_core.hpp"
#include "ipcq/error.hpp"
#include "repair/membership.hpp"

namespace ipcq::detail {
namespace {

constexpr auto kLookEvery = std::chrono::milliseconds(50);
// How long a runner that answers no more may take to end before it is killed.
constexpr std::uint64_t kEndPatienceNs = 5'000'000'000;
// How long the creation of something waits for a lost runner to be gone.
constexpr auto kGonePatience = std::chrono::seconds(10);

}  // namespace

// False when the descriptor is not of one.
bool BrokerCore::serve_runner(int fd) {
  const auto it = std::find_if(runners_.begin(), runners_.end(), [&](const auto& r) {
    return r.second.socket.get() == fd || r.second.process.get() == fd;
  });
  if (it == runners_.end()) return false;
  // Else the event was for an earlier owner of this number.
  if (it->second.link->has_ended()) lose_runner(it->first);
  if (it->second.link->is_gone()) bury_runner(it->first);
  return true;
}

// It answers no more. Its kernels may still write until its process has ended, so its queues stay as they are until
// then, with deaths and closes of their clients repaired as ever; but nothing more goes in, and nobody attaches.
void BrokerCore::lose_runner(int device) {
  WatchedRunner& r = runners_.at(device);
  if (r.lost_at_ns != 0) return;
  r.lost_at_ns = now_ns();
  losing_ = true;
  unwatch(r.socket.get());
  for (auto& [name, q] : queues_) {
    if (!lies_on(q, device)) continue;
    q.lost = true;
    q.map->control().state.store(static_cast<std::uint64_t>(QueueState::draining), std::memory_order_release);
    close_intake(*q.map);
  }
}

// Kills lost runners that do not go. True when there is none left to be killed: a driver may keep a process that was
// killed for as long as it likes, and its queues wait for that.
bool BrokerCore::end_lost_runners() {
  bool all = true;
  for (auto& [device, r] : runners_) {
    if (r.lost_at_ns == 0 || r.killed) continue;
    if (now_ns() - r.lost_at_ns < kEndPatienceNs) {
      all = false;
      continue;
    }
    r.killed = true;
    r.link->kill();
    log(LogLevel::error, object_of(device) + ": its runner (pid " + std::to_string(r.link->pid()) +
                             ") answers no more, has not ended for 5 s and is killed; its queues are created anew once "
                             "it has ended");
  }
  return all;
}

// For who needs a runner where one is lost: opens the mutex until the event loop has seen that it is gone.
void BrokerCore::await_gone(int device) {
  const auto lost = runners_.at(device).link;
  const auto is_over = [&] {
    const auto known = runners_.find(device);
    return stopped_ || known == runners_.end() || known->second.link != lost;
  };
  std::unique_lock lock(mutex_, std::adopt_lock);
  const bool over = changed_.wait_for(lock, kGonePatience, is_over);
  lock.release();
  check_running(object_of(device));
  if (!over) {
    throw BackendError(object_of(device) + ": its last runner (pid " + std::to_string(lost->pid()) +
                       ") has not ended yet; try again");
  }
}

bool BrokerCore::lies_on(const QueueEntry& q, int device) {
  return (q.map->on_device() && q.device == device) || (q.pool->map->on_device() && q.pool->options.device == device);
}

std::vector<QueueEntry> BrokerCore::take_queues_of(int device) {
  std::vector<QueueEntry> taken;
  for (auto q = queues_.begin(); q != queues_.end();) {
    const bool on_it = lies_on(q->second, device);
    if (on_it) taken.push_back(std::move(q->second));
    q = on_it ? queues_.erase(q) : std::next(q);
  }
  return taken;
}

// But for those that go and come with a queue of `ended`, wherever they lie: these are taken, too, and not returned.
std::vector<std::shared_ptr<PoolState>> BrokerCore::take_pools_of(int device, const std::vector<QueueEntry>& ended) {
  std::vector<std::shared_ptr<PoolState>> taken;
  for (auto p = pools_.begin(); p != pools_.end();) {
    const bool of_a_queue = std::any_of(ended.begin(), ended.end(),
                                        [&](const auto& q) { return q.options.pool.empty() && q.pool == p->second; });
    const bool on_it = p->second->map->on_device() && p->second->options.device == device;
    if (on_it && !of_a_queue) taken.push_back(p->second);
    p = on_it || of_a_queue ? pools_.erase(p) : std::next(p);
  }
  return taken;
}

void BrokerCore::end_lost_queue(QueueEntry& q, const std::string& how) {
  const Left left = close_queue(q);
  log(LogLevel::error,
      "queue '" + q.name + "': the runner of " + object_of(q.device) + " was lost (" + how + "), and with it " +
          std::to_string(left.messages) + " messages" +
          (left.held == 0 ? std::string() : " and what consumers hold (" + std::to_string(left.held) + ")") +
          "; its clients are told that it is closed, and it is created anew");
  for (const EndpointState& e : q.endpoints) ids_.erase(e.client);
  release_late_payloads(*q.map, *q.pool->map);
  bury_unprocessed(*q.map, *q.pool->map);
  q.map->ring_all_bells();
  ring_always(q.pool->map->control().free);
  q.map->segment().unlink();
}

// Under MPS a failed context is mostly that of every client of the server, which takes in nobody, the next runner
// included, before the last of them has ended.
void BrokerCore::warn_of_lost_contexts(int device, const std::vector<QueueEntry>& ended) const {
  std::set<std::int32_t> pids;
  for (const auto& q : ended) {
    for (const auto& e : q.endpoints) {
      if (e.client != 0 && e.uses_cuda) pids.insert(e.pid);
    }
  }
  std::string text;
  for (const std::int32_t pid : pids) text += (text.empty() ? "" : ", ") + std::to_string(pid);
  if (text.empty()) return;
  log(LogLevel::warning, object_of(device) +
                             ": under MPS its clients' CUDA contexts may have failed with the runner's, and the MPS "
                             "server takes in nobody until such processes have ended: end or restart pid " +
                             text);
}

// Its memory is gone: the queues that lay there end, and new ones take their names.
void BrokerCore::bury_runner(int device) {
  lose_runner(device);
  const WatchedRunner r = std::move(runners_.at(device));
  runners_.erase(device);
  unwatch(r.process.get());
  ++runner_deaths_;
  const std::string how = r.link->how_it_ended();
  const bool under_mps = r.link->has_mps();
  std::vector<QueueEntry> ended = take_queues_of(device);
  const auto pools = take_pools_of(device, ended);
  for (auto& q : ended) end_lost_queue(q, how);
  if (under_mps) warn_of_lost_contexts(device, ended);
  // Their names go at once, their memory when it is nobody's time that it takes.
  for (const auto& p : pools) p->map->segment().unlink();
  for (const auto& q : ended) {
    if (q.options.pool.empty()) q.pool->map->segment().unlink();
  }
  buried_pools_.insert(buried_pools_.end(), pools.begin(), pools.end());
  const auto bury = [&] {
    std::move(ended.begin(), ended.end(), std::back_inserter(buried_));
    ended.clear();
  };
  if (stopped_) {
    bury();
    changed_.notify_all();
    return;
  }
  for (const auto& p : pools) {
    recoveries_.add(
        {Recovery::Kind::pool, p->name, {}, [this, name = p->name, o = p->options] { add_pool(name, o); }, under_mps});
  }
  for (const auto& q : ended) {
    recoveries_.add({q.options.pool.empty() ? Recovery::Kind::queue : Recovery::Kind::sharing, q.name, q.options.pool,
                     [this, name = q.name, o = q.options] {
                       check_options(name, o);  // the name may have been taken
                       add_queue(name, o);
                     },
                     under_mps});
  }
  bury();
  changed_.notify_all();  // seen once the mutex is open
}

// With the first runner, whose user is told if there is no thread to be had: when one dies it must be there.
void BrokerCore::start_recovery() {
  require_thread(recovery_, "broker '" + name_.name() + "': what creates anew what a runner takes along",
                 [this] { recover(); });
}

// Opens the mutex: unmapping takes its time.
void BrokerCore::free_buried() noexcept {
  std::vector<QueueEntry> queues = std::move(buried_);
  std::vector<std::shared_ptr<PoolState>> pools = std::move(buried_pools_);
  buried_.clear();
  buried_pools_.clear();
  const Opened opened(mutex_);
  queues.clear();
  pools.clear();
}

// Creates anew what a runner took along, in order. A multi-process service that lost a client needs a moment before it
// takes new ones, and clients may keep the old memory mapped for a while: tried again until it is time to give up. On a
// thread of its own, since a device may take its time.
void BrokerCore::recover() noexcept {
  std::unique_lock lock(mutex_);
  while (!stopped_) {
    if (recoveries_.empty() && buried_.empty() && buried_pools_.empty()) {
      changed_.wait(lock,
                    [this] { return stopped_ || !recoveries_.empty() || !buried_.empty() || !buried_pools_.empty(); });
      continue;
    }
    free_buried();
    if (recoveries_.empty()) continue;
    const std::optional<Recovery> r = recoveries_.next(now_ns());
    if (!r) {
      changed_.wait_for(lock, kLookEvery, [this] { return stopped_; });
      continue;
    }
    std::string why;
    bool final = false;
    try {
      r->create();  // opens the mutex: more may have died when it returns
      recoveries_.succeeded(*r);
      continue;
    } catch (const UsageError& e) {
      why = e.what();
      final = true;
    } catch (const std::exception& e) {
      why = e.what();
    }
    if (stopped_) break;
    for (const std::string& text : recoveries_.failed(*r, why, final, now_ns())) log(LogLevel::error, text);
  }
}

}  // namespace ipcq::detail
