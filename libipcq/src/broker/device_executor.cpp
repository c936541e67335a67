#include "broker/device_executor.hpp"

#include <cstdint>
#include <exception>
#include <string>
#include <utility>

#include "layout/text_field.hpp"
#include "repair/membership.hpp"

namespace ipcq::detail {
namespace {

// An idle persistent kernel ends after this long: other processes' GPU work is then as fast as on an empty GPU
// (gpu_idle_test: 0.98 of its time; H200, CUDA 13.0). No comparison with other times is recorded.
constexpr std::uint64_t kParkAfterNs = 20'000'000;

class DeviceExecutor final : public Executor {
 public:
  DeviceExecutor(std::shared_ptr<RunnerLink> runner, std::uint64_t id, QueueMap& queue, PoolMap& pool)
      : runner_(std::move(runner)), id_(id), queue_(queue), pool_(pool) {}
  ~DeviceExecutor() override { stop(); }

  void stop() noexcept override {
    if (std::exchange(stopped_, true) || fork_epoch() != epoch_) return;
    release_late_payloads(queue_, pool_);  // or the executor would wait for them
    RunnerRequest r;
    r.op = RunnerOp::stop_queue;
    r.id = id_;
    try {
      (void)runner_->request(r);
    } catch (const std::exception&) {  // the runner has ended, and the kernel with it
    }
  }

 private:
  std::shared_ptr<RunnerLink> runner_;
  std::uint64_t id_;
  QueueMap& queue_;
  PoolMap& pool_;
  const std::uint32_t epoch_ = fork_epoch();
  bool stopped_ = false;
};

}  // namespace

ExecutorKind first_executor(const QueueOptions& options) noexcept {
  return options.executor == ExecutorKind::stream ? ExecutorKind::stream : ExecutorKind::persistent;
}

std::unique_ptr<Executor> start_device_executor(std::shared_ptr<RunnerLink> runner, const QueueOptions& options,
                                                QueueMap& queue, const PoolEntry& pool) {
  RunnerRequest r;
  r.op = RunnerOp::start_queue;
  r.executor = first_executor(options);
  r.id = pool.map->on_device() ? pool.block : 0;
  r.park_after_ns = kParkAfterNs;
  set_text(r.queue_segment, sizeof r.queue_segment, queue.segment().name());
  set_text(r.pool_segment, sizeof r.pool_segment, pool.map->segment().name());
  set_text(r.handler, sizeof r.handler, options.handler.empty() ? "identity" : options.handler);
  queue.control().executor.store(static_cast<std::uint64_t>(r.executor), std::memory_order_relaxed);
  const std::uint64_t id = runner->request(r).id;
  return std::make_unique<DeviceExecutor>(std::move(runner), id, queue, *pool.map);
}

}  // namespace ipcq::detail
