// The soft GPU's streams: work in order, in hardware queues that streams share, and what a capture does to it.
#pragma once

#include <cuda.h>

#include <atomic>
#include <functional>
#include <memory>

#include "contexts.hpp"

namespace soft_gpu {

class HardwareQueue;
HardwareQueue& next_queue();

}  // namespace soft_gpu

struct CUstream_st {
  soft_gpu::HardwareQueue& queue = soft_gpu::next_queue();
  soft_gpu::Belonging belonging;
  std::shared_ptr<std::atomic<unsigned>> pending = std::make_shared<std::atomic<unsigned>>(0);
  std::atomic<CUstreamCaptureStatus> capture{CU_STREAM_CAPTURE_STATUS_NONE};
};

namespace soft_gpu {

extern std::atomic<unsigned> kernels_running;
extern std::atomic<unsigned> waits_pending;  // of streams, for values

void rest();
// What the driver does before it changes what kernels may use.
void await_kernels();
// And before it takes something away from them: as measured on an H200 with driver 580, streams that wait count, too.
void await_streams();

// Waits where the stream takes no more; does nothing with the work where it captures.
CUresult enqueue(CUstream s, std::function<void()> work);
CUresult query(CUstream s);
CUresult synchronize(CUstream s);

// In global mode; one stream captures at a time, which is enough. What it captures is never done: graphs are not
// played.
CUresult begin_capture(CUstream s, CUstreamCaptureMode);
CUresult end_capture(CUstream s, CUgraph* graph);
CUresult exchange_capture_mode(CUstreamCaptureMode* mode);
// For calls that a capture of any thread refuses and is spoilt by.
bool spoils_capture();

}  // namespace soft_gpu
