#include "plan.hpp"

#include <algorithm>
#include <string_view>

#include <fmt/format.h>

#include "common/footprint.hpp"
#include "common/format.hpp"

namespace ipcq::program {
namespace {

std::string to_text(const Footprint& memory) {
  if (memory.vram == 0) return "shared memory " + human_bytes(memory.shared);
  return fmt::format("VRAM {}, pinned {}, shared memory {}", human_bytes(memory.vram), human_bytes(memory.pinned),
                     human_bytes(memory.shared));
}

// Slots of one pool, and the sum of all before. What `auto` will choose only the broker finds out: both are named, and
// the larger one counts.
class Storage {
 public:
  template <class Options>
  std::string describe(const Options& o, bool may_choose_gpu) {
    const Footprint host = host_footprint(o.slots, o.slot_bytes);
    const Footprint device = device_footprint(o.slots, o.slot_bytes, o.mirror);
    const auto slots = fmt::format("{} slots x {} B", o.slots, o.slot_bytes);
    if (o.backend == "cuda") {
      add(device);
      return fmt::format("{} on GPU {}, mirror {}: {}", slots, o.device, o.mirror == Mirror::full ? "full" : "none",
                         to_text(device));
    }
    if (o.backend == "auto" && may_choose_gpu) {
      add({.vram = device.vram, .pinned = device.pinned, .shared = std::max(host.shared, device.shared)});
      return fmt::format("{}: {}, or on a GPU {}", slots, to_text(host), to_text(device));
    }
    add(host);
    return fmt::format("{}: {}", slots, to_text(host));
  }

  std::string sum() const { return fmt::format("payloads at most: {}; control blocks besides", to_text(sum_)); }

 private:
  void add(const Footprint& memory) {
    sum_.vram += memory.vram;
    sum_.pinned += memory.pinned;
    sum_.shared += memory.shared;
  }
  Footprint sum_;
};

std::string backend_text(const QueueOptions& o) {
  if (o.backend == "cuda") return fmt::format("cuda, executor {}", to_string(o.executor));
  if (o.backend != "auto") return o.backend;
  if (!o.pool.empty()) return "auto (where its pool lies)";
  if (o.handler.empty()) return "auto (host: it has no handler)";
  return "auto (cuda where there is a GPU, else host)";
}

std::string groups_text(const QueueOptions& o) {
  std::string text;
  for (const auto& group : o.groups) {
    text += (text.empty() ? "" : " ") + group.name + (group.policy == GroupPolicy::lossy ? ":lossy" : "");
  }
  return text;
}

}  // namespace

std::vector<std::string> describe_plan(const BrokerConfig& config) {
  std::vector<std::string> lines;
  Storage storage;
  for (const auto& pool : config.pools) {
    lines.push_back(fmt::format("pool '{}': {}", pool.name(), storage.describe(pool.options(), false)));
  }
  for (const auto& queue : config.queues) {
    const auto& o = queue.options();
    std::string slots = "inline messages only";
    if (!o.pool.empty()) {
      slots = "slots of pool '" + o.pool + "'";
    } else if (o.slots != 0) {
      slots = storage.describe(o, !o.handler.empty());
    }
    lines.push_back(fmt::format("queue '{}': {}; handler {}, backend {}, backpressure {}, groups {}", queue.name(),
                                slots, o.handler.empty() ? "none" : o.handler, backend_text(o),
                                to_string(o.backpressure), groups_text(o)));
  }
  lines.push_back(storage.sum());
  return lines;
}

}  // namespace ipcq::program
