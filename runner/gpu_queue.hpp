// One queue as its runner has it on the GPU: its segments mapped and pinned, its kernels, their memory and their
// stream, and where the next executor continues. docs/design/cuda.md, "Executors".
//
// The runner's main thread constructs and destroys it; in between, the queue's thread alone calls what is not const.
// Invariant: one executor at a time enqueues work, the one that kind() names.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "gpu.hpp"
#include "handler_kernels.hpp"
#include "ipcq/options.hpp"
#include "layout/queue_view.hpp"

namespace ipcq::runner {

// A pool, mapped and pinned in this process; its queues share it.
struct PinnedPool {
  PinnedPool(const Gpu& gpu, const std::string& segment);
  std::unique_ptr<detail::PoolMap> map;
  detail::RegisteredMemory pinned;  // gpub, tomb and mirror
};

class GpuQueue {
 public:
  // `payloads`: the pool's block of VRAM; null for a queue of inline messages. Throws BackendError, LayoutError (the
  // pool's header contradicts `payloads`), SystemError. Precondition: no kernel of this process stays.
  GpuQueue(const Gpu& gpu, const std::string& segment, std::shared_ptr<const HandlerKernels> handler,
           ExecutorKind first, std::shared_ptr<PinnedPool> pool, std::shared_ptr<DeviceAllocation> payloads);

  const std::string& object() const noexcept { return object_; }  // for errors
  const detail::QueueMap& map() const noexcept { return *map_; }
  const detail::PoolMap& pool() const noexcept { return *pool_->map; }
  const DeviceAllocation* payloads() const noexcept { return payloads_.get(); }  // null: as in the constructor
  unsigned workers() const noexcept { return workers_; }                         // blocks that share a large message

  const Kernels& kernels() const noexcept { return handler_->kernels(); }
  bool is_serial() const noexcept { return handler_->is_serial(); }
  // While nothing is enqueued, and no persistent kernel is on the GPU. Returns the one of before.
  std::shared_ptr<const HandlerKernels> set_handler(std::shared_ptr<const HandlerKernels> handler) noexcept {
    return std::exchange(handler_, std::move(handler));
  }
  // The first parameter of every kernel.
  device::QueueView& view() noexcept { return view_; }
  // The address in VRAM: never dereferenced here.
  device::ExecutorMemory* memory() const noexcept {
    return reinterpret_cast<device::ExecutorMemory*>(memory_.address());
  }
  CUstream stream() const noexcept { return stream_.get(); }
  void launch(CUfunction kernel, unsigned blocks, unsigned threads, void** arguments);
  void synchronize();
  bool is_idle() const;  // whether everything enqueued on stream() has finished

  ExecutorKind kind() const noexcept { return kind_; }
  // The broker sees the change in QueueControl::executor.
  void change_to(ExecutorKind kind) noexcept;

  // The resume point, as in Mailbox. Each executor begins there, and leaves its own at its end.
  std::uint64_t resume = 0;
  std::uint64_t limit = 0;

 private:
  void check_pool() const;
  device::QueueView make_view() const;

  const Gpu& gpu_;
  const std::shared_ptr<PinnedPool> pool_;
  const std::shared_ptr<DeviceAllocation> payloads_;
  const std::unique_ptr<detail::QueueMap> map_;
  const std::string object_;
  detail::RegisteredMemory pinned_control_;
  detail::RegisteredMemory pinned_lines_;
  std::shared_ptr<const HandlerKernels> handler_;
  DeviceAllocation memory_;  // ExecutorMemory
  device::QueueView view_;
  unsigned workers_;
  Stream stream_;
  ExecutorKind kind_;
};

}  // namespace ipcq::runner
