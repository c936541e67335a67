// CompletionTimer: when a stream passes a point, seen by a thread that polls: how long a sampled message took from its
// publication to the end of the kernels that read it.
#pragma once

#include <cstdint>

#include "common/latency_histogram.hpp"
#include "gpu/gpu_device.hpp"

struct CUevent_st;

namespace ipcq::program {

class CompletionTimer {
 public:
  explicit CompletionTimer(const GpuDevice& device);
  ~CompletionTimer();
  CompletionTimer(const CompletionTimer&) = delete;
  CompletionTimer& operator=(const CompletionTimer&) = delete;

  // Whether a mark was set that the stream has not passed yet. Then poll() wants to be called often.
  bool pending() const noexcept { return pending_; }
  // Marks this point of the stream; the time runs since `begun_ns` (CLOCK_MONOTONIC). Not while one is pending.
  void mark(std::uint64_t begun_ns);
  // True when the stream was first seen to have passed the mark; its time is recorded.
  bool poll(LatencyHistogram& into);

 private:
  const GpuDevice& device_;
  CUevent_st* event_ = nullptr;
  std::uint64_t begun_ns_ = 0;
  bool pending_ = false;
};

}  // namespace ipcq::program
