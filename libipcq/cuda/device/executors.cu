// The kernels of both executors, for each built-in handler; the runner finds them by name: ipcq_<what>_<handler>. The
// persistent kernel's registers are bounded so that a multiprocessor holds two of its blocks (runner/gpu_queue.cpp).
#include "device/persistent.cuh"
#include "device/stream.cuh"

using namespace ipcq::device;

#define IPCQ_EXECUTOR_KERNELS(name, Handler)                                                                       \
  extern "C" __global__ void __launch_bounds__(kBlockThreads, 2)                                                   \
      ipcq_persistent_##name(QueueView q, WorkArea* area, WorkArea* next_area, Mailbox* box, std::uint64_t resume, \
                             std::uint64_t limit, std::uint64_t park_after_ns) {                                   \
    run_persistent<Handler>(q, area, next_area, box, resume, limit, park_after_ns);                                \
  }                                                                                                                \
  extern "C" __global__ void __launch_bounds__(kBlockThreads)                                                      \
      ipcq_message_##name(QueueView q, StreamTotals* totals, SlotMessage m, std::uint32_t finish) {                \
    run_message<Handler>(q, totals, m, finish != 0);                                                               \
  }                                                                                                                \
  extern "C" __global__ void ipcq_finish_##name(QueueView q, StreamTotals* totals, SlotMessage m) {                \
    end_message<Handler>(q, totals, m);                                                                            \
  }                                                                                                                \
  extern "C" __global__ void __launch_bounds__(kBlockThreads)                                                      \
      ipcq_inlined_##name(QueueView q, StreamTotals* totals, std::uint64_t first, std::uint32_t count) {           \
    run_inlined<Handler>(q, totals, first, count);                                                                 \
  }

IPCQ_EXECUTOR_KERNELS(identity, ipcq::handlers::Identity)
IPCQ_EXECUTOR_KERNELS(invert, ipcq::handlers::Invert)
IPCQ_EXECUTOR_KERNELS(upper, ipcq::handlers::Upper)
IPCQ_EXECUTOR_KERNELS(vector_add, ipcq::handlers::VectorAdd)
