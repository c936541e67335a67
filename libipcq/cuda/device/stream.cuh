// Kernels of the stream executor: each processes one message in a slot, or one run of inline messages. The runner
// enqueues a message once it has seen that its payload is complete (stream_executor.cpp).
//
// Invariant: a queue's kernels run one after the other, in its runner's stream, so StreamTotals needs no atomics but
// for the blocks of one kernel.
#pragma once

#include "device/handle.cuh"

namespace ipcq::device {

// Stores the counters to host memory. Called by one thread of the kernel.
__device__ inline void show_totals(const QueueView& q, const StreamTotals* totals) {
  for (unsigned i = 0; i < kExecutorSums; ++i) store_relaxed_system(&q.counters[i], totals->counted[i]);
}

// Counts the message and writes its `out` line, once its handler and any copy to the mirror are done. Called by one
// thread.
template <class Handler>
__device__ void end_message(const QueueView& q, StreamTotals* totals, const SlotMessage& m) {
  CallResult result{};
  if constexpr (!kIsPlain<Handler>) result = load_result(&totals->result);
  const bool refused = finish_message<Handler>(q, m, result);
  ++totals->counted[kProcessedCounter];
  totals->counted[kFailedCounter] += refused;
  show_totals(q, totals);
}

// By one thread of each block of a kernel: whether it is the last to end.
__device__ inline bool ends_last(StreamTotals* totals) {
  fence_device();
  if (add_device(&totals->done, 1) != gridDim.x - 1) return false;
  totals->done = 0;
  return true;
}

__device__ inline Team whole_grid() {
  return {blockIdx.x * std::uint64_t{blockDim.x} + threadIdx.x, gridDim.x * std::uint64_t{blockDim.x}};
}

// Runs the message's handler; with `finish`, the last block to end also writes the `out` line.
template <class Handler>
__device__ void run_message(const QueueView& q, StreamTotals* totals, const SlotMessage& m, bool finish) {
  const CallResult result = handle_share<Handler>(q, m, whole_grid());
  if constexpr (!kIsPlain<Handler>) {
    if (blockIdx.x == 0 && threadIdx.x == 0) totals->result = result;
  }
  if (!finish) return;
  __syncthreads();
  if (threadIdx.x == 0 && ends_last(totals)) end_message<Handler>(q, totals, m);
}

// Ends a message whose handler a former kernel has run. Of a plain handler one thread is enough, and a copy to the
// mirror has gone before; with any other, whose message has a length that only the GPU knows, this makes the copy.
template <class Handler>
__device__ void run_finish(const QueueView& q, StreamTotals* totals, SlotMessage m) {
  if constexpr (!kIsPlain<Handler>) {
    m.length = load_result(&totals->result).length;
    push_share(q, m, whole_grid());
    fence_system();
    __syncthreads();
    if (threadIdx.x != 0 || !ends_last(totals)) return;
  }
  end_message<Handler>(q, totals, m);
}

// Processes tickets [first, first + count), which carry no slot. Called by the one block of its kernel.
template <class Handler>
__device__ void run_inlined(const QueueView& q, StreamTotals* totals, std::uint64_t first, std::uint32_t count) {
  alignas(16) __shared__ std::uint8_t buffer[kBlockWarps][kWarpLines][kInlineBuffer];
  __shared__ std::uint32_t sums[kExecutorSums];
  const unsigned warp = threadIdx.x / 32;
  if (threadIdx.x < kExecutorSums) sums[threadIdx.x] = 0;
  __syncthreads();
  constexpr unsigned kWarps = kHasScratch<Handler> || kIsSerial<Handler> ? 1 : kBlockWarps;
  for (std::uint32_t at = warp * kWarpLines; at < count && warp < kWarps; at += kWarps * kWarpLines) {
    LaneLine l = read_lines(q, first + at);
    // Either overwritten since the runner read it, or a message in a slot whose payload will never be complete.
    if (l.seen != Seen::present || l.kind == kSlot) l.kind = kNoKind;
    std::uint32_t counts[kExecutorSums] = {};
    process_inlined<Handler>(q, l, l.ticket < first + count, buffer[warp], counts[kProcessedCounter],
                             counts[kFailedCounter], counts[kDamagedCounter]);
    for (unsigned i = 0; i < kExecutorSums; ++i) {
      if (counts[i] != 0) atomicAdd(&sums[i], counts[i]);
    }
  }
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (unsigned i = 0; i < kExecutorSums; ++i) totals->counted[i] += sums[i];
  show_totals(q, totals);
}

}  // namespace ipcq::device
