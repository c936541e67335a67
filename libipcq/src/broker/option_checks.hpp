// What options say of themselves that cannot be, before anything is made. All throw UsageError; `object` is "queue
// 'NAME'" or "pool 'NAME'".
#pragma once

#include <string>

#include "broker/pool_entry.hpp"
#include "ipcq/options.hpp"

namespace ipcq::detail {

void check_pool_options(const std::string& object, const PoolOptions& options);
void check_queue_options(const std::string& object, const QueueOptions& options);
// Whether they fit the pool that the queue is to share.
void check_shared_pool(const std::string& object, const QueueOptions& options, const PoolEntry& pool);
// Of a queue without a backend of its own choice that is on the host whatever the machine: options that would say
// nothing there. `pool`: the one that it shares, or null.
void check_nothing_of_a_gpu(const std::string& object, const QueueOptions& options, const PoolEntry* pool);

}  // namespace ipcq::detail
