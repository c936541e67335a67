// Which runner of a broker: the one that all queues of a device share, or one that a queue has for itself
// (QueueOptions::isolate).
//
// Thread safety: values. Invariant: a queue has at most one runner of its own, whatever its device.
#pragma once

#include <string>
#include <tuple>

#include "broker/runner_link.hpp"

namespace ipcq::detail {

struct RunnerKey {
  int device = 0;
  std::string queue{};  // the one that it works for alone; empty: all others of the device

  bool is_of_one_queue() const noexcept { return !queue.empty(); }
  bool operator==(const RunnerKey&) const = default;
  bool operator<(const RunnerKey& other) const { return std::tie(device, queue) < std::tie(other.device, other.queue); }
};

// For errors and the log: "GPU 0", "host runner", "GPU 0, for queue 'q' alone".
inline std::string object_of(const RunnerKey& key) {
  return object_of(key.device) + (key.is_of_one_queue() ? ", for queue '" + key.queue + "' alone" : std::string());
}

}  // namespace ipcq::detail
