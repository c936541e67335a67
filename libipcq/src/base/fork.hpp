// Forks of this process, and what a forked child must never destroy.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "ipcq/export.hpp"

namespace ipcq::detail {

// Counts forks: differs from the value at an object's creation in a forked child.
IPCQ_INTERNAL_API extern std::atomic<std::uint32_t> fork_count;
inline std::uint32_t fork_epoch() noexcept { return fork_count.load(std::memory_order_relaxed); }

// Never destroys the object. For what a forked child inherited: its threads, and the threads that held its locks, live
// in the parent; and for memory that streams may still write when its owner ends.
IPCQ_INTERNAL_API void keep_for_ever(std::shared_ptr<void> object) noexcept;

}  // namespace ipcq::detail
