// The statistics of a broker, for `ipcq stats` and Broker::stats(). view() copies its records under the mutex; scan()
// (stats_view.hpp) does the rest without it.
//
// Thread safety: guarded by the broker's mutex.
#pragma once

#include <cstdint>
#include <unordered_set>

#include "broker/broker_context.hpp"
#include "broker/clients.hpp"
#include "broker/registry.hpp"
#include "broker/stats_view.hpp"

namespace ipcq::detail {

class Statistics {
 public:
  Statistics(const BrokerContext& context, const Registry& registry, const RunnerSupervisor& supervisor,
             const Clients& clients)
      : context_(context), registry_(registry), supervisor_(supervisor), clients_(clients) {}

  // Starts the next interval of each queue's rate: the last ended with the view before.
  StatsView view() const;
  // Called when a client's process has ended without detaching.
  void count_death() noexcept { ++deaths_; }

 private:
  const BrokerContext& context_;
  const Registry& registry_;
  const RunnerSupervisor& supervisor_;
  const Clients& clients_;
  std::uint64_t deaths_ = 0;
};

// The view of one queue. `suspects`: sockets of clients that have lost their connection.
QueueView view_of(const QueueEntry& q, const std::unordered_set<int>& suspects);

}  // namespace ipcq::detail
