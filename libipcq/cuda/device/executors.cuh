// The kernels of both executors for one handler: IPCQ_EXECUTOR_KERNELS(name, type). The runner finds them by name:
// ipcq_<what>_<name>. The persistent kernel's registers are bounded so that a multiprocessor holds two of its blocks
// (runner/gpu_queue.cpp), or one of a heavy handler. Names that macros of a user's file may have, do not occur in the
// macro.
#pragma once

#include "device/persistent.cuh"
#include "device/stream.cuh"

#define IPCQ_EXECUTOR_KERNELS(ipcq_name, ipcq_handler)                                                                 \
  extern "C" __global__ void __launch_bounds__(ipcq::device::kBlockThreads, ipcq::device::kBlocksAtOnce<ipcq_handler>) \
      ipcq_persistent_##ipcq_name(ipcq::device::QueueView ipcq_q, ipcq::device::WorkArea* ipcq_area,                   \
                                  ipcq::device::WorkArea* ipcq_next_area, ipcq::device::Mailbox* ipcq_box,             \
                                  std::uint64_t ipcq_resume, std::uint64_t ipcq_limit,                                 \
                                  std::uint64_t ipcq_park_after_ns) {                                                  \
    ipcq::device::run_persistent<ipcq_handler>(ipcq_q, ipcq_area, ipcq_next_area, ipcq_box, ipcq_resume, ipcq_limit,   \
                                               ipcq_park_after_ns);                                                    \
  }                                                                                                                    \
  extern "C" __global__ void __launch_bounds__(ipcq::device::kBlockThreads)                                            \
      ipcq_message_##ipcq_name(ipcq::device::QueueView ipcq_q, ipcq::device::StreamTotals* ipcq_totals,                \
                               ipcq::device::SlotMessage ipcq_m, std::uint32_t ipcq_finish) {                          \
    ipcq::device::run_message<ipcq_handler>(ipcq_q, ipcq_totals, ipcq_m, ipcq_finish != 0);                            \
  }                                                                                                                    \
  extern "C" __global__ void ipcq_finish_##ipcq_name(                                                                  \
      ipcq::device::QueueView ipcq_q, ipcq::device::StreamTotals* ipcq_totals, ipcq::device::SlotMessage ipcq_m) {     \
    ipcq::device::run_finish<ipcq_handler>(ipcq_q, ipcq_totals, ipcq_m);                                               \
  }                                                                                                                    \
  extern "C" __global__ void __launch_bounds__(ipcq::device::kBlockThreads)                                            \
      ipcq_inlined_##ipcq_name(ipcq::device::QueueView ipcq_q, ipcq::device::StreamTotals* ipcq_totals,                \
                               std::uint64_t ipcq_first, std::uint32_t ipcq_count) {                                   \
    ipcq::device::run_inlined<ipcq_handler>(ipcq_q, ipcq_totals, ipcq_first, ipcq_count);                              \
  }
