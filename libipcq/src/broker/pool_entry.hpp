// One pool as the broker knows it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "broker/runner_link.hpp"
#include "ipcq/options.hpp"
#include "queue/queue_map.hpp"

namespace ipcq::detail {

// Constant once it is in the registry, so that it may be read without the mutex.
struct PoolEntry {
  PoolEntry() = default;
  PoolEntry(const PoolEntry&) = delete;
  PoolEntry& operator=(const PoolEntry&) = delete;
  ~PoolEntry();  // asks the runner to free the device memory; without the mutex, as that may take long

  // Has `owner` allocate the pool's memory on its GPU. Without the mutex. Throws BackendError.
  DeviceMemory allocate(std::shared_ptr<RunnerLink> owner, std::uint64_t bytes);

  std::string name;
  PoolOptions options;
  std::shared_ptr<PoolMap> map;        // statistics may have it, too
  std::shared_ptr<RunnerLink> runner;  // of a pool in device memory
  std::uint64_t block = 0;             // its number there
  std::uint32_t epoch = fork_epoch();
};

// Whether its memory went with its runner.
inline bool is_lost(const PoolEntry& pool) { return pool.runner && pool.runner->has_ended(); }

}  // namespace ipcq::detail
