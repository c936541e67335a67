// Metrics: a bridge's counters as text that Prometheus reads. Thread-safe.
#pragma once

#include <string>

#include "counters.hpp"

namespace ipcq::bridge {

// What tells one bridge from another, as labels.
struct MetricsLabels {
  std::string queue{}, group{};
};

// The text of Prometheus' format 0.0.4.
std::string metrics_text(const Counters& counters, const MetricsLabels& labels);

}  // namespace ipcq::bridge
