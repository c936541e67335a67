// An executor runs a queue's handler: it reads published `in` lines in order, changes payloads in place, and writes the
// `out` lines for the readers. One interface for threads of the broker and for kernels of a runner process.
#pragma once

namespace ipcq::detail {

class Executor {
 public:
  virtual ~Executor() = default;
  // Ends the executor. Waits until the messages that it works on are finished. Idempotent.
  virtual void stop() noexcept = 0;
};

}  // namespace ipcq::detail
