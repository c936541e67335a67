// HeldTasks: the tasks that this bridge has, by their ids, which the keeper's thread reads. Thread-safe.
#pragma once

#include <atomic>
#include <cstddef>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "tasks/task.hpp"

namespace ipcq::bridge {

class HeldTasks {
 public:
  explicit HeldTasks(std::size_t sources) : held_(sources) {}

  // False where it is held already: an entry has an id of its own.
  bool add(std::size_t source, std::string_view id, Clock::time_point since) {
    const std::scoped_lock lock(mutex_);
    const bool added = held_[source].emplace(id, Held{.since = since}).second;
    size_ += added ? 1 : 0;
    return added;
  }
  // Tasks of lists may be equal.
  void add_one_more(std::size_t source, std::string_view id, Clock::time_point since) {
    const std::scoped_lock lock(mutex_);
    const auto [place, added] = held_[source].emplace(id, Held{.since = since});
    if (!added) ++place->second.count;
    ++size_;
  }
  void remove(const std::vector<Outcome>& outcomes) {
    const std::scoped_lock lock(mutex_);
    for (const auto& outcome : outcomes) {
      auto& held = held_[outcome.task.source];
      const auto place = held.find(outcome.task.id);
      if (place == held.end()) continue;
      --size_;
      if (--place->second.count == 0) held.erase(place);
    }
  }
  std::size_t size() const noexcept { return size_; }
  // How many of this id.
  std::size_t count(std::size_t source, const std::string& id) const {
    const std::scoped_lock lock(mutex_);
    const auto place = held_[source].find(id);
    return place == held_[source].end() ? 0 : place->second.count;
  }
  // Those of one source that are held since before `when`.
  std::vector<std::string> since_before(std::size_t source, Clock::time_point when) const {
    const std::scoped_lock lock(mutex_);
    std::vector<std::string> ids;
    for (const auto& [id, held] : held_[source]) {
      if (held.since < when) ids.push_back(id);
    }
    return ids;
  }

 private:
  struct Held {
    Clock::time_point since{};
    std::size_t count = 1;
  };
  mutable std::mutex mutex_;
  std::vector<std::unordered_map<std::string, Held>> held_;
  std::atomic<std::size_t> size_{0};
};

}  // namespace ipcq::bridge
