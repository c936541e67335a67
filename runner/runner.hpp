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
#include "service.hpp"

namespace ipcq::runner {

class Runner final : public Service {
 public:
  explicit Runner(int device) : gpu_(device), builtin_(load_builtin_handlers(gpu_)) {}
  ~Runner() override;
  const Gpu& gpu() const noexcept { return gpu_; }
  detail::RunnerReply answer(const detail::RunnerRequest& request, detail::Fd attachment) override;

 private:
  class Paused;
  detail::RunnerReply allocate(const detail::RunnerRequest& request);
  detail::RunnerReply start_queue(const detail::RunnerRequest& request, const detail::Fd& attachment);
  detail::RunnerReply make_state(const detail::RunnerRequest& request, const detail::Fd& content);
  std::shared_ptr<StateBlock> take_state(std::uint64_t id);
  void copy_state(const detail::RunnerRequest& request, const detail::Fd& file);
  void replace_handler(const detail::RunnerRequest& request, const detail::Fd& image);
  static void set_rest(QueueRunner& q, bool rests);
  QueueRunner& queue(const detail::RunnerRequest& request);
  std::shared_ptr<const HandlerKernels> kernels_of(const detail::RunnerRequest& request, const detail::Fd& attachment,
                                                   const StateBlock* state) const;
  std::shared_ptr<PinnedPool> pinned_pool(const std::string& segment);

  Gpu gpu_;
  const std::shared_ptr<const Module> builtin_;
  GpuArbiter arbiter_;
  std::uint64_t last_id_ = 0;
  std::map<std::uint64_t, std::shared_ptr<DeviceAllocation>> blocks_;
  std::map<std::uint64_t, std::shared_ptr<StateBlock>> states_;  // of queues that are not started yet
  std::map<std::string, std::weak_ptr<PinnedPool>> pools_;
  std::map<std::uint64_t, std::unique_ptr<QueueRunner>> queues_;
};

}  // namespace ipcq::runner
