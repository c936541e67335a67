// Runs the users' own handlers on the host, in a process beside the broker: what a handler does to its process costs no
// broker, and no queue without such a handler. Each queue's executor has threads of its own.
//
// For the main thread, but for what the executors' threads do. What the handlers throw is said on standard error, one
// line a second at most for each queue.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>

#include "service.hpp"
#include "state_memory.hpp"

namespace ipcq::runner {

class HostRunner final : public Service {
 public:
  HostRunner();
  ~HostRunner() override;
  detail::RunnerReply answer(const detail::RunnerRequest& request, detail::Fd attachment) override;
  void answered() noexcept override;

 private:
  struct Queue;
  class Between;
  detail::RunnerReply start_queue(const detail::RunnerRequest& request, detail::Fd image);
  detail::RunnerReply make_state(const detail::RunnerRequest& request, const detail::Fd& content);
  std::unique_ptr<StateMemory> take_state(std::uint64_t id);
  Queue& queue(const detail::RunnerRequest& request);
  static void set_rest(Queue& q, bool rests);
  void copy_state(const detail::RunnerRequest& request, const detail::Fd& file);
  void replace_handler(const detail::RunnerRequest& request, detail::Fd image);

  std::uint64_t last_id_ = 0;
  std::map<std::uint64_t, std::unique_ptr<StateMemory>> states_;  // of queues that are not started yet
  std::map<std::uint64_t, std::unique_ptr<Queue>> queues_;
  std::function<void()> unload_;  // what has been replaced; empty: nothing has
};

}  // namespace ipcq::runner
