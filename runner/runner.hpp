// The runner's answers to its broker's requests: blocks of device memory, and queues. For one thread. Requests wait for
// the kernels of all queues, which are paused meanwhile.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "control/runner_wire.hpp"
#include "queue_runner.hpp"

namespace ipcq::runner {

class Runner {
 public:
  explicit Runner(int device) : gpu_(device) {}
  ~Runner();
  const Gpu& gpu() const noexcept { return gpu_; }
  // Carries out one request. A failure is in the reply.
  detail::RunnerReply answer(const detail::RunnerRequest& request) noexcept;

 private:
  class Paused;
  detail::RunnerReply allocate(const detail::RunnerRequest& request);
  detail::RunnerReply start_queue(const detail::RunnerRequest& request);
  std::shared_ptr<PinnedPool> pinned_pool(const std::string& segment);

  Gpu gpu_;
  GpuArbiter arbiter_;
  std::uint64_t last_id_ = 0;
  std::map<std::uint64_t, std::shared_ptr<DeviceBlock>> blocks_;
  std::map<std::string, std::weak_ptr<PinnedPool>> pools_;
  std::map<std::uint64_t, std::unique_ptr<QueueRunner>> queues_;
};

}  // namespace ipcq::runner
