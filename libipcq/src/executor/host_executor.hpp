// The executor of a queue in host memory: threads call the handler. One of them, the scout, waits for the next line
// while the others work. A built-in handler's threads are the broker's; those of a handler of the user's are a host
// runner's.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "executor/executor.hpp"
#include "ipcq/builtin_handlers.hpp"
#include "ipcq/wait.hpp"
#include "layout/host_image.hpp"
#include "queue/queue_map.hpp"

namespace ipcq::detail {

// A handler as the executor calls it: one that the library brings, or one of an image.
struct HostCall {
  HostHandler builtin = nullptr;
  decltype(HostImage::run) image = nullptr;
  const void* handler = nullptr;  // its first argument
  // With `image`: told what it threw, by the thread that called it.
  std::function<void(const char* why)> on_throw{};
};

class HostExecutor : public Executor {
 public:
  // By one thread at a time.
  // From here on no message is taken before resume(): the handler sees all messages before one place in the order, and
  // none after it. One that is not built in has also returned from all of them, or, with false, has not before
  // `deadline`, and all goes on.
  virtual bool pause(std::uint64_t deadline) = 0;
  virtual void resume() noexcept = 0;
  // While it is paused, of an executor that calls an image: calls another handler from then on.
  virtual void set_call(HostCall call) = 0;
};

// How an executor begins.
struct HostBeginning {
  std::uint64_t first = 0;  // the ticket (interrupted.hpp)
  bool paused = false;      // as after pause()
};

// Starts `threads` worker threads in this process, for a pool in host memory. `queue` and `pool` must outlive the
// executor. `wait`: how the scout waits for lines. Throws SystemError if a thread cannot be started.
std::unique_ptr<HostExecutor> make_host_executor(const QueueMap& queue, const PoolMap& pool, HostCall call,
                                                 std::uint32_t threads, Wait wait, HostBeginning begin = {});

}  // namespace ipcq::detail
