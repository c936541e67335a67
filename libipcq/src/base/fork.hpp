// How an object notices that it was inherited by a forked child, and how the child avoids its destructor. Such an
// object must not be used or destroyed in the child: its threads, and those that hold its locks, exist in the parent
// alone.
//
// Thread-safe. An object stores fork_epoch() when it is made, and belongs to the parent where the two differ.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "ipcq/export.hpp"

namespace ipcq::detail {

// Incremented in the child of each fork. Relaxed is enough: the child's only thread increments it, within fork().
IPCQ_INTERNAL_API extern std::atomic<std::uint32_t> fork_count;
inline std::uint32_t fork_epoch() noexcept { return fork_count.load(std::memory_order_relaxed); }

// Keeps the object until the process ends and never destroys it. For objects inherited by a forked child, and for
// memory that streams of a GPU may still read or write after its owner's end. Ends the process when there is no memory.
IPCQ_INTERNAL_API void keep_for_ever(std::shared_ptr<void> object) noexcept;

}  // namespace ipcq::detail
