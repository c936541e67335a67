// Runs the users' own handlers on the host, in a process beside the broker: what a handler does to its process costs no
// broker, and no queue without such a handler. Each queue's executor has threads of its own.
//
// For the main thread, but for what the executors' threads do. What the handlers throw is said on standard error, one
// line a second at most for each queue.
#pragma once

#include <cstdint>
#include <map>
#include <memory>

#include "service.hpp"

namespace ipcq::runner {

class HostRunner final : public Service {
 public:
  HostRunner();
  ~HostRunner() override;
  detail::RunnerReply answer(const detail::RunnerRequest& request, detail::Fd attachment) override;

 private:
  struct Queue;
  detail::RunnerReply start_queue(const detail::RunnerRequest& request, detail::Fd image);

  std::uint64_t last_id_ = 0;
  std::map<std::uint64_t, std::unique_ptr<Queue>> queues_;
};

}  // namespace ipcq::runner
