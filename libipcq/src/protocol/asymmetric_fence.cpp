#include "protocol/asymmetric_fence.hpp"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace ipcq::detail {
namespace {

bool register_process() noexcept {
  const long commands = syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);
  return commands > 0 && (commands & MEMBARRIER_CMD_GLOBAL_EXPEDITED) != 0 &&
         syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0) == 0;
}

}  // namespace

// A forked child inherits the registration with the address space. After exec this initialiser runs again.
const bool kMembarrierRegistered = register_process();

bool sleeper_fence() noexcept {
  // SYNC arm-fence (heavy side): on return every registered thread has executed a full barrier. Pairs with:
  // publisher_fence.
  if (kMembarrierRegistered && syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0) == 0) return true;
    // Sufficient against publishers that execute a full fence, not against registered ones.
#if !defined(__SANITIZE_THREAD__)
  std::atomic_thread_fence(std::memory_order_seq_cst);
#endif
  return false;
}

}  // namespace ipcq::detail
