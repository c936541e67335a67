// The counters of one queue or group, for fixtures that have a broker.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "ipcq/stats.hpp"

namespace ipcq_test {

inline ipcq::QueueStats queue_of(const ipcq::BrokerStats& broker, const std::string& queue) {
  for (const auto& q : broker.queues) {
    if (q.name == queue) return q;
  }
  ADD_FAILURE() << "no queue " << queue;
  return {};
}

inline ipcq::GroupStats group_of(const ipcq::QueueStats& queue, const std::string& group) {
  for (const auto& g : queue.groups) {
    if (g.name == group) return g;
  }
  ADD_FAILURE() << "queue " << queue.name << " has no group " << group;
  return {};
}

}  // namespace ipcq_test
