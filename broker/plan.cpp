#include "plan.hpp"

#include <algorithm>
#include <string_view>

#include <fmt/format.h>

#include "common/format.hpp"

namespace ipcq::program {
namespace {

std::string slots_text(std::uint64_t slots, std::uint64_t slot_bytes) {
  return fmt::format("{} slots x {} B = {}", slots, slot_bytes, human_bytes(slots * slot_bytes));
}

}  // namespace

std::vector<std::string> describe_plan(const BrokerConfig& config) {
  std::vector<std::string> lines;
  std::uint64_t sum = 0;
  for (const auto& pool : config.pools) {
    const auto& options = pool.options();
    sum += std::uint64_t{options.slots} * options.slot_bytes;
    lines.push_back(fmt::format("pool '{}': {}", pool.name(), slots_text(options.slots, options.slot_bytes)));
  }
  for (const auto& queue : config.queues) {
    const auto& options = queue.options();
    std::string storage;
    if (!options.pool.empty()) {
      storage = "slots of pool '" + options.pool + "'";
    } else if (options.slots == 0) {
      storage = "inline messages only";
    } else {
      storage = slots_text(options.slots, options.slot_bytes);
      sum += std::uint64_t{options.slots} * options.slot_bytes;
    }
    std::string groups;
    for (const auto& group : options.groups) {
      groups += (groups.empty() ? "" : " ") + group.name + (group.policy == GroupPolicy::lossy ? ":lossy" : "");
    }
    lines.push_back(fmt::format("queue '{}': {}; handler {}, backend {}, backpressure {}, groups {}", queue.name(),
                                storage, options.handler.empty() ? "none" : options.handler, options.backend,
                                to_string(options.backpressure), groups));
  }
  lines.push_back(fmt::format("shared memory for payloads: {} ({} B), control blocks besides", human_bytes(sum), sum));
  return lines;
}

}  // namespace ipcq::program
