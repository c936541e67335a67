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

// A forked child inherits the registration with the address space; exec starts anew, and with it this initialiser.
const bool kMembarrierRegistered = register_process();

bool sleeper_fence() noexcept {
  // SYNC arm-fence (heavy side): every registered thread has executed a full barrier since. Pairs with:
  // publisher_fence.
  if (kMembarrierRegistered && syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0) == 0) return true;
    // Enough towards publishers that fence by themselves, and not towards registered ones.
#if !defined(__SANITIZE_THREAD__)
  std::atomic_thread_fence(std::memory_order_seq_cst);
#endif
  return false;
}

}  // namespace ipcq::detail
