// The streams of the soft GPU: they do work in order, in hardware queues that several streams share, and can capture.
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
extern std::atomic<unsigned> waits_pending;  // waits of streams for values

void rest();
// Waits for all kernels, as the driver does before it pins memory.
void await_kernels();
// Waits also for streams that wait for a value, as the driver does before it frees, unpins or unmaps (H200, driver
// 580).
void await_streams();

// Waits while the stream is full. Drops the work if the stream captures.
CUresult enqueue(CUstream s, std::function<void()> work);
CUresult query(CUstream s);
CUresult synchronize(CUstream s);

CUresult create_event(CUevent* event, unsigned);
CUresult destroy_event(CUevent event);
// CUDA_ERROR_NOT_READY until what the last record has stood behind is done, or the context has failed.
CUresult query_event(CUevent event);
// What has been enqueued on the stream by now.
CUresult record_event(CUevent event, CUstream s);
// As the event is now: a later record does not change what the stream waits for.
CUresult wait_for_event(CUstream s, CUevent event, unsigned);

// In global mode; one stream at a time. Captured work is never done, since there are no graph launches.
CUresult begin_capture(CUstream s, CUstreamCaptureMode);
CUresult end_capture(CUstream s, CUgraph* graph);
CUresult exchange_capture_mode(CUstreamCaptureMode* mode);
// Whether the capture refuses the present call of this thread. If so, invalidates the capture.
bool spoils_capture();

}  // namespace soft_gpu
