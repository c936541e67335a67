// One pool as the broker knows it.
//
// Thread safety: a pool is constant once it is in the registry, and may then be read without the mutex. Invariant: the
// block of device memory is freed once, when the last owner releases the entry, and not by a forked child.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "broker/runner_key.hpp"
#include "broker/runner_link.hpp"
#include "ipcq/options.hpp"
#include "queue/queue_map.hpp"

namespace ipcq::detail {

struct PoolEntry {
  PoolEntry() = default;
  PoolEntry(const PoolEntry&) = delete;
  PoolEntry& operator=(const PoolEntry&) = delete;
  ~PoolEntry();  // has the runner free the device memory: without the mutex, as that may take long

  // Has `owner` allocate the pool's memory on its GPU. Without the mutex. Throws BackendError.
  DeviceMemory allocate(std::shared_ptr<RunnerLink> owner, std::uint64_t bytes);

  // The runner whose GPU memory it is.
  RunnerKey lies_with() const { return {options.device, only_for}; }

  std::string name;
  PoolOptions options;
  std::string only_for{};              // in device memory: the queue whose own runner has it; empty: all queues' runner
  std::shared_ptr<PoolMap> map;        // statistics and dumps may own it too
  std::shared_ptr<RunnerLink> runner;  // of a pool in device memory
  std::uint64_t block = 0;             // its number in the runner
  std::uint32_t epoch = fork_epoch();
};

// Whether its runner answers no more: its memory is gone, or goes once the runner's process ends.
inline bool is_lost(const PoolEntry& pool) { return pool.runner && pool.runner->is_lost(); }

}  // namespace ipcq::detail
