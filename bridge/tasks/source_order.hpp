// SourceOrder: which of several sources to read from next. Those of a higher priority come before all others; those of
// one priority in turn, as often as their weights say. For one thread.
#pragma once

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <vector>

#include "settings.hpp"

namespace ipcq::bridge {

class SourceOrder {
 public:
  explicit SourceOrder(const std::vector<Source>& sources) : sources_(sources), credit_(sources.size(), 0) {}

  // All sources, best first. The first of each priority has its turn by this.
  const std::vector<std::size_t>& next() {
    order_.resize(sources_.size());
    std::iota(order_.begin(), order_.end(), std::size_t{0});
    // Smooth weighted round robin: each gains its weight, the richest is next and pays what all have gained.
    for (std::size_t i = 0; i < sources_.size(); ++i) credit_[i] += sources_[i].weight;
    std::stable_sort(order_.begin(), order_.end(), [&](std::size_t a, std::size_t b) {
      if (sources_[a].priority != sources_[b].priority) return sources_[a].priority > sources_[b].priority;
      return credit_[a] > credit_[b];
    });
    for (std::size_t i = 0; i < order_.size(); ++i) {
      if (i > 0 && sources_[order_[i]].priority == sources_[order_[i - 1]].priority) continue;
      credit_[order_[i]] -= weight_of(sources_[order_[i]].priority);
    }
    return order_;
  }

 private:
  int weight_of(int priority) const {
    int sum = 0;
    for (const auto& source : sources_) {
      if (source.priority == priority) sum += source.weight;
    }
    return sum;
  }

  std::vector<Source> sources_;
  std::vector<int> credit_;
  std::vector<std::size_t> order_;
};

}  // namespace ipcq::bridge
