// Ends the process when a queue's handler does not return: a call of it can only be ended with its process. For queues
// with a deadline.
//
// A thread looks at the queue's words, and asks the executor which messages it could be working on now. What counts is
// the oldest of them that is not passed on: if that is the same for longer than the deadline, the process ends with
// kOverdueExitCode, and the broker does what it does about any end of a runner.
//
// One owner constructs and destroys it. The thread writes nothing.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "queue/queue_map.hpp"

namespace ipcq::runner {

// What an executor does with a message whose payload is late.
enum class AtLatePayload {
  pauses,   // all after it wait too
  goes_on,  // until device::kLate messages wait
};

class ProgressWatch {
 public:
  // `object`: "queue 'q': its handler 'x.cu'". `at_late`: what the executor does now; none while nothing can be
  // expected of it. Called by the thread. `last_words`: called before the process ends. The maps must outlive this
  // object. Throws SystemError if no thread can be started.
  ProgressWatch(const detail::QueueMap& queue, const detail::PoolMap& pool, std::uint64_t deadline_ns,
                std::string object, std::function<std::optional<AtLatePayload>()> at_late,
                std::function<void()> last_words = {});
  ~ProgressWatch();
  ProgressWatch(const ProgressWatch&) = delete;
  ProgressWatch& operator=(const ProgressWatch&) = delete;

 private:
  void run() noexcept;
  // Whether there is a message that could be worked on and is not passed on: the oldest is watched_.
  bool find_oldest(AtLatePayload at_late) noexcept;

  const detail::QueueMap& queue_;
  const detail::PoolMap& pool_;
  const std::uint64_t deadline_ns_;
  const std::string object_;
  const std::function<std::optional<AtLatePayload>()> at_late_;
  const std::function<void()> last_words_;
  std::uint64_t oldest_ = 0;   // all tickets before this one have been passed on
  std::uint64_t watched_ = 0;  // what find_oldest() has found
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stop_ = false;  // under mutex_
  std::thread thread_;
};

}  // namespace ipcq::runner
