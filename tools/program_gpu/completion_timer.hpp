// CompletionTimer: measures how long a sampled message takes from its publication to the end of the kernels that read
// it. The thread that owns it polls for the stream to pass the mark; no call waits for the GPU.
#pragma once

#include <cstdint>

#include "program/latency_histogram.hpp"
#include "program_gpu/gpu_device.hpp"

struct CUevent_st;

namespace ipcq::program {

class CompletionTimer {
 public:
  explicit CompletionTimer(const GpuDevice& device);
  ~CompletionTimer();
  CompletionTimer(const CompletionTimer&) = delete;
  CompletionTimer& operator=(const CompletionTimer&) = delete;

  // Whether there is a mark that the stream was not seen to pass yet. The owner then calls poll() often.
  bool pending() const noexcept { return pending_; }
  // Marks this point of the stream. The time counts from `begun_ns` (CLOCK_MONOTONIC). Precondition: none is pending.
  void mark(std::uint64_t begun_ns);
  // If the stream has passed the mark, records its time and returns true, once.
  bool poll(LatencyHistogram& into);

 private:
  const GpuDevice& device_;
  CUevent_st* event_ = nullptr;
  std::uint64_t begun_ns_ = 0;
  bool pending_ = false;
};

}  // namespace ipcq::program
