// The state of a queue's handler as its broker keeps it: what it is again after its runner's death. The state that the
// handler works on is the runner's.
//
// Constant once it is made, so thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/os.hpp"
#include "ipcq/options.hpp"

namespace ipcq::detail {

struct KeptState {
  std::uint64_t bytes = 0;
  Fd content;      // a memory file of that size, which nobody can change (base/memory_file.hpp)
  std::string as;  // for people: "as it was last saved"
};

// Zero, or what options.state_file holds; null: the queue has no state. Without the mutex. Throws UsageError,
// NotFoundError, PermissionError, SystemError; all begin with `object`.
std::shared_ptr<const KeptState> first_state(const std::string& object, const QueueOptions& options);
// What the memory file has become. Throws UsageError with `object`: somebody may still write to it.
std::shared_ptr<const KeptState> keep_state(Fd content, std::uint64_t bytes, const std::string& as,
                                            const std::string& object);

}  // namespace ipcq::detail
