// HeldTasks: the entries that this bridge is to renew, which the keeper's thread reads. Thread-safe.
#pragma once

#include <cstddef>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "task.hpp"

namespace ipcq::bridge {

class HeldTasks {
 public:
  explicit HeldTasks(std::size_t sources) : held_(sources) {}

  // False where it is held already.
  bool add(std::size_t source, std::string_view id, Clock::time_point since) {
    const std::scoped_lock lock(mutex_);
    return held_[source].emplace(id, since).second;
  }
  void remove(const std::vector<Outcome>& outcomes) {
    const std::scoped_lock lock(mutex_);
    for (const auto& outcome : outcomes) held_[outcome.task.source].erase(outcome.task.id);
  }
  std::size_t size() const {
    const std::scoped_lock lock(mutex_);
    std::size_t sum = 0;
    for (const auto& each : held_) sum += each.size();
    return sum;
  }
  // Those of one source that are held since before `when`.
  std::vector<std::string> since_before(std::size_t source, Clock::time_point when) const {
    const std::scoped_lock lock(mutex_);
    std::vector<std::string> ids;
    for (const auto& [id, since] : held_[source]) {
      if (since < when) ids.push_back(id);
    }
    return ids;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<std::unordered_map<std::string, Clock::time_point>> held_;
};

}  // namespace ipcq::bridge
