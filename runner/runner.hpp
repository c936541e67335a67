// Carries out the requests of the runner's broker, which are about blocks of device memory and about queues.
//
// For one thread, the runner's main thread. Invariant: while a request allocates, frees, pins or unpins, no persistent
// kernel is on the GPU: the driver would wait for it.
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
  // Carries out one request. The reply has `failed` and the error's text where that fails.
  detail::RunnerReply answer(const detail::RunnerRequest& request) noexcept;

 private:
  class Paused;
  detail::RunnerReply allocate(const detail::RunnerRequest& request);
  detail::RunnerReply start_queue(const detail::RunnerRequest& request);
  std::shared_ptr<PinnedPool> pinned_pool(const std::string& segment);

  Gpu gpu_;
  GpuArbiter arbiter_;
  std::uint64_t last_id_ = 0;
  std::map<std::uint64_t, std::shared_ptr<DeviceAllocation>> blocks_;
  std::map<std::string, std::weak_ptr<PinnedPool>> pools_;
  std::map<std::uint64_t, std::unique_ptr<QueueRunner>> queues_;
};

}  // namespace ipcq::runner
