// What happens when a runner dies: its queues end, and come back under their names.
#include <sys/epoll.h>

#include <algorithm>

#include "broker_core.hpp"
#include "ipcq/error.hpp"
#include "membership.hpp"

namespace ipcq::detail {
namespace {

constexpr auto kLookEvery = std::chrono::milliseconds(50);

}  // namespace

bool BrokerCore::is_runner(int fd) const {
  return std::any_of(runners_.begin(), runners_.end(), [&](const auto& r) { return r.second.fd.get() == fd; });
}

// Its memory is gone: the queues that lay there end, and new ones take their names.
void BrokerCore::runner_died(int fd) {
  const auto it =
      std::find_if(runners_.begin(), runners_.end(), [&](const auto& r) { return r.second.fd.get() == fd; });
  if (!it->second.link->has_ended()) return;  // the event was for an earlier owner of this number
  const int device = it->first;
  const std::string how = it->second.link->how_it_ended();
  // By hand: other brokers of this process watch copies of the same socket, and closing this one alone leaves it in.
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
  runners_.erase(it);
  ++runner_deaths_;
  std::vector<QueueEntry> ended;
  for (auto q = queues_.begin(); q != queues_.end();) {
    const bool on_it = (q->second.map->on_device() && q->second.device == device) ||
                       (q->second.pool->map->on_device() && q->second.pool->options.device == device);
    if (on_it) ended.push_back(std::move(q->second));
    q = on_it ? queues_.erase(q) : std::next(q);
  }
  std::vector<std::shared_ptr<PoolState>> pools;
  for (auto p = pools_.begin(); p != pools_.end();) {
    // Goes and comes with its queue, wherever it lies.
    const bool of_a_queue = std::any_of(ended.begin(), ended.end(),
                                        [&](const auto& q) { return q.options.pool.empty() && q.pool == p->second; });
    const bool on_it = p->second->map->on_device() && p->second->options.device == device;
    if (on_it && !of_a_queue) pools.push_back(p->second);
    p = on_it || of_a_queue ? pools_.erase(p) : std::next(p);
  }
  for (auto& q : ended) {
    log(LogLevel::error, "queue '" + q.name + "': the runner of GPU " + std::to_string(device) + " was lost (" + how +
                             "), and with it " + std::to_string(left_in(q)) +
                             " messages; its clients are told that it is closed, and it is created anew");
    q.map->control().state.store(static_cast<std::uint64_t>(QueueState::closed), std::memory_order_release);
    close_intake(*q.map);
    release_late_payloads(*q.map, *q.pool->map);
    bury_unprocessed(*q.map, *q.pool->map);
    q.map->ring_all_bells();
    ring_always(q.pool->map->control().free);
  }
  if (stopped_) return;
  for (const auto& p : pools) {
    recoveries_.add({Recovery::Kind::pool, p->name, {}, [this, name = p->name, o = p->options] { add_pool(name, o); }});
  }
  for (const auto& q : ended) {
    recoveries_.add({q.options.pool.empty() ? Recovery::Kind::queue : Recovery::Kind::sharing, q.name, q.options.pool,
                     [this, name = q.name, o = q.options] {
                       check_options(name, o);  // the name may have been taken
                       add_queue(name, o);
                     }});
  }
  if (recovering_ || recoveries_.empty()) return;
  if (recovery_.joinable()) recovery_.join();  // it has ended
  const AllSignalsBlocked blocked;
  recovery_ = std::thread([this] { recover(); });
  recovering_ = true;
}

// Creates anew what a runner took along, in order. A multi-process service that lost a client needs a moment before it
// takes new ones, and clients may keep the old memory mapped for a while: tried again until it is time to give up. On a
// thread of its own, since a device may take its time.
void BrokerCore::recover() noexcept {
  std::unique_lock lock(mutex_);
  while (!stopped_ && !recoveries_.empty()) {
    const std::optional<Recovery> r = recoveries_.next(now_ns());
    if (!r) {
      stopping_soon_.wait_for(lock, kLookEvery, [this] { return stopped_; });
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
  recovering_ = false;
}

}  // namespace ipcq::detail
