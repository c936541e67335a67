#include "plan.hpp"

#include <algorithm>
#include <ipcq/error.hpp>
#include <string>

#include <fmt/format.h>

#include "program/format.hpp"

namespace ipcq::program {
namespace {

std::string to_text(const MemoryNeeds& memory) {
  if (memory.device_memory == 0 && memory.pinned == 0) return "shared memory " + human_bytes(memory.shared_memory);
  return fmt::format("VRAM {}, shared memory {}, of it pinned {}", human_bytes(memory.device_memory),
                     human_bytes(memory.shared_memory), human_bytes(memory.pinned));
}

// Describes the memory of pools and queues, and adds it up. Only the broker finds out what `auto` will choose: both are
// named, and the larger one is added.
class Memory {
 public:
  // `needs(backend)`: as memory_needs().
  template <class Needs>
  std::string describe(const std::string& backend, bool may_choose_gpu, const Needs& needs) {
    if (backend != "auto" || !may_choose_gpu) {
      const MemoryNeeds one = needs(backend);
      add(one);
      return to_text(one);
    }
    const MemoryNeeds host = needs("host");
    const MemoryNeeds device = needs("cuda");
    add({.shared_memory = std::max(host.shared_memory, device.shared_memory),
         .pinned = device.pinned,
         .device_memory = device.device_memory});
    return fmt::format("{}, or on a GPU {}", to_text(host), to_text(device));
  }

  std::string sum() const { return "in all at most: " + to_text(sum_); }

 private:
  void add(const MemoryNeeds& memory) {
    sum_.shared_memory += memory.shared_memory;
    sum_.pinned += memory.pinned;
    sum_.device_memory += memory.device_memory;
  }
  MemoryNeeds sum_;
};

template <class Options>
std::string slots_text(const Options& o) {
  auto text = fmt::format("{} slots x {} B", o.slots, o.size);
  if (o.backend == "cuda")
    text += fmt::format(" on GPU {}, mirror {}", o.device, o.mirror == Mirror::full ? "full" : "none");
  return text;
}

template <class Options>
Options with_backend(Options options, const std::string& backend) {
  options.backend = backend;
  return options;
}

// Calls `needs`, and puts `object` at the front of its UsageErrors: it does not know the names in the plan.
template <class Needs>
auto needs_of(const std::string& object, const Needs& needs) {
  try {
    return needs();
  } catch (const UsageError& e) {
    const std::string text = e.what();
    throw UsageError(object + text.substr(std::min(text.find(':'), text.size())));
  }
}

// The options of the pool that a queue shares; null if the plan has no such pool.
const PoolOptions* shared_pool(const BrokerConfig& config, const QueueOptions& o) {
  for (const auto& pool : config.pools) {
    if (pool.name() == o.pool) return &pool.options();
  }
  return nullptr;
}

std::string backend_text(const QueueOptions& o) {
  if (o.backend == "cuda") return fmt::format("cuda, executor {}", to_string(o.executor));
  if (o.backend != "auto") return o.backend;
  if (!o.pool.empty()) return "auto (where its pool lies)";
  if (o.handler.empty()) return "auto (host: it has no handler)";
  return "auto (cuda where there is a GPU, else host)";
}

std::string handler_text(const QueueOptions& o) {
  if (o.handler.empty()) return "none";
  return o.handler + (o.isolate ? " in a runner of its own" : "");
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
  Memory memory;
  for (const auto& pool : config.pools) {
    const auto& o = pool.options();
    const auto text = needs_of("pool '" + pool.name() + "'", [&] {
      return memory.describe(o.backend, false, [&](const std::string& b) { return memory_needs(with_backend(o, b)); });
    });
    lines.push_back(fmt::format("pool '{}': {}: {}", pool.name(), slots_text(o), text));
  }
  for (const auto& queue : config.queues) {
    const auto& o = queue.options();
    const PoolOptions* const shared = shared_pool(config, o);
    const PoolOptions elsewhere{.slots = 0};  // the slots are another queue's
    std::string slots = "inline messages only";
    if (!o.pool.empty()) {
      slots = "slots of pool '" + o.pool + "'";
    } else if (o.slots != 0) {
      slots = slots_text(o);
    }
    const auto text = needs_of("queue '" + queue.name() + "'", [&] {
      return memory.describe(o.backend, !o.handler.empty() && o.pool.empty(), [&](const std::string& b) {
        return memory_needs(with_backend(o, b), o.pool.empty() ? nullptr : shared != nullptr ? shared : &elsewhere);
      });
    });
    lines.push_back(fmt::format("queue '{}': {}: {}; handler {}, backend {}, backpressure {}, groups {}", queue.name(),
                                slots, text, handler_text(o), backend_text(o), to_string(o.backpressure),
                                groups_text(o)));
  }
  lines.push_back(memory.sum());
  return lines;
}

}  // namespace ipcq::program
