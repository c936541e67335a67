// The kernels of both executors for one handler: IPCQ_EXECUTOR_KERNELS(name, type). The runner finds them by name:
// ipcq_<what>_<name>. The persistent kernel's registers are bounded so that a multiprocessor holds two of its blocks
// (runner/gpu_queue.cpp).
#pragma once

#include "device/persistent.cuh"
#include "device/stream.cuh"

#define IPCQ_EXECUTOR_KERNELS(name, Handler)                                                                          \
  extern "C" __global__ void __launch_bounds__(ipcq::device::kBlockThreads, 2) ipcq_persistent_##name(                \
      ipcq::device::QueueView q, ipcq::device::WorkArea* area, ipcq::device::WorkArea* next_area,                     \
      ipcq::device::Mailbox* box, std::uint64_t resume, std::uint64_t limit, std::uint64_t park_after_ns) {           \
    ipcq::device::run_persistent<Handler>(q, area, next_area, box, resume, limit, park_after_ns);                     \
  }                                                                                                                   \
  extern "C" __global__ void __launch_bounds__(ipcq::device::kBlockThreads)                                           \
      ipcq_message_##name(ipcq::device::QueueView q, ipcq::device::StreamTotals* totals, ipcq::device::SlotMessage m, \
                          std::uint32_t finish) {                                                                     \
    ipcq::device::run_message<Handler>(q, totals, m, finish != 0);                                                    \
  }                                                                                                                   \
  extern "C" __global__ void ipcq_finish_##name(ipcq::device::QueueView q, ipcq::device::StreamTotals* totals,        \
                                                ipcq::device::SlotMessage m) {                                        \
    ipcq::device::end_message<Handler>(q, totals, m);                                                                 \
  }                                                                                                                   \
  extern "C" __global__ void __launch_bounds__(ipcq::device::kBlockThreads) ipcq_inlined_##name(                      \
      ipcq::device::QueueView q, ipcq::device::StreamTotals* totals, std::uint64_t first, std::uint32_t count) {      \
    ipcq::device::run_inlined<Handler>(q, totals, first, count);                                                      \
  }
