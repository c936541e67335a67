#include "streams.hpp"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

struct CUevent_st {
  using Done = std::shared_ptr<std::atomic<bool>>;
  soft_gpu::Belonging belonging;
  std::atomic<Done> done{std::make_shared<std::atomic<bool>>(true)};  // of the last record
};

namespace soft_gpu {

using Work = std::function<void()>;

// Work in the order in which it was enqueued, whatever streams it is of.
class HardwareQueue {
 public:
  void push(Work work) {
    const std::scoped_lock lock(mutex_);
    work_.push_back(std::move(work));
    if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
    changed_.notify_all();
  }

 private:
  void run() {
    for (;;) {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return !work_.empty(); });
      const Work work = std::move(work_.front());
      work_.pop_front();
      lock.unlock();
      work();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Work> work_;
  std::thread thread_;
};

HardwareQueue& next_queue() {
  static const std::size_t count = [] {
    const char* const text = std::getenv("CUDA_DEVICE_MAX_CONNECTIONS");
    return text != nullptr ? std::max(std::atoi(text), 1) : 8;
  }();
  static auto* const queues = new std::vector<HardwareQueue>(count);  // they work to the end of the process
  static std::atomic<std::size_t> next{0};
  return (*queues)[next++ % count];
}

std::atomic<unsigned> kernels_running{0};
std::atomic<unsigned> waits_pending{0};

namespace {

std::atomic<CUstream> capturing{nullptr};
thread_local CUstreamCaptureMode capture_mode = CU_STREAM_CAPTURE_MODE_GLOBAL;

// What a stream takes; then whoever enqueues waits. As measured on an H200 with driver 580.
constexpr unsigned kPendingMost = 1020;

}  // namespace

void rest() { std::this_thread::sleep_for(std::chrono::microseconds(50)); }

void await_kernels() {
  while (kernels_running != 0) rest();
}

void await_streams() {
  while (kernels_running != 0 || waits_pending != 0) rest();
}

CUresult enqueue(CUstream s, Work work) {
  s->belonging.crash_if_gone("an operation");
  if (s->belonging.has_failed()) return CUDA_ERROR_LAUNCH_FAILED;
  if (s->capture != CU_STREAM_CAPTURE_STATUS_NONE) return CUDA_SUCCESS;
  while (*s->pending >= kPendingMost) rest();
  ++*s->pending;
  s->queue.push([work = std::move(work), pending = s->pending, belonging = s->belonging] {
    if (!belonging.is_gone() && !belonging.has_failed()) work();
    --*pending;
  });
  return CUDA_SUCCESS;
}

CUresult query(CUstream s) {
  if ((s == nullptr || s == capturing) && spoils_capture()) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  if (s != nullptr) {
    s->belonging.crash_if_gone("cuStreamQuery");
    if (s->belonging.has_failed()) return CUDA_ERROR_LAUNCH_FAILED;
  }
  return s == nullptr || *s->pending == 0 ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}

CUresult synchronize(CUstream s) {
  CUresult result = query(s);
  for (; result == CUDA_ERROR_NOT_READY; result = query(s)) rest();
  return result;
}

CUresult create_event(CUevent* event, unsigned) {
  *event = new CUevent_st;
  return CUDA_SUCCESS;
}

CUresult destroy_event(CUevent event) {
  delete event;
  return CUDA_SUCCESS;
}

CUresult query_event(CUevent event) {
  event->belonging.crash_if_gone("cuEventQuery");
  if (event->belonging.has_failed()) return CUDA_ERROR_LAUNCH_FAILED;
  return *event->done.load() ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}

CUresult record_event(CUevent event, CUstream s) {
  const auto done = std::make_shared<std::atomic<bool>>(false);
  event->done = done;
  return enqueue(s, [done] { *done = true; });
}

CUresult wait_for_event(CUstream s, CUevent event, unsigned) {
  return enqueue(s, [done = event->done.load()] {
    while (!*done) rest();
  });
}

CUresult begin_capture(CUstream s, CUstreamCaptureMode) {
  s->capture = CU_STREAM_CAPTURE_STATUS_ACTIVE;
  capturing = s;
  return CUDA_SUCCESS;
}

CUresult end_capture(CUstream s, CUgraph* graph) {
  *graph = nullptr;
  capturing = nullptr;
  const auto was = s->capture.exchange(CU_STREAM_CAPTURE_STATUS_NONE);
  return was == CU_STREAM_CAPTURE_STATUS_ACTIVE ? CUDA_SUCCESS : CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
}

CUresult exchange_capture_mode(CUstreamCaptureMode* mode) {
  std::swap(*mode, capture_mode);
  return CUDA_SUCCESS;
}

bool spoils_capture() {
  CUstream const s = capturing;
  if (s == nullptr || capture_mode == CU_STREAM_CAPTURE_MODE_RELAXED) return false;
  s->capture = CU_STREAM_CAPTURE_STATUS_INVALIDATED;
  return true;
}

}  // namespace soft_gpu
