// Checks of options, before anything is created. All throw UsageError; `object`, which begins its text, is "queue
// 'NAME'" or "pool 'NAME'".
//
// Thread safety: the functions keep no state.
#pragma once

#include <string>

#include "broker/pool_entry.hpp"
#include "ipcq/options.hpp"

namespace ipcq::detail {

void check_pool_options(const std::string& object, const PoolOptions& options);
void check_queue_options(const std::string& object, const QueueOptions& options);
// Checks them against the pool that the queue is to share.
void check_shared_pool(const std::string& object, const QueueOptions& options, const PoolEntry& pool);
// For a queue with backend 'auto' that is on the host on every machine: refuses options that only mean something on a
// GPU. `pool`: the one that it shares, or null.
void check_nothing_of_a_gpu(const std::string& object, const QueueOptions& options, const PoolEntry* pool);

}  // namespace ipcq::detail
